package rafttest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
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
}

// Cluster is a number of servers in one process. Its methods must be called from
// the goroutine of the test.
type Cluster struct {
	t        *testing.T
	nodes    []*node
	conf     raft.Config
	longstop time.Duration
}

// node is one server and what it was made of.
type node struct {
	id    raft.ServerID
	addr  raft.ServerAddress
	conf  *raft.Config
	fsm   raft.FSM
	logs  raft.LogStore
	stab  raft.StableStore
	snaps *raft.FileSnapshotStore
	trans *raft.InmemTransport
	raft  *raft.Raft
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
		conf:     fastConfig(),
		longstop: cmp.Or(opts.LongstopTimeout, defaultLongstop),
	}
	if opts.Conf != nil {
		c.conf = *opts.Conf
	}
	if opts.MonotonicLogs && opts.CommitTrackingLogs {
		return c, errors.New("MonotonicLogs and CommitTrackingLogs exclude each other")
	}

	var all raft.Configuration
	for range opts.Peers {
		n := c.newNode(opts)
		c.nodes = append(c.nodes, n)
		all.Servers = append(all.Servers, raft.Server{Suffrage: raft.Voter, ID: n.id, Address: n.addr})
	}
	c.FullyConnect()
	t.Cleanup(c.Close)

	for _, n := range c.nodes {
		if err := n.start(opts.Bootstrap, all); err != nil {
			c.Close()
			return c, fmt.Errorf("server %s: %w", n.id, err)
		}
	}
	return c, nil
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

func (c *Cluster) newNode(opts *MakeClusterOpts) *node {
	c.t.Helper()
	n := &node{fsm: newFSM(opts)}
	n.logs, n.stab = newStores(opts)
	n.addr, n.trans = raft.NewInmemTransport("")

	conf := c.conf
	n.id = raft.ServerID("server-" + n.addr)
	if conf.ProtocolVersion < 3 {
		n.id = raft.ServerID(n.addr) // as these versions demand
	}
	conf.LocalID = n.id
	if conf.Logger == nil && conf.LogOutput == nil {
		conf.Logger = newTestLogger(c.t, string(n.id), conf.LogLevel)
	}
	n.conf = &conf

	_, n.snaps = FileSnapTest(c.t)
	return n
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

func (n *node) start(bootstrap bool, all raft.Configuration) (err error) {
	if bootstrap {
		if err := raft.BootstrapCluster(n.conf, n.logs, n.stab, n.snaps, n.trans, all); err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	n.raft, err = raft.NewRaft(n.conf, n.fsm, n.logs, n.stab, n.snaps, n.trans)
	return err
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

// Close shuts all servers down and waits for them. It also happens when the test
// ends; closing twice does no harm.
func (c *Cluster) Close() {
	c.t.Helper()
	var futures []raft.Future
	for _, n := range c.nodes {
		if n.raft != nil {
			futures = append(futures, n.raft.Shutdown())
		}
	}
	done := make(chan error, 1)
	go func() {
		var errs []error
		for _, f := range futures {
			errs = append(errs, f.Error())
		}
		done <- errors.Join(errs...)
	}()
	select {
	case err := <-done:
		if err != nil {
			c.Failf("shutdown: %v", err)
		}
	case <-time.After(c.longstop):
		c.Failf("servers still shut down after %v", c.longstop)
	}
}

// Merge moves the servers of other into c. They are not connected to those of c,
// see [Cluster.FullyConnect].
func (c *Cluster) Merge(other *Cluster) {
	c.nodes = append(c.nodes, other.nodes...)
	other.nodes = nil
}

// RemoveServer takes a server out of c, which from then on neither looks at it
// nor shuts it down. The raft configuration stays as it is.
func (c *Cluster) RemoveServer(id raft.ServerID) {
	c.nodes = slices.DeleteFunc(c.nodes, func(n *node) bool { return n.id == id })
}

// IndexOf returns the position of a server in the order of their start, -1 if it
// is none of this cluster.
func (c *Cluster) IndexOf(r *raft.Raft) int {
	return slices.IndexFunc(c.nodes, func(n *node) bool { return n.raft == r })
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
