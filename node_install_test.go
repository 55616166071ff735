package raft_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file tests installing snapshots on followers.

// lag makes a follower miss so much that it needs a snapshot.
func (c *cluster) lag(lead, away *node) {
	c.t.Helper()
	away.stop()
	lead.fill(20)
	c.must(lead.Snapshot())
	c.wait("the log to be compacted", func() bool { return lead.lacks(away.LastIndex() + 1) })
}

// lacks reports whether an entry is no longer in a node's store.
func (n *node) lacks(index uint64) bool {
	var e raft.Log
	return n.disk.GetLog(index, &e) == raft.ErrLogNotFound
}

func TestNodeInstall(t *testing.T) {
	for _, keep := range []uint64{0, 3} {
		bubble(t, options{config: trailing(keep), latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
			lead, followers := c.split()
			lead.apply("a")
			c.converge()
			away := followers[0]
			c.lag(lead, away)
			lead.apply("after")
			away.start()
			c.converge()
			if away.fsm.restored.Load() != 1 {
				t.Errorf("%d restores", away.fsm.restored.Load())
			}
			if away.snapshotIndex() != lead.snapshotIndex() || away.firstIndex() <= lead.snapshotIndex() {
				t.Errorf("the follower has snapshot %d and a log from %d, want %d", away.snapshotIndex(), away.firstIndex(), lead.snapshotIndex())
			}
			away.restart() // on the snapshot and the log above it
			lead.apply("z")
			c.converge()
		})
	}
}

// While the FSM restores, the follower votes and hears its leader (L16), and entries above
// the snapshot arrive.
func TestNodeInstallWhileBusy(t *testing.T) {
	bubble(t, options{config: trailing(2)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		c.lag(lead, away)
		away.start()
		away.fsm.restore.hold()
		time.Sleep(time.Second)
		term := lead.CurrentTerm()
		lead.fill(10)
		time.Sleep(30 * time.Second)
		if away.CurrentTerm() != term || away.State() != raft.Follower || time.Since(away.LastContact()) > time.Second {
			t.Errorf("%v in term %d lost contact to its leader %v ago", away, away.CurrentTerm(), time.Since(away.LastContact()))
		}
		if got := away.fsm.list(); len(got) != 0 {
			t.Errorf("%q was applied during a restore", got)
		}
		// It is needed for the next election.
		followers[1].stop()
		lead.stop()
		followers[1].start()
		next := c.claimant(away, followers[1])
		away.fsm.restore.release()
		next.apply("z")
		c.converge()
	})
}

// A snapshot that arrives while the FSM still applies waits for its turn.
func TestNodeInstallWhileApplying(t *testing.T) {
	bubble(t, options{config: trailing(2)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		away.fsm.apply.hold()
		lead.fill(10)
		c.isolate(away)
		lead.fill(20)
		c.must(lead.Snapshot())
		c.net.Heal()
		time.Sleep(20 * time.Second)
		away.fsm.apply.release()
		lead.apply("z")
		c.converge()
	})
}

// An FSM that fails to restore applies nothing more, and keeps its node in the cluster;
// the next snapshot may help.
func TestNodeInstallRestoreFails(t *testing.T) {
	bubble(t, options{config: trailing(2)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		c.lag(lead, away)
		time.Sleep(2 * wireTimeout) // no entry that was sent before is under way any more
		away.fsm.failing.Store(true)
		away.start()
		time.Sleep(10 * time.Second)
		if got := away.fsm.list(); len(got) != 0 {
			t.Errorf("%q was applied after a failed restore", got)
		}
		if away.State() != raft.Follower {
			t.Errorf("%v", away)
		}
		away.fsm.failing.Store(false)
		lead.apply("z")
		c.converge()
	})
}

// An FSM that fails to restore at the start keeps the node from starting.
func TestNodeStartRestoreFails(t *testing.T) {
	bubble(t, options{size: 1, config: rarely}, func(t *testing.T, c *cluster) {
		n := c.leader()
		n.apply("a")
		c.must(n.Snapshot())
		n.stop()
		n.fsm.failing.Store(true)
		if err := n.tryStart(); !errors.Is(err, errRestore) {
			t.Errorf("NewRaft: %v, want the FSM's error", err)
		}
		n.fsm.failing.Store(false)
		n.start()
		c.leader().apply("b")
		c.expect("a", "b")
	})
}

// A snapshot that takes longer to send than the log takes to turn over is sent once: what
// follows it is kept meanwhile (P1).
func TestNodeInstallSlowerThanTheLog(t *testing.T) {
	config := func(conf *raft.Config) {
		conf.SnapshotThreshold, conf.SnapshotInterval, conf.TrailingLogs = 10, 100*time.Millisecond, 10
	}
	bubble(t, options{config: config}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		c.lag(lead, away)
		var sent atomic.Int64
		c.net.Intercept(func(m rafttest.Message) error {
			if _, ok := m.Request.(*raft.InstallSnapshotRequest); ok {
				sent.Add(1)
				time.Sleep(3 * time.Second)
			}
			return nil
		})
		away.start()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 1000 {
				lead.Apply([]byte("x"), 0)
				time.Sleep(10 * time.Millisecond)
			}
		}()
		<-done
		if away.LastIndex() < lead.LastIndex()-20 || sent.Load() > 2 {
			t.Errorf("the follower has %d of %d after %d snapshots", away.LastIndex(), lead.LastIndex(), sent.Load())
		}
		c.converge()
	})
}

// A snapshot whose transfer fails is sent again, soon.
func TestNodeInstallInterrupted(t *testing.T) {
	bubble(t, options{config: trailing(2)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		c.lag(lead, away)
		var tries atomic.Int64
		c.net.Intercept(func(m rafttest.Message) error {
			if _, ok := m.Request.(*raft.InstallSnapshotRequest); ok && tries.Add(1) < 5 {
				return errors.New("broken")
			}
			return nil
		})
		away.start()
		start := time.Now()
		c.converge()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A follower with a dead leader's entries gets a snapshot, and keeps none of them, below or
// above it: it may lead afterwards (S8).
func TestNodeInstallOnDivergentLog(t *testing.T) {
	bubble(t, options{config: trailing(0)}, func(t *testing.T, c *cluster) {
		old := c.leader()
		c.isolate(old)
		for range 100 {
			old.Apply([]byte("lost"), 0)
		}
		others := c.others(old)
		lead := c.leaderOf(others...)
		lead.fill(50)
		c.must(lead.Snapshot())
		c.wait("the log to be compacted", func() bool { return lead.lacks(10) })
		c.net.Heal()
		want := c.converge()
		c.must(lead.LeadershipTransferToServer(old.id, old.addr))
		c.leaderOf(old).apply("z")
		x := c.add()
		x.start()
		c.must(old.AddNonvoter(x.id, x.addr, 0, 0))
		c.expect(append(want, "z")...)
	})
}
