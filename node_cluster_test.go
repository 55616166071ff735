package raft_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file is the cluster of the whole-node tests: nodes made by NewRaft, in a bubble
// of testing/synctest, where time passes when everyone waits. So a test asserts on
// times, and a goroutine that is left behind fails it.

// options describe a cluster. The zero value is three voters on disks and a network
// that take no time.
type options struct {
	size    int                // voters; 3 if 0
	latency time.Duration      // of a message
	sync    time.Duration      // of a write
	config  func(*raft.Config) // changes the configuration of every node
	prepare func(*node)        // changes a node before it starts for the first time
}

type cluster struct {
	t       *testing.T
	opts    options
	net     *rafttest.Network
	nodes   []*node
	history *history
}

// node is a server. Its disk and snapshots outlive the Raft that runs on them.
type node struct {
	*raft.Raft
	c     *cluster
	id    raft.ServerID
	addr  raft.ServerAddress
	conf  *raft.Config
	disk  *disk
	logs  raft.LogStore // disk, unless prepare has put something before it
	snaps raft.SnapshotStore
	fsm   *journal
	user  func(*journal) raft.FSM             // what NewRaft gets for the journal, nil: the journal
	wire  func(raft.Transport) raft.Transport // what goes between, nil: nothing
	up    bool
}

// bubble runs a test on a cluster that has been bootstrapped, and ends all its nodes.
func bubble(t *testing.T, opts options, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if opts.size == 0 {
			opts.size = 3
		}
		c := &cluster{
			t: t, opts: opts, net: rafttest.NewNetwork(1),
			history: &history{commands: map[uint64]string{}},
		}
		c.net.SetLatency(opts.latency, opts.latency)
		for range opts.size {
			c.add()
		}
		t.Cleanup(c.end)
		for _, n := range c.nodes {
			n.bootstrap(c.configuration())
			n.start()
		}
		test(t, c)
	})
}

// add makes one more server. It is not running yet.
func (c *cluster) add() *node {
	n := &node{c: c, id: raft.ServerID(fmt.Sprintf("n%d", len(c.nodes)+1))}
	n.addr = "addr-" + raft.ServerAddress(n.id)
	n.conf = raft.DefaultConfig()
	n.conf.LocalID = n.id
	n.conf.Logger = hclog.New(&hclog.LoggerOptions{Name: string(n.id), Output: c.t.Output(), Level: hclog.Info})
	if c.opts.config != nil {
		c.opts.config(n.conf)
	}
	n.wipe()
	if c.opts.prepare != nil {
		c.opts.prepare(n)
	}
	c.nodes = append(c.nodes, n)
	return n
}

// wipe gives a server new, empty stores.
func (n *node) wipe() {
	n.disk = &disk{sync: n.c.opts.sync}
	n.logs = n.disk
	n.snaps = raft.NewInmemSnapshotStore()
}

// configuration has the first servers as voters.
func (c *cluster) configuration() (config raft.Configuration) {
	for _, n := range c.nodes[:c.opts.size] {
		config.Servers = append(config.Servers, raft.Server{Suffrage: raft.Voter, ID: n.conf.LocalID, Address: n.addr})
	}
	return config
}

func (n *node) bootstrap(config raft.Configuration) {
	n.c.t.Helper()
	if err := raft.BootstrapCluster(n.conf, n.logs, n.disk, n.snaps, n.c.net.Join(n.addr), config); err != nil {
		n.c.t.Fatal(err)
	}
}

// start runs a node on what its stores hold, with an empty FSM.
func (n *node) start() {
	n.c.t.Helper()
	if err := n.tryStart(); err != nil {
		n.c.t.Fatalf("%s does not start: %v", n.id, err)
	}
}

func (n *node) tryStart() (err error) {
	old := n.fsm
	n.fsm = &journal{id: n.id, history: n.c.history}
	if old != nil {
		n.fsm.failing.Store(old.failing.Load())
	}
	var fsm raft.FSM = n.fsm
	if n.user != nil {
		fsm = n.user(n.fsm)
	}
	trans := n.c.net.Join(n.addr)
	if n.wire != nil {
		trans = n.wire(trans)
	}
	n.Raft, err = raft.NewRaft(n.conf, fsm, n.logs, n.disk, n.snaps, trans)
	n.up = err == nil
	return err
}

// stop shuts a node down and waits for it.
func (n *node) stop() {
	n.c.t.Helper()
	n.up = false
	if err := n.Shutdown().Error(); err != nil {
		n.c.t.Errorf("shutting down %s: %v", n.id, err)
	}
}

func (n *node) restart() {
	n.c.t.Helper()
	n.stop()
	n.start()
}

// end opens what is held and shuts the nodes down. What is still under way then has
// the time to time out: a bubble must not be left before.
func (c *cluster) end() {
	c.net.Intercept(nil)
	for _, n := range c.nodes {
		n.disk.gate.release()
		if n.fsm != nil {
			n.fsm.apply.release()
			n.fsm.restore.release()
			n.fsm.persist.release()
		}
	}
	synctest.Wait()
	for _, n := range c.nodes {
		if n.up {
			n.stop()
		}
	}
	time.Sleep(time.Minute)
	for _, broken := range c.history.broken {
		c.t.Error(broken)
	}
}

// wireTimeout is how long the network waits for the answer to a request.
const wireTimeout = 500 * time.Millisecond

// patience is how long tests wait for what must happen. It takes no real time.
const patience = time.Minute

// wait waits until a condition holds.
func (c *cluster) wait(what string, condition func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// running returns the servers that are up.
func (c *cluster) running() []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return !n.up })
}

// leader waits for a leader that a majority confirms.
func (c *cluster) leader() *node {
	c.t.Helper()
	return c.leaderOf(c.running()...)
}

// leaderOf is leader among some servers.
func (c *cluster) leaderOf(among ...*node) (leader *node) {
	c.t.Helper()
	c.wait("a leader", func() bool {
		for _, n := range among {
			if n.State() == raft.Leader && outcome(n.VerifyLeader()) == nil {
				leader = n
				return true
			}
		}
		return false
	})
	return leader
}

// claimant waits for a leader, confirmed or not.
func (c *cluster) claimant(among ...*node) (leader *node) {
	c.t.Helper()
	c.wait("somebody who claims to lead", func() bool {
		for _, n := range among {
			if n.State() == raft.Leader {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// others returns the servers that are up but for some.
func (c *cluster) others(but ...*node) []*node {
	return slices.DeleteFunc(c.running(), func(n *node) bool { return slices.Contains(but, n) })
}

// split waits for a leader and for all others to follow it.
func (c *cluster) split() (leader *node, followers []*node) {
	c.t.Helper()
	leader = c.leader()
	followers = c.others(leader)
	c.wait("followers", func() bool {
		for _, n := range followers {
			if _, id := n.LeaderWithID(); n.State() != raft.Follower || id != leader.id {
				return false
			}
		}
		return true
	})
	return leader, followers
}

// isolate loses everything from and to a server.
func (c *cluster) isolate(n *node) { c.net.Isolate(n.addr) }

// cut loses everything between two servers.
func (c *cluster) cut(a, b *node) {
	c.net.Cut(a.addr, b.addr)
	c.net.Cut(b.addr, a.addr)
}

// heartbeatsOnly lets no entry pass between the servers, until the hook is reset.
func (c *cluster) heartbeatsOnly() {
	c.net.Intercept(func(m rafttest.Message) error {
		if r, ok := m.Request.(*raft.AppendEntriesRequest); ok && r.PrevLogEntry > 0 {
			return errors.New("not now")
		}
		return nil
	})
}

// errPending is the outcome of a future that has none after a long time.
var errPending = errors.New("the future is not done")

// outcome waits for a future, for as long as tests wait for anything.
func outcome(f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return errPending
	}
}

// must fails the test unless a future succeeds.
func (c *cluster) must(f raft.Future) {
	c.t.Helper()
	if err := outcome(f); err != nil {
		c.t.Fatal(err)
	}
}

// want fails the test unless a future fails with an error.
func (c *cluster) want(f raft.Future, want error) {
	c.t.Helper()
	if err := outcome(f); !errors.Is(err, want) {
		c.t.Errorf("outcome %v, want %v", err, want)
	}
}

// apply applies commands, one after the other.
func (n *node) apply(commands ...string) {
	n.c.t.Helper()
	for _, cmd := range commands {
		n.c.must(n.Apply([]byte(cmd), 0))
	}
}

// fill applies so many commands at once.
func (n *node) fill(count int) {
	n.c.t.Helper()
	futures := make([]raft.ApplyFuture, count)
	for i := range futures {
		futures[i] = n.Apply(fmt.Appendf(nil, "%d", i), 0)
	}
	for _, f := range futures {
		n.c.must(f)
	}
}

// converge waits until some servers, or all that are up, have applied the same, and
// returns it.
func (c *cluster) converge(among ...*node) []string {
	c.t.Helper()
	if len(among) == 0 {
		among = c.running()
	}
	c.wait("equal FSMs", func() bool {
		first := among[0]
		for _, n := range among {
			if n.AppliedIndex() != first.LastIndex() || !slices.Equal(n.fsm.list(), first.fsm.list()) {
				return false
			}
		}
		return true
	})
	return among[0].fsm.list()
}

// expect fails the test unless all servers come to have applied these commands.
func (c *cluster) expect(commands ...string) {
	c.t.Helper()
	if got := c.converge(); !slices.Equal(got, commands) {
		c.t.Errorf("applied %q, want %q", got, commands)
	}
}

// observe collects what a node observes, of one type.
func observe[T any](n *node) (seen func() []T) {
	var mu sync.Mutex
	var all []T
	n.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if d, ok := o.Data.(T); ok {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, d)
		}
		return false
	}))
	return func() []T {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// suffrage returns a server's place in a node's latest configuration, "" if none.
func (n *node) suffrage(id raft.ServerID) string {
	for _, s := range n.GetConfiguration().Configuration().Servers {
		if s.ID == id {
			return s.Suffrage.String()
		}
	}
	return ""
}
