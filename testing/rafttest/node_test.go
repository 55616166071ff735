package rafttest

import (
	"errors"
	"fmt"
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

// A leader that is paused is deposed without noticing it, does nothing meanwhile, and
// when it goes on it follows.
func TestNodePause(t *testing.T) {
	inBubble(t, MakeClusterOpts{Peers: 3}, func(t *testing.T, c *Cluster) {
		acknowledge(c, "a")
		old := c.LeaderNode()
		c.WaitForApplied(old.Raft().AppliedIndex())
		old.Pause()
		before := old.Disk().Counts()
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
		if after := old.Disk().Counts(); after != before {
			t.Errorf("a paused server has written: %+v, before %+v", after, before)
		}
		old.Resume()
		acknowledge(c, "b")
		c.WaitForReplication(2)
		c.EnsureSame(t)
	})
}
