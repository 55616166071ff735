package raft_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests changes of the membership.

func TestNodeMembership(t *testing.T) {
	bubble(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
		lead, _ := c.split()
		lead.apply("a")
		x := c.add()
		x.start()
		for _, step := range []struct {
			what   string
			change func(id raft.ServerID, addr raft.ServerAddress) raft.IndexFuture
			want   string // the new server's suffrage
		}{
			{"AddNonvoter", func(id raft.ServerID, addr raft.ServerAddress) raft.IndexFuture {
				return lead.AddNonvoter(id, addr, 0, 0)
			}, "Nonvoter"},
			{"AddVoter", func(id raft.ServerID, addr raft.ServerAddress) raft.IndexFuture { return lead.AddVoter(id, addr, 0, 0) }, "Voter"},
			{"AddNonvoter of a voter", func(id raft.ServerID, addr raft.ServerAddress) raft.IndexFuture {
				return lead.AddNonvoter(id, addr, 0, 0)
			}, "Voter"},
			{"DemoteVoter", func(id raft.ServerID, _ raft.ServerAddress) raft.IndexFuture { return lead.DemoteVoter(id, 0, 0) }, "Nonvoter"},
			{"RemoveServer", func(id raft.ServerID, _ raft.ServerAddress) raft.IndexFuture { return lead.RemoveServer(id, 0, 0) }, ""},
			{"RemoveServer again", func(id raft.ServerID, _ raft.ServerAddress) raft.IndexFuture { return lead.RemoveServer(id, 0, 0) }, ""},
		} {
			f := step.change(x.id, x.addr)
			c.must(f)
			got := lead.GetConfiguration()
			if got.Index() != f.Index() || lead.AppliedIndex() < f.Index() {
				t.Errorf("%s: index %d, the configuration's %d, applied %d", step.what, f.Index(), got.Index(), lead.AppliedIndex())
			}
			if suffrage := lead.suffrage(x.id); suffrage != step.want {
				t.Errorf("%s: the server is %q, want %q", step.what, suffrage, step.want)
			}
			c.wait("all to know the configuration", func() bool {
				for _, n := range c.nodes {
					if n.GetConfiguration().Index() != f.Index() && step.want != "" {
						return false
					}
				}
				return true
			})
		}
	})
}

// A voter counts at once: with two of three down, a fourth needs one of them back.
func TestNodeAddedVoterCounts(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		x := c.add()
		x.start()
		c.must(lead.AddVoter(x.id, x.addr, 0, 0))
		followers[0].stop()
		lead.apply("with three of four")
		followers[1].stop()
		f := lead.Apply([]byte("with two of four"), 0)
		c.want(f, raft.ErrLeadershipLost)
		followers[0].start()
		c.leader().apply("with three again")
	})
}

// A change with prevIndex is made only if the configuration is still that one (A1).
func TestNodePrevIndex(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		prev := lead.GetConfiguration().Index()
		if prev != 1 {
			t.Fatalf("the first configuration has index %d", prev)
		}
		c.must(lead.AddNonvoter("x", "x", prev, 0))
		err := outcome(lead.AddNonvoter("y", "y", prev, 0))
		if err == nil || !strings.Contains(err.Error(), "configuration changed since 1") {
			t.Errorf("outcome %v", err)
		}
		if lead.suffrage("y") != "" {
			t.Error("it was added all the same")
		}
		c.must(lead.AddNonvoter("y", "y", lead.GetConfiguration().Index(), 0))
	})
}

func TestNodeBadChanges(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		before := lead.LastIndex()
		for _, f := range []raft.Future{
			lead.AddVoter("", "x", 0, 0),
			lead.AddVoter("x", "", 0, 0),
			lead.AddVoter("x", followers[0].addr, 0, 0),
		} {
			if err := outcome(f); err == nil || !strings.Contains(err.Error(), "in configuration") {
				t.Errorf("outcome %v", err)
			}
		}
		if lead.LastIndex() != before {
			t.Error("something was appended")
		}
	})
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		for _, f := range []raft.Future{lead.RemoveServer(lead.id, 0, 0), lead.DemoteVoter(lead.id, 0, 0)} {
			if err := outcome(f); err == nil || !strings.Contains(err.Error(), "need at least one voter") {
				t.Errorf("the last voter: %v", err)
			}
		}
	})
}

// Changes are made one at a time: the second waits until the first is committed (R8), no
// longer than its timeout allows (L18), or a while if it has none.
func TestNodeOneChangeAtATime(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		for _, f := range followers {
			f.disk.gate.hold() // heartbeats go on, commits don't
		}
		first := lead.AddNonvoter("x", "x", 0, 0)
		start := time.Now()
		second := lead.AddNonvoter("y", "y", 0, 3*time.Second)
		forever := lead.AddNonvoter("z", "z", 0, 0)
		c.want(second, raft.ErrEnqueueTimeout)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if lead.suffrage("x") == "" || lead.suffrage("y") != "" {
			t.Errorf("configuration %v", lead.GetConfiguration().Configuration())
		}
		c.want(forever, raft.ErrEnqueueTimeout)
		if lead.State() != raft.Leader {
			t.Fatal("the leader gave up")
		}
		for _, f := range followers {
			f.disk.gate.release()
		}
		c.must(first)
		c.must(lead.AddNonvoter("y", "y", 0, 0))
		if lead.suffrage("z") != "" {
			t.Error("a change was made that had timed out")
		}
	})
}

// A new leader makes no change before an entry of its term is committed: two changes of
// different terms could otherwise commit with majorities that do not meet (S19).
func TestNodeChangeWaitsForTerm(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old, followers := c.split()
		old.apply("a")
		time.Sleep(time.Second) // all know that the present configuration is committed
		c.heartbeatsOnly()
		old.stop()
		lead := c.claimant(followers...)
		change := lead.AddNonvoter("x", "x", 0, 10*time.Second)
		time.Sleep(5 * time.Second)
		if lead.State() != raft.Leader || lead.suffrage("x") != "" {
			t.Errorf("%v has configuration %v", lead, lead.GetConfiguration().Configuration())
		}
		c.net.Intercept(nil)
		c.must(change)
	})
}

// A leader that removes itself leads until that is committed, and then shuts down or
// becomes a follower.
func TestNodeLeaderRemovesItself(t *testing.T) {
	for _, shutdown := range []bool{true, false} {
		config := func(conf *raft.Config) { conf.ShutdownOnRemove = shutdown }
		bubble(t, options{config: config}, func(t *testing.T, c *cluster) {
			old := c.leader()
			old.apply("a")
			c.must(old.RemoveServer(old.id, 0, 0))
			want := raft.Follower
			if shutdown {
				want = raft.Shutdown
			}
			c.wait("the old leader to be "+want.String(), func() bool { return old.State() == want })
			lead := c.leaderOf(c.others(old)...)
			lead.apply("b")
			term := lead.CurrentTerm()
			time.Sleep(time.Minute)
			if lead.State() != raft.Leader || lead.CurrentTerm() != term || old.State() != want {
				t.Errorf("the removed server does not rest: %v, %v with term %d, was %d", old, lead, lead.CurrentTerm(), term)
			}
			c.want(old.Apply(nil, 0), map[bool]error{true: raft.ErrRaftShutdown, false: raft.ErrNotLeader}[shutdown])
		})
	}
}

// A demoted leader steps down and lives on, as a non-voter that gets the log.
func TestNodeDemotedLeader(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old := c.leader()
		c.must(old.DemoteVoter(old.id, 0, 0))
		lead := c.leaderOf(c.others(old)...)
		lead.apply("a")
		c.expect("a")
		if old.State() != raft.Follower {
			t.Errorf("%v", old)
		}
		c.must(lead.AddVoter(old.id, old.addr, 0, 0))
		c.must(lead.LeadershipTransferToServer(old.id, old.addr))
	})
}

// A removed follower gets to know it, and does not campaign (L8). If it could not be told
// it is harmless.
func TestNodeRemovedFollower(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		bubble(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
			lead, followers := c.split()
			gone := followers[0]
			if !reachable {
				c.isolate(gone)
			}
			c.must(lead.RemoveServer(gone.id, 0, 0))
			time.Sleep(10 * time.Second)
			if reachable && (gone.suffrage(gone.id) != "" || gone.State() != raft.Follower) {
				t.Errorf("the removed server is %v in %v", gone, gone.GetConfiguration().Configuration())
			}
			c.net.Heal()
			lead = c.leader()
			term := lead.CurrentTerm()
			time.Sleep(time.Minute)
			if lead.State() != raft.Leader || lead.CurrentTerm() != term {
				t.Errorf("the removed server disturbs: %v has term %d, was %d", lead, lead.CurrentTerm(), term)
			}
			lead.apply("a")
			if got := gone.fsm.list(); len(got) != 0 {
				t.Errorf("the removed server got %q", got)
			}
		})
	}
}

// A server that is removed, wiped and added again in one term gets the whole log: answers
// of its former self do not count for it (S11).
func TestNodeRejoinInOneTerm(t *testing.T) {
	bubble(t, options{latency: 10 * time.Millisecond, sync: 10 * time.Millisecond}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		term, away := lead.CurrentTerm(), followers[0]
		lead.fill(50)
		for range 5 {
			pending := lead.Apply([]byte("under way"), 0)
			c.must(lead.RemoveServer(away.id, 0, 0))
			c.must(pending)
			away.stop()
			away.wipe()
			away.start()
			c.must(lead.AddVoter(away.id, away.addr, 0, 0))
			// It has nothing yet, so it can't be what makes a majority.
			lead.apply("more")
		}
		c.converge()
		if lead.CurrentTerm() != term {
			t.Errorf("term %d, want %d", lead.CurrentTerm(), term)
		}
		first, _ := away.disk.FirstIndex()
		last, _ := away.disk.LastIndex()
		if first != 1 || last != lead.LastIndex() {
			t.Errorf("the new server has %d to %d, want 1 to %d", first, last, lead.LastIndex())
		}
	})
}

// An uncommitted change that is overwritten leaves the earlier configuration in force.
func TestNodeChangeFallsBack(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old := c.leader()
		c.isolate(old)
		f := old.AddVoter("x", "x", 0, 0)
		c.wait("the change to be in force", func() bool { return old.suffrage("x") != "" })
		c.want(f, raft.ErrLeadershipLost)
		c.leaderOf(c.others(old)...).apply("a")
		c.net.Heal()
		c.expect("a")
		if old.suffrage("x") != "" || old.GetConfiguration().Index() != 1 {
			t.Errorf("configuration %d: %v", old.GetConfiguration().Index(), old.GetConfiguration().Configuration())
		}
	})
}

// A voter with a stale configuration elects a candidate that it does not know, if that
// has the newer log (L7).
func TestNodeVoterWithStaleConfiguration(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		stale := followers[0]
		stale.stop()
		x := c.add()
		x.start()
		c.must(lead.AddVoter(x.id, x.addr, 0, 0))
		c.converge()
		// Only the new server gets one entry more. Of four voters it, the stale one and
		// one with a shorter log are left.
		c.cut(lead, followers[1])
		before := lead.LastIndex()
		lead.Apply([]byte("a"), 0)
		c.wait("the new server to have it", func() bool { return x.LastIndex() > before })
		lead.stop()
		c.net.Heal()
		stale.start()
		if next := c.leader(); next != x {
			t.Errorf("%s leads, want %s", next.id, x.id)
		}
		c.expect("a")
	})
}

// A server that moves is reached at its new address.
func TestNodeAddressChange(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		mover := followers[0]
		mover.stop()
		mover.addr = "new-address"
		mover.start()
		c.must(lead.AddVoter(mover.id, mover.addr, 0, 0))
		lead.apply("a")
		c.expect("a")
		c.must(lead.LeadershipTransferToServer(mover.id, mover.addr))
		c.wait("the others to know the address", func() bool { return lead.Leader() == mover.addr })
	})
}
