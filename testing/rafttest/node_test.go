package rafttest

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// inBubble runs a test with a cluster in memory, bootstrapped and in virtual time.
func inBubble(t *testing.T, opts MakeClusterOpts, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Bootstrap, opts.Seed = true, 1
		if opts.MakeDisk == nil {
			opts.MakeDisk = func(raft.ServerID) (*Disk, error) { return NewMemDisk(1), nil }
		}
		test(t, MakeClusterCustom(t, &opts))
	})
}

// acknowledge applies commands on whoever leads, until each is acknowledged.
func acknowledge(c *Cluster, commands ...string) (index uint64) {
	c.t.Helper()
	for _, cmd := range commands {
		c.WaitFor(fmt.Sprintf("acknowledgement of %q", cmd), func() error {
			f := c.Leader().Apply([]byte(cmd), 0)
			err := f.Error()
			index = f.Index()
			return err
		})
	}
	return index
}

// A server that crashes or is stopped comes back with what its disk has, and one
// that was wiped with nothing; both catch up.
func TestNodeRestarts(t *testing.T) {
	for name, down := range map[string]func(*Node) error{
		"stop":  (*Node).Stop,
		"crash": func(n *Node) error { n.Crash(); return nil },
		"crash while paused": func(n *Node) error {
			n.Pause()
			time.Sleep(time.Second)
			n.Crash()
			return nil
		},
		"stop while paused": func(n *Node) error {
			n.Pause()
			time.Sleep(time.Second)
			return n.Stop()
		},
		"wipe": func(n *Node) error {
			n.Crash()
			n.Wipe()
			if last, err := n.Disk().LogStore().LastIndex(); last != 0 {
				return fmt.Errorf("a wiped disk ends with entry %d, %v", last, err)
			}
			return nil
		},
		"stops by itself": func(n *Node) error { return n.Raft().Shutdown().Error() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, MakeClusterOpts{Peers: 3}, func(t *testing.T, c *Cluster) {
				acknowledge(c, "a", "b")
				n := c.LeaderNode()
				old := n.FSM()
				if err := down(n); err != nil {
					t.Fatal(err)
				}
				if n.Up() {
					t.Error("it is up")
				}
				acknowledge(c, "c")
				if err := n.Start(); err != nil {
					t.Fatal(err)
				}
				c.WaitForApplied(acknowledge(c, "d"))
				c.WaitForReplication(4)
				c.EnsureSame(t)
				if n.FSM() == old {
					t.Error("the FSM was not made anew")
				}
				if err := n.Start(); err == nil {
					t.Error("a server that is up starts again")
				}
			})
		})
	}
}

// What hangs when a server is stopped does not reach the disk later.
func TestNodeStopHanging(t *testing.T) {
	inBubble(t, MakeClusterOpts{Peers: 1}, func(t *testing.T, c *Cluster) {
		acknowledge(c, "a")
		n := c.LeaderNode()
		n.Disk().Hang()
		f := n.Raft().Apply([]byte("b"), 0)
		time.Sleep(time.Second) // until the write is under way
		if err := n.Stop(); err == nil {
			t.Error("Stop does not say that a write hangs")
		}
		if err := f.Error(); err == nil {
			t.Error("a write on a disk that hangs was acknowledged")
		}
		_, last := bounds(t, n.Disk().LogStore())
		n.Disk().Release()
		time.Sleep(time.Minute)
		expectBounds(t, n.Disk().LogStore(), 1, last)
		must(t, n.Start())
		acknowledge(c, "c")
	})
}

// A leader that is paused is deposed without noticing it, does nothing meanwhile, and
// when it goes on it follows.
func TestNodePause(t *testing.T) {
	inBubble(t, MakeClusterOpts{Peers: 3}, func(t *testing.T, c *Cluster) {
		acknowledge(c, "a")
		old := c.LeaderNode()
		c.WaitForApplied(old.Raft().AppliedIndex())
		old.Pause()
		before := old.Disk().Counts()
		written := make(chan error, 1)
		go func() { written <- old.Disk().StableStore().SetUint64([]byte("of the test"), 1) }()
		c.WaitFor("another leader", func() error {
			for _, r := range c.inState(raft.Leader) {
				if r != old.Raft() && r.VerifyLeader().Error() == nil {
					return nil
				}
			}
			return errors.New("none")
		})
		time.Sleep(time.Minute)
		if old.Raft().State() != raft.Leader {
			t.Errorf("a paused server became %v", old.Raft())
		}
		before.StableWrites++
		if after := old.Disk().Counts(); after != before || len(written) > 0 {
			t.Errorf("a paused server has written: %+v, before %+v", after, before)
		}
		if c.Network().Counts().Stalled == 0 {
			t.Error("what a paused server is sent arrives")
		}
		old.Resume()
		must(t, <-written)
		acknowledge(c, "b")
		c.WaitForReplication(2)
		c.EnsureSame(t)
	})
}

// A new server joins, is found by its ID, and every wait sees what it waits for.
func TestWaits(t *testing.T) {
	inBubble(t, MakeClusterOpts{Peers: 3}, func(t *testing.T, c *Cluster) {
		index := acknowledge(c, "a", "b")
		leader := c.LeaderNode()
		if c.nodeOf(leader.Raft()) != leader || leader.Raft().State() != raft.Leader {
			t.Errorf("leader %v", leader.Raft())
		}
		n := c.AddNode()
		if n.ID() != "server-4" || n.Address() != "addr-4" || c.Node("server-4") != n || c.Node("server-5") != nil {
			t.Errorf("the fourth server is %s at %s", n.ID(), n.Address())
		}
		must(t, leader.Raft().AddVoter(n.ID(), n.Address(), 0, 0).Error())
		var want raft.Configuration
		for _, n := range c.Nodes() { // in another order
			want.Servers = append([]raft.Server{{ID: n.ID(), Address: n.Address()}}, want.Servers...)
		}
		c.WaitForConfiguration(want)
		c.WaitForApplied(index)
		if applied := n.Raft().AppliedIndex(); applied < index {
			t.Errorf("a server has applied %d, want %d", applied, index)
		}
		must(t, n.Raft().Snapshot().Error())
		c.WaitForSnapshot(index, n)

		n.Crash()
		c.WaitForApplied(acknowledge(c, "c")) // of those that are up
		must(t, n.Start())
		c.WaitForReplication(3)
	})
}

// Options reach the servers: network, disks and configuration.
func TestOptions(t *testing.T) {
	network := NewNetwork(1)
	disks := map[raft.ServerID]*Disk{}
	inBubble(t, MakeClusterOpts{
		Peers:   3,
		Network: network,
		MakeDisk: func(id raft.ServerID) (*Disk, error) {
			disks[id] = NewMemDisk(1)
			return disks[id], nil
		},
		Configure: func(conf *raft.Config) { conf.PreVoteDisabled = conf.LocalID == "server-2" },
	}, func(t *testing.T, c *Cluster) {
		acknowledge(c, "a")
		if c.Network() != network || network.Counts().Sent == 0 {
			t.Errorf("the network was not used: %+v", network.Counts())
		}
		for _, n := range c.Nodes() {
			if n.Disk() != disks[n.ID()] || n.Disk().Counts().LogWrites == 0 {
				t.Errorf("%s does not use its disk: %+v", n.ID(), n.Disk().Counts())
			}
			if n.conf.PreVoteDisabled != (n.ID() == "server-2") {
				t.Errorf("%s was not configured", n.ID())
			}
		}
	})
}

func TestMakeDiskFails(t *testing.T) {
	opts := &MakeClusterOpts{
		Peers: 2, Bootstrap: true, PropagateError: true,
		MakeDisk: func(raft.ServerID) (*Disk, error) { return nil, errFull },
	}
	if _, err := MakeClusterCustomWithErr(t, opts); !errors.Is(err, errFull) {
		t.Errorf("error %v", err)
	}
}

// Clusters that were merged share one network: faults set by either handle reach all
// servers, and the servers of the two are apart until they are connected.
func TestMergeNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := NewNetwork(1), NewNetwork(2)
		x, y := join(t, a, "x"), join(t, b, "y")
		b.SetLatency(time.Millisecond, time.Millisecond)
		b.Stall("y")
		go x.ask(y, 1) // unknown there, refused
		must(t, a.merge(b))
		must(t, a.merge(b)) // nothing is left to do
		expectOutcome(t, x, y, 2, errTimeout, requestTimeout)
		a.Heal()
		time.AfterFunc(10*time.Millisecond, func() { b.Resume("y") })
		expectOutcome(t, x, y, 3, nil, 10*time.Millisecond)
		b.SetLatency(time.Second/10, time.Second/10)
		expectOutcome(t, x, y, 4, nil, time.Second/5)
		expectOutcome(t, y, x, 5, nil, time.Second/5)
		if a.Counts() != b.Counts() {
			t.Errorf("counts %+v and %+v", a.Counts(), b.Counts())
		}

		other := NewNetwork(3)
		join(t, other, "x")
		if err := a.merge(other); err == nil {
			t.Error("two servers of one address were merged")
		}
	})
}

// The FSM that a node gets has the optional methods of the user's, and all wait while
// it is held.
func TestHeldFSM(t *testing.T) {
	for _, tt := range []struct {
		fsm             raft.FSM
		batching, store bool
	}{
		{&plainFSM{}, false, false},
		{batchingFSM{}, true, false},
		{storingFSM{}, false, true},
		{bothFSM{}, true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var g gate
			g.hold()
			held := heldBy(tt.fsm, &g)
			b, batching := held.(raft.BatchingFSM)
			s, store := held.(raft.ConfigurationStore)
			if batching != tt.batching || store != tt.store {
				t.Errorf("over a %T: batching %v, store %v", tt.fsm, batching, store)
			}
			calls := []func(){
				func() { held.Apply(&raft.Log{}) },
				func() { held.Snapshot() },
				func() { held.Restore(nil) },
			}
			if batching {
				calls = append(calls, func() { b.ApplyBatch(nil) })
			}
			if store {
				calls = append(calls, func() { s.StoreConfiguration(1, raft.Configuration{}) })
			}
			done := make(chan struct{}, len(calls))
			for _, call := range calls {
				go func() { call(); done <- struct{}{} }()
			}
			synctest.Wait()
			if len(done) > 0 {
				t.Errorf("over a %T: %d calls did not wait", tt.fsm, len(done))
			}
			g.release()
			synctest.Wait()
			if len(done) != len(calls) {
				t.Errorf("over a %T: %d of %d calls were made", tt.fsm, len(done), len(calls))
			}
		})
	}
}

type plainFSM struct{}

func (plainFSM) Apply(*raft.Log) any                 { return nil }
func (plainFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, nil }
func (plainFSM) Restore(io.ReadCloser) error         { return nil }

type batchingFSM struct{ plainFSM }

func (batchingFSM) ApplyBatch([]*raft.Log) []any { return nil }

type storingFSM struct{ plainFSM }

func (storingFSM) StoreConfiguration(uint64, raft.Configuration) {}

type bothFSM struct{ batchingFSM }

func (bothFSM) StoreConfiguration(uint64, raft.Configuration) {}
