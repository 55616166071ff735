package rafttest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// defaultLongstop bounds every wait; only a failing test ever waits so long.
	defaultLongstop = 15 * time.Second

	// pollInterval is how often a condition is looked at that has no event.
	pollInterval = 2 * time.Millisecond
)

// MakeClusterOpts says what a cluster is made of.
type MakeClusterOpts struct {
	// Peers is the number of servers.
	Peers int

	// Bootstrap gives every server the configuration with all of them as voters.
	// Without it the servers are connected and know of no cluster.
	Bootstrap bool

	// Conf is the servers' configuration but for LocalID, which is made from the
	// address. Nil means short timeouts, fit for tests. A server logs to the test
	// unless Logger or LogOutput is set.
	Conf *raft.Config

	// ConfigStoreFSM makes the FSMs of type [MockFSMConfigStore] rather than
	// [MockFSM].
	ConfigStoreFSM bool

	// MakeFSMFunc, if not nil, makes the FSM of each server.
	MakeFSMFunc func() raft.FSM

	// LongstopTimeout bounds every wait of the cluster; 15 seconds if it is 0.
	LongstopTimeout time.Duration

	// MonotonicLogs makes the log stores of type [MockMonotonicLogStore].
	MonotonicLogs bool

	// CommitTrackingLogs makes the log stores of type
	// [raft.InmemCommitTrackingStore]. It excludes MonotonicLogs.
	CommitTrackingLogs bool

	// PropagateError makes [MakeClusterCustomWithErr] return the error of a
	// server that does not start; otherwise the test fails.
	PropagateError bool

	// Seed is what the faults of the network and the disks are drawn from. If it is
	// not 0 the servers are called server-1, server-2 and so on, at addr-1 and so on,
	// so that runs can be compared; clusters that are merged can't both have that.
	Seed uint64

	// Network connects the servers. Nil means one of their own, without faults.
	Network *Network

	// MakeDisk makes the stores of a server, when it is made and when it is wiped. Nil
	// means log and stable store in memory, snapshots in a directory of the test.
	// It excludes MonotonicLogs and CommitTrackingLogs.
	MakeDisk func(id raft.ServerID) (*Disk, error)

	// Configure, if not nil, changes the configuration of each server, LocalID
	// included, before the server is started for the first time.
	Configure func(conf *raft.Config)
}

// Cluster is a number of servers in one process, on a [Network]. Its methods must
// be called from the goroutine of the test, but for Nodes, Node and Network, which
// any goroutine may call.
type Cluster struct {
	t        *testing.T
	opts     MakeClusterOpts
	conf     raft.Config
	longstop time.Duration
	network  *Network
	seeds    *rand.Rand // of the disks
	made     int        // servers, ever

	mu     sync.Mutex
	nodes  []*Node
	ending []raft.Future // of servers that have crashed
}

// MakeCluster starts a bootstrapped cluster of n servers with [MockFSM]s. conf
// may be nil.
func MakeCluster(n int, t *testing.T, conf *raft.Config) *Cluster {
	t.Helper()
	return MakeClusterCustom(t, &MakeClusterOpts{Peers: n, Bootstrap: true, Conf: conf})
}

// MakeClusterNoBootstrap is [MakeCluster] without bootstrapping: the servers can
// reach each other and wait for a configuration.
func MakeClusterNoBootstrap(n int, t *testing.T, conf *raft.Config) *Cluster {
	t.Helper()
	return MakeClusterCustom(t, &MakeClusterOpts{Peers: n, Conf: conf})
}

// MakeClusterCustom starts a cluster and fails the test if a server does not
// start.
func MakeClusterCustom(t *testing.T, opts *MakeClusterOpts) *Cluster {
	t.Helper()
	c, err := MakeClusterCustomWithErr(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// MakeClusterCustomWithErr starts a cluster. With opts.PropagateError it returns
// the error of the first server that does not start, and a cluster that is closed
// already.
func MakeClusterCustomWithErr(t *testing.T, opts *MakeClusterOpts) (*Cluster, error) {
	t.Helper()
	c, err := newCluster(t, opts)
	if err != nil && !opts.PropagateError {
		t.Fatal(err)
	}
	return c, err
}

func newCluster(t *testing.T, opts *MakeClusterOpts) (*Cluster, error) {
	c := &Cluster{
		t:        t,
		opts:     *opts,
		conf:     fastConfig(),
		longstop: cmp.Or(opts.LongstopTimeout, defaultLongstop),
		network:  opts.Network,
		seeds:    rand.New(rand.NewPCG(opts.Seed, 1)),
	}
	if opts.Conf != nil {
		c.conf = *opts.Conf
	}
	if c.network == nil {
		c.network = NewNetwork(opts.Seed)
	}
	if err := opts.validate(); err != nil {
		return c, err
	}
	t.Cleanup(c.Close)

	var all raft.Configuration
	for range opts.Peers {
		n, err := c.newNode()
		if err != nil {
			return c, err
		}
		all.Servers = append(all.Servers, raft.Server{Suffrage: raft.Voter, ID: n.id, Address: n.addr})
	}
	for _, n := range c.nodes {
		if err := n.begin(all); err != nil {
			c.Close()
			return c, fmt.Errorf("server %s: %w", n.id, err)
		}
	}
	return c, nil
}

func (o *MakeClusterOpts) validate() error {
	switch {
	case o.MonotonicLogs && o.CommitTrackingLogs:
		return errors.New("MonotonicLogs and CommitTrackingLogs exclude each other")
	case o.MakeDisk != nil && (o.MonotonicLogs || o.CommitTrackingLogs):
		return errors.New("MakeDisk excludes MonotonicLogs and CommitTrackingLogs")
	default:
		return nil
	}
}

// fastConfig is the configuration of a cluster that was given none.
func fastConfig() raft.Config {
	conf := raft.DefaultConfig()
	conf.HeartbeatTimeout = 200 * time.Millisecond
	conf.ElectionTimeout = 200 * time.Millisecond
	conf.LeaderLeaseTimeout = 200 * time.Millisecond
	conf.CommitTimeout = 5 * time.Millisecond
	return *conf
}

// newNode makes one more server, which does not run yet.
func (c *Cluster) newNode() (*Node, error) {
	c.t.Helper()
	conf := c.conf
	n := &Node{cluster: c, conf: &conf}
	n.addr, conf.LocalID = c.newName()
	if conf.ProtocolVersion < 3 {
		conf.LocalID = raft.ServerID(n.addr) // as these versions demand
	}
	if c.opts.Configure != nil {
		c.opts.Configure(&conf)
	}
	n.id = conf.LocalID
	if conf.Logger == nil && conf.LogOutput == nil {
		conf.Logger = newTestLogger(c.t, string(n.id), conf.LogLevel)
	}
	disk, err := c.newDisk(n.id)
	if err != nil {
		return nil, fmt.Errorf("disk of server %s: %w", n.id, err)
	}
	n.disk = disk
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return n, nil
}

func (c *Cluster) newName() (raft.ServerAddress, raft.ServerID) {
	c.made++
	if c.opts.Seed != 0 {
		return raft.ServerAddress(fmt.Sprintf("addr-%d", c.made)), raft.ServerID(fmt.Sprintf("server-%d", c.made))
	}
	addr := raft.NewInmemAddr()
	return addr, raft.ServerID("server-" + addr)
}

func (c *Cluster) newDisk(id raft.ServerID) (*Disk, error) {
	if c.opts.MakeDisk != nil {
		return c.opts.MakeDisk(id)
	}
	logs, stable := newStores(&c.opts)
	_, snaps := FileSnapTest(c.t)
	return NewDisk(logs, stable, snaps, c.seeds.Uint64()), nil
}

func newFSM(opts *MakeClusterOpts) raft.FSM {
	switch {
	case opts.MakeFSMFunc != nil:
		return opts.MakeFSMFunc()
	case opts.ConfigStoreFSM:
		return &MockFSMConfigStore{FSM: &MockFSM{}}
	default:
		return &MockFSM{}
	}
}

func newStores(opts *MakeClusterOpts) (raft.LogStore, raft.StableStore) {
	switch {
	case opts.CommitTrackingLogs:
		store := raft.NewInmemCommitTrackingStore()
		return store, store
	case opts.MonotonicLogs:
		return &MockMonotonicLogStore{}, raft.NewInmemStore()
	default:
		store := raft.NewInmemStore()
		return store, store
	}
}

// FileSnapTest returns a snapshot store that keeps three snapshots in a
// directory of its own, and that directory. The test removes it when it ends.
func FileSnapTest(t *testing.T) (string, *raft.FileSnapshotStore) {
	t.Helper()
	dir := t.TempDir()
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, 3, newTestLogger(t, "snapshots", "INFO"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, store
}

// Close ends all faults that hold servers up, shuts all servers down and waits for
// them. It also happens when the test ends; closing twice does no harm.
func (c *Cluster) Close() {
	c.t.Helper()
	futures := c.takeEnding()
	for _, n := range c.Nodes() {
		n.free()
		if r := n.Raft(); r != nil {
			futures = append(futures, r.Shutdown())
		}
	}
	if err := c.await(allOf(futures)); err != nil {
		c.Failf("shutdown: %v", err)
	}
}

// takeEnding returns the ends of servers that have crashed, once.
func (c *Cluster) takeEnding() []raft.Future {
	c.mu.Lock()
	defer c.mu.Unlock()
	ending := c.ending
	c.ending = nil
	return ending
}

// allOf is done when all of some futures are.
type allOf []raft.Future

func (a allOf) Error() error {
	var errs []error
	for _, f := range a {
		errs = append(errs, f.Error())
	}
	return errors.Join(errs...)
}

// Nodes returns the servers in the order in which they were made, those that are
// down as well.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.nodes)
}

// Node returns the server of an id, nil if there is none.
func (c *Cluster) Node(id raft.ServerID) *Node {
	for _, n := range c.Nodes() {
		if n.id == id {
			return n
		}
	}
	return nil
}

// AddNode starts one more server, which can reach the others and knows of no
// cluster, or fails the test.
func (c *Cluster) AddNode() *Node {
	c.t.Helper()
	n, err := c.newNode()
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		c.FailNowf("adding a server: %v", err)
	}
	return n
}

// Merge moves the servers of other into c, and makes one network of both. The
// servers are not connected to those of c, see [Cluster.FullyConnect]. Servers of
// the same address fail the test.
func (c *Cluster) Merge(other *Cluster) {
	c.t.Helper()
	if err := c.network.merge(other.network); err != nil {
		c.FailNowf("merging clusters: %v", err)
	}
	moved := other.Nodes()
	other.mu.Lock()
	other.nodes = nil
	other.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, moved...)
}

// RemoveServer takes a server out of c, which from then on neither looks at it
// nor shuts it down. The raft configuration stays as it is.
func (c *Cluster) RemoveServer(id raft.ServerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = slices.DeleteFunc(c.nodes, func(n *Node) bool { return n.id == id })
}

// IndexOf returns the position of a server in the order of their start, -1 if it
// is none of this cluster or not running.
func (c *Cluster) IndexOf(r *raft.Raft) int {
	return slices.IndexFunc(c.Nodes(), func(n *Node) bool { return r != nil && n.Raft() == r })
}

// Failf marks the test as failed and goes on.
func (c *Cluster) Failf(format string, args ...interface{}) {
	c.t.Helper()
	c.t.Errorf(format, args...)
}

// FailNowf marks the test as failed and ends it.
func (c *Cluster) FailNowf(format string, args ...interface{}) {
	c.t.Helper()
	c.t.Fatalf(format, args...)
}
