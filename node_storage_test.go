package raft_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file tests what nodes do when their stores fail or hang (R16, L1, L2).

var errFull = errors.New("no space left on device")

// A leader whose log store fails steps down, and another one leads. It neither stands nor
// grants as long as the failure lasts, and takes part again without a restart.
func TestNodeLeaderDiskFull(t *testing.T) {
	bubble(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
		sick, _ := c.split()
		sick.apply("a")
		sick.disk.fail(errFull)
		f := sick.Apply([]byte("unknown"), 0)
		err := outcome(f)
		if !errors.Is(err, raft.ErrLeadershipLost) && !errors.Is(err, errFull) {
			t.Errorf("outcome %v", err)
		}
		c.wait("the leader to step down", func() bool { return sick.State() == raft.Follower })
		lead := c.leaderOf(c.others(sick)...)
		lead.apply("b")
		if sick.Stats()["store_error"] == "" {
			t.Error("the failure is not in Stats")
		}
		term := lead.CurrentTerm()
		time.Sleep(time.Minute)
		if lead.State() != raft.Leader || lead.CurrentTerm() != term {
			t.Errorf("the sick server disturbs: %v has term %d, was %d", lead, lead.CurrentTerm(), term)
		}
		if sick.AppliedIndex() > sick.disk.last() {
			t.Errorf("applied %d, durable %d", sick.AppliedIndex(), sick.disk.last())
		}
		sick.disk.fail(nil)
		c.converge()
		if err := sick.Stats()["store_error"]; err != "" {
			t.Errorf("it works again and says %q", err)
		}
		c.must(lead.LeadershipTransferToServer(sick.id, sick.addr))
		c.leaderOf(sick).apply("c")
		c.converge()
	})
}

// last is the last index on a disk.
func (d *disk) last() uint64 {
	last, _ := d.LastIndex() // never fails
	return last
}

// A follower whose log store fails is not counted, and catches up afterwards.
func TestNodeFollowerDiskFull(t *testing.T) {
	bubble(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		sick, other := followers[0], followers[1]
		sick.disk.fail(errFull)
		lead.apply("a")
		other.stop()
		f := lead.Apply([]byte("not by this one"), 0)
		if err := outcome(f); err == nil {
			t.Error("a write was acknowledged by one disk of three")
		}
		other.start()
		c.leaderOf(lead, other).apply("b")
		sick.disk.fail(nil)
		c.converge()
	})
}

// A cluster of which all disks are full has no leader, and recovers by itself (L2).
func TestNodeAllDisksFull(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, _ := c.split()
		lead.apply("a")
		for _, n := range c.nodes {
			n.disk.fail(errFull)
		}
		lead.Apply([]byte("b"), 0)
		time.Sleep(time.Minute)
		term := lead.CurrentTerm()
		time.Sleep(10 * time.Minute)
		for _, n := range c.nodes {
			if n.State() == raft.Shutdown || n.CurrentTerm() > term+20 {
				t.Errorf("%v with term %d, was %d ten minutes ago", n, n.CurrentTerm(), term)
			}
			n.disk.fail(nil)
		}
		c.leader().apply("c")
		c.converge()
	})
}

// An I/O error stops the node: nothing is known of what its disk holds. So does a failed
// write of term or vote. The others go on.
func TestNodeStoreError(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fail  func(*disk)
		leads bool
	}{
		{"leader, log", func(d *disk) { d.fail(syscall.EIO) }, true},
		{"follower, log", func(d *disk) { d.fail(syscall.EIO) }, false},
		{"follower, stable store", func(d *disk) { d.failStable(errFull) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, options{}, func(t *testing.T, c *cluster) {
				lead, followers := c.split()
				broken := lead
				if !tt.leads {
					broken = followers[0]
				}
				tt.fail(broken.disk)
				if tt.leads {
					if err := outcome(lead.Apply([]byte("x"), 0)); err == nil || errors.Is(err, errPending) {
						t.Errorf("outcome %v", err)
					}
				} else {
					lead.apply("a")
					c.must(lead.LeadershipTransferToServer(followers[1].id, followers[1].addr)) // a new term
					c.leaderOf(followers[1]).apply("b")
				}
				c.wait("the node to stop", func() bool { return broken.State() == raft.Shutdown })
				c.want(broken.Apply(nil, 0), raft.ErrRaftShutdown)
				if err := outcome(broken.Shutdown()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				broken.up = false
				c.leader().apply("z")
			})
		})
	}
}

// A server whose log store fails to read committed entries tries again, and stops if that
// lasts: its FSM must neither skip an entry nor stay behind for good without anybody
// knowing (R16). After a start entries are read, not in memory.
func TestNodeUnreadableEntries(t *testing.T) {
	errDecode := errors.New("input buffer too small")
	for _, tt := range []struct {
		name  string
		lasts time.Duration
		stops bool
	}{
		{"for a while", 5 * time.Second, false},
		{"for good", 20 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, options{}, func(t *testing.T, c *cluster) {
				lead, followers := c.split()
				sick := followers[0]
				for _, cmd := range []string{"a", "b", "c"} {
					lead.apply(cmd)
				}
				c.isolate(sick)
				sick.restart()
				sick.disk.failReads(errDecode)
				c.net.Heal()
				time.Sleep(tt.lasts)
				sick.disk.failReads(nil)
				if stopped := sick.State() == raft.Shutdown; stopped != tt.stops {
					t.Fatalf("after %v: stopped %v, want %v", tt.lasts, stopped, tt.stops)
				}
				if tt.stops {
					if err := sick.Stats()["store_error"]; !strings.Contains(err, errDecode.Error()) {
						t.Errorf("it stopped because of %q", err)
					}
					sick.restart()
				}
				c.leader().apply("d")
				c.expect("a", "b", "c", "d")
			})
		})
	}
}

// A leader whose disk hangs steps down, though its heartbeats are answered, and another
// one leads that can write (L1). It does not come back as long as that lasts.
func TestNodeHungDisk(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		hung, others := c.split()
		hung.apply("a")
		hung.disk.gate.hold()
		start := time.Now()
		stop := make(chan struct{})
		writes := make(chan struct{})
		go func() { // the followers' disks commit it
			defer close(writes)
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					hung.Apply([]byte("x"), 0)
				}
			}
		}()
		c.wait("the leader to step down", func() bool { return hung.State() != raft.Leader })
		if took, limit := time.Since(start), max(2*time.Second, 5*hung.conf.ElectionTimeout)+time.Second; took > limit {
			t.Errorf("stepped down after %v, want %v at most", took, limit)
		}
		close(stop)
		<-writes
		lead := c.leaderOf(others...)
		lead.apply("z")
		if age, err := time.ParseDuration(hung.Stats()["write_age"]); err != nil || age < time.Second {
			t.Errorf("write_age %v, error %v", age, err)
		}
		time.Sleep(time.Minute)
		if lead.State() != raft.Leader {
			t.Error("the new leader did not last")
		}
		hung.disk.gate.release()
		c.converge()
	})
}

// A follower with a hung disk is visible in Stats (L3), and holds nothing up.
func TestNodeHungFollower(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		hung := followers[0]
		hung.disk.gate.hold()
		start := time.Now()
		lead.apply("a", "b")
		if took := time.Since(start); took != 0 {
			t.Errorf("writes took %v, as if they waited for the hung disk", took)
		}
		time.Sleep(10 * time.Second)
		if age, err := time.ParseDuration(hung.Stats()["write_age"]); err != nil || age < 9*time.Second {
			t.Errorf("write_age %v, error %v", age, err)
		}
		if hung.Stats()["durable_index"] == lead.Stats()["durable_index"] {
			t.Error("the hung follower looks as if it had stored everything")
		}
		hung.disk.gate.release()
		c.converge()
	})
}

// Refused AppendEntries under load, or a broken pipeline, do not wedge replication to that
// follower (L4), and are repaired within a heartbeat interval (L10).
func TestNodeRefusedAppend(t *testing.T) {
	for _, latency := range []time.Duration{0, 5 * time.Millisecond} {
		bubble(t, options{latency: latency, sync: latency}, func(t *testing.T, c *cluster) {
			lead, followers := c.split()
			term := lead.CurrentTerm()
			unlucky := followers[0]
			var count atomic.Int64
			c.net.Intercept(func(m rafttest.Message) error {
				r, ok := m.Request.(*raft.AppendEntriesRequest)
				if !ok || m.To != unlucky.addr || len(r.Entries) == 0 {
					return nil
				}
				if count.Add(1)%10 == 3 {
					return errors.New("broken pipe")
				}
				return nil
			})
			for i := range 300 {
				switch i % 100 {
				case 50: // what is under way is answered with an error, what follows refused
					unlucky.disk.fail(errFull)
				case 60:
					unlucky.disk.fail(nil)
				}
				lead.Apply([]byte("x"), 0)
				time.Sleep(time.Millisecond)
			}
			c.net.Intercept(nil)
			start := time.Now()
			c.converge()
			if took := time.Since(start); took > 500*time.Millisecond {
				t.Errorf("replication took %v to recover", took)
			}
			if lead.State() != raft.Leader || lead.CurrentTerm() != term {
				t.Errorf("%v of term %d, want it to lead term %d", lead, lead.CurrentTerm(), term)
			}
		})
	}
}

// A follower that was away for long is served as soon as it is back (L10), and one whose
// log diverges by much is repaired in a few round trips (L11).
func TestNodeCatchUp(t *testing.T) {
	const latency = 10 * time.Millisecond
	bubble(t, options{latency: latency}, func(t *testing.T, c *cluster) {
		old := c.leader()
		c.isolate(old)
		for range 2000 {
			old.Apply([]byte("lost"), 0)
		}
		lead := c.leaderOf(c.others(old)...)
		lead.fill(2000)
		time.Sleep(10 * time.Minute)
		c.net.Heal()
		start := time.Now()
		c.converge()
		// Lost messages take their timeout; then there are a search and 2000 entries.
		if took := time.Since(start); took > wireTimeout+2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
