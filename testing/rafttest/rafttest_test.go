package rafttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// wrapper is an FSM of the kind that a service has around its own.
type wrapper struct{ raft.FSM }

func (w wrapper) Underlying() raft.FSM { return w.FSM }

// Every kind of cluster elects a leader, replicates, brings a server that was
// cut off up to date with a snapshot, and can be compared.
func TestClusters(t *testing.T) {
	for name, opts := range map[string]MakeClusterOpts{
		"plain":           {},
		"ConfigStoreFSM":  {ConfigStoreFSM: true},
		"MakeFSMFunc":     {MakeFSMFunc: func() raft.FSM { return wrapper{&MockFSM{}} }},
		"MonotonicLogs":   {MonotonicLogs: true},
		"CommitTracking":  {CommitTrackingLogs: true, Conf: withRestoreCommitted()},
		"protocol 2":      {Conf: withProtocol(2)},
		"LongstopTimeout": {LongstopTimeout: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			opts.Peers, opts.Bootstrap = 3, true
			c := MakeClusterCustom(t, &opts)
			defer c.Close()
			apply(t, c, 1)

			away := c.Followers()[0]
			c.Disconnect(c.nodeOf(away).addr)
			for i := 2; i <= 30; i++ {
				apply(t, c, i)
			}
			if err := c.Leader().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			c.FullyConnect()
			c.WaitForReplication(30)
			c.EnsureSame(t)
			c.EnsureSamePeers(t)
			leader := c.Leader()
			c.EnsureLeader(t, c.nodeOf(leader).addr)
		})
	}
}

func withRestoreCommitted() *raft.Config {
	conf := fastConfig()
	conf.RestoreCommittedLogs = true
	return &conf
}

func withProtocol(v raft.ProtocolVersion) *raft.Config {
	conf := fastConfig()
	conf.ProtocolVersion = v
	conf.TrailingLogs = 1
	return &conf
}

// apply applies the nth command, on whichever server leads by now.
func apply(t *testing.T, c *Cluster, n int) {
	t.Helper()
	f := c.Leader().Apply(fmt.Appendf(nil, "command %d", n), 0)
	if err := f.Error(); err != nil {
		t.Fatal(err)
	}
	if got := f.Response(); got != n {
		t.Errorf("response %v, want %d", got, n)
	}
}

func TestPartition(t *testing.T) {
	c := MakeCluster(5, t, nil)
	old := c.Leader()
	far := []raft.ServerAddress{c.nodeOf(old).addr, c.nodeOf(c.Followers()[0]).addr}
	c.Partition(far)

	// Leader must not return the old one, which leads on until its lease ends.
	leader := c.Leader()
	if addr := c.nodeOf(leader).addr; slices.Contains(far, addr) {
		t.Errorf("%s of the minority leads", addr)
	}
	// The follower that went with the old leader must still be connected to it:
	// the two hear of no other leader, and not of each other's log either.
	if err := leader.Apply([]byte("x"), 0).Error(); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if got := len(c.mock(n).Logs()); slices.Contains(far, n.addr) && got != 0 {
			t.Errorf("%s has %d commands from across the partition", n.addr, got)
		}
	}
	c.FullyConnect()
	c.WaitForReplication(1)
	if got := len(c.Followers()); got != 4 {
		t.Errorf("%d followers, want 4", got)
	}
}

// Without a bootstrap nothing happens until a server is given a configuration.
func TestNoBootstrap(t *testing.T) {
	c := MakeClusterNoBootstrap(2, t, nil)
	c.EnsureLeader(t, "")
	if got := len(c.WaitForFollowers(2)); got != 2 {
		t.Errorf("%d followers, want 2", got)
	}
	if got := c.GetInState(raft.Leader); len(got) != 0 {
		t.Errorf("leaders %v without a configuration", got)
	}

	elected := c.WaitEventChan(t.Context(), func(o *raft.Observation) bool { return o.Data == raft.Leader })
	first := c.nodes[0]
	conf := raft.Configuration{Servers: []raft.Server{{ID: first.id, Address: first.addr}}}
	if err := first.Raft().BootstrapCluster(conf).Error(); err != nil {
		t.Fatal(err)
	}
	<-elected
	if got := c.GetInState(raft.Leader); len(got) != 1 || got[0] != first.Raft() {
		t.Errorf("leaders %v, want the bootstrapped server", got)
	}
}

// Two clusters become one: the servers of the second join the first's
// configuration.
func TestMerge(t *testing.T) {
	c, other := MakeCluster(1, t, nil), MakeClusterNoBootstrap(2, t, nil)
	c.Merge(other)
	c.FullyConnect()
	leader := c.Leader()
	for _, n := range c.nodes[1:] {
		if err := leader.AddVoter(n.id, n.addr, 0, 0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	c.EnsureSamePeers(t)
	if got := len(c.Followers()); got != 2 {
		t.Errorf("%d followers, want 2", got)
	}
	other.Close() // has no servers any more
	c.EnsureLeader(t, c.nodeOf(leader).addr)
}

func TestRemoveServer(t *testing.T) {
	c := MakeCluster(3, t, nil)
	gone := c.nodeOf(c.Followers()[0])
	c.RemoveServer(gone.id)
	if got := c.IndexOf(gone.Raft()); got != -1 {
		t.Errorf("a removed server has index %d", got)
	}
	if err := gone.Raft().Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	apply(t, c, 1)
	c.WaitForReplication(1)
}

func TestWaitEvent(t *testing.T) {
	c := MakeCluster(1, t, nil)
	leader := c.Leader()
	never := func(*raft.Observation) bool { return false }
	c.WaitEvent(never, time.Millisecond) // returns and does not fail

	ctx, cancel := context.WithCancel(t.Context())
	ended := c.WaitEventChan(ctx, never)
	cancel()
	<-ended

	shutdown := c.WaitEventChan(t.Context(), func(o *raft.Observation) bool { return o.Data == raft.Shutdown })
	leader.Shutdown()
	<-shutdown
}

func TestPropagateError(t *testing.T) {
	for name, tt := range map[string]struct {
		opts MakeClusterOpts
		want error // nil for any
	}{
		"invalid Config":     {MakeClusterOpts{Conf: &raft.Config{}}, nil},
		"store can't do it":  {MakeClusterOpts{Conf: withRestoreCommitted()}, raft.ErrIncompatibleLogStore},
		"options contradict": {MakeClusterOpts{MonotonicLogs: true, CommitTrackingLogs: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tt.opts.Peers, tt.opts.Bootstrap, tt.opts.PropagateError = 2, true, true
			c, err := MakeClusterCustomWithErr(t, &tt.opts)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v (nil: any)", err, tt.want)
			}
			c.Close()
		})
	}
}

// A wait that is in vain must fail the test, and say for what. The failing tests
// run in a process of their own.
func TestWaitsFail(t *testing.T) {
	const key = "RAFTTEST_FAIL"
	cases := map[string]struct {
		want string
		wait func(t *testing.T, c *Cluster)
	}{
		"Leader":             {"no one leader within", func(_ *testing.T, c *Cluster) { c.Leader() }},
		"Followers":          {"no one leader within", func(_ *testing.T, c *Cluster) { c.Followers() }},
		"WaitForFollowers":   {"no 3 followers within", func(_ *testing.T, c *Cluster) { c.WaitForFollowers(3) }},
		"WaitForReplication": {"no 1 commands everywhere within", func(_ *testing.T, c *Cluster) { c.WaitForReplication(1) }},
		"EnsureLeader":       {`no leader "x" everywhere within`, func(t *testing.T, c *Cluster) { c.EnsureLeader(t, "x") }},
		"EnsureSame": {"no equal FSMs within", func(t *testing.T, c *Cluster) {
			c.mock(c.nodes[0]).Apply(&raft.Log{Data: []byte("astray")})
			c.EnsureSame(t)
		}},
		"EnsureSamePeers": {"no equal configurations within", func(t *testing.T, c *Cluster) {
			n := c.nodes[0]
			conf := raft.Configuration{Servers: []raft.Server{{ID: n.id, Address: n.addr}}}
			if err := n.Raft().BootstrapCluster(conf).Error(); err != nil {
				t.Log(err)
				return
			}
			c.EnsureSamePeers(t)
		}},
		"WaitFor":        {"no miracle within", func(_ *testing.T, c *Cluster) { c.WaitFor("miracle", func() error { return errors.New("none") }) }},
		"LeaderNode":     {"no one leader within", func(_ *testing.T, c *Cluster) { c.LeaderNode() }},
		"WaitForApplied": {"no application of entry 9 within", func(_ *testing.T, c *Cluster) { c.WaitForApplied(9, c.nodes[0]) }},
		"WaitForConfiguration": {"no configuration", func(_ *testing.T, c *Cluster) {
			c.WaitForConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "x", Address: "y"}}})
		}},
		"WaitForSnapshot": {"no snapshots at 9 within", func(_ *testing.T, c *Cluster) { c.WaitForSnapshot(9) }},
		"Wipe":            {"is up and can't be wiped", func(_ *testing.T, c *Cluster) { c.nodes[0].Wipe() }},
		"FailNowf":        {"because", func(_ *testing.T, c *Cluster) { c.FailNowf("be%s", "cause") }},
		"Failf":           {"because", func(_ *testing.T, c *Cluster) { c.Failf("be%s", "cause") }},
	}
	if name := os.Getenv(key); name != "" {
		c := MakeClusterCustom(t, &MakeClusterOpts{Peers: 2, LongstopTimeout: 700 * time.Millisecond})
		cases[name].wait(t, c)
		return
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestWaitsFail$")
			cmd.Env = append(os.Environ(), key+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("ended with %v, want a failure that says %q:\n%s", err, tt.want, out)
			}
		})
	}
}

func TestMockMonotonicLogStore(t *testing.T) {
	store := func(indexes ...uint64) func(*MockMonotonicLogStore) error {
		return func(s *MockMonotonicLogStore) error {
			var logs []*raft.Log
			for _, i := range indexes {
				logs = append(logs, &raft.Log{Index: i})
			}
			return s.StoreLogs(logs)
		}
	}
	remove := func(min, max uint64) func(*MockMonotonicLogStore) error {
		return func(s *MockMonotonicLogStore) error { return s.DeleteRange(min, max) }
	}
	for _, tt := range []struct {
		name        string
		do          func(*MockMonotonicLogStore) error // to a store with 5, 6, 7
		ok          bool
		first, last uint64
	}{
		{"append", store(8, 9), true, 5, 9},
		{"nothing", store(), true, 5, 7},
		{"gap before", store(9), false, 5, 7},
		{"gap within", store(8, 10), false, 5, 7},
		{"overwrite", store(7), false, 5, 7},
		{"delete prefix", remove(1, 5), true, 6, 7},
		{"delete suffix", remove(6, 7), true, 5, 5},
		{"delete all", remove(1, 9), true, 0, 0},
		{"delete within", remove(6, 6), false, 5, 7},
		{"start elsewhere when empty", func(s *MockMonotonicLogStore) error {
			return errors.Join(s.DeleteRange(5, 7), s.StoreLog(&raft.Log{Index: 100}))
		}, true, 100, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s MockMonotonicLogStore
			if err := store(5, 6, 7)(&s); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(&s); (err == nil) != tt.ok {
				t.Errorf("error %v, want ok %v", err, tt.ok)
			}
			first, _ := s.FirstIndex()
			last, _ := s.LastIndex()
			if first != tt.first || last != tt.last {
				t.Errorf("holds %d to %d, want %d to %d", first, last, tt.first, tt.last)
			}
			var log raft.Log
			if err := s.GetLog(tt.last+1, &log); err != raft.ErrLogNotFound {
				t.Errorf("reading past the end: %v", err)
			}
		})
	}
	if !(&MockMonotonicLogStore{}).IsMonotonic() {
		t.Error("is not monotonic")
	}
}

func TestMockFSMSnapshot(t *testing.T) {
	_, store := FileSnapTest(t)
	_, trans := raft.NewInmemTransport("")
	var before, after MockFSM
	for _, cmd := range []string{"one", "", "three"} {
		before.Apply(&raft.Log{Data: []byte(cmd)})
	}
	snap, err := before.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	before.Apply(&raft.Log{Data: []byte("later")})

	sink, err := store.Create(1, 3, 1, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	snap.Release()
	_, r, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	after.Apply(&raft.Log{Data: []byte("replaced")})
	if err := after.Restore(r); err != nil {
		t.Fatal(err)
	}
	if got := bytes.Join(after.Logs(), []byte(",")); string(got) != "one,,three" {
		t.Errorf("restored %q", got)
	}
}
