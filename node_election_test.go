package raft_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests elections between whole nodes.

// forBothVotes runs a test with and without pre-vote.
func forBothVotes(t *testing.T, opts options, test func(t *testing.T, c *cluster)) {
	for _, disabled := range []bool{false, true} {
		t.Run(fmt.Sprintf("prevote=%v", !disabled), func(t *testing.T) {
			opts.config = func(conf *raft.Config) { conf.PreVoteDisabled = disabled }
			bubble(t, opts, test)
		})
	}
}

// A cluster elects a leader, loses it, elects another, and takes the first one back.
func TestNodeElection(t *testing.T) {
	forBothVotes(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
		first := c.leader()
		first.apply("a")
		first.stop()
		stopped := time.Now()
		second, _ := c.split()
		// A dead leader is noticed within 3 timeouts; an election takes 2, twice if split.
		if took := time.Since(stopped); took > 10*time.Second {
			t.Errorf("failover took %v", took)
		}
		second.apply("b")
		first.start()
		c.expect("a", "b")
		if term := first.CurrentTerm(); term != second.CurrentTerm() {
			t.Errorf("the first leader came back with term %d, want %d", term, second.CurrentTerm())
		}
	})
}

// A leader that loses contact to a majority steps down within its lease and the grace of
// one look more, and knows no leader then.
func TestNodeLease(t *testing.T) {
	forBothVotes(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		lease := lead.conf.LeaderLeaseTimeout
		c.cut(lead, followers[0])
		time.Sleep(10 * lease)
		if lead.State() != raft.Leader {
			t.Fatal("the leader gave up with a majority")
		}
		c.cut(lead, followers[1])
		cut := time.Now()
		c.wait("the leader to step down", func() bool { return lead.State() != raft.Leader })
		if took := time.Since(cut); took > lease+lease/10 || took < lease/2 {
			t.Errorf("stepped down after %v, lease %v", took, lease)
		}
		if addr, id := lead.LeaderWithID(); addr != "" || id != "" {
			t.Errorf("still knows leader %s %s", addr, id)
		}
	})
}

// A server that was cut off does not disturb the others when it comes back: with
// pre-vote its term has not grown, without it it is refused as long as the leader lives.
func TestNodeReturnIsQuiet(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		term := lead.CurrentTerm()
		away := followers[0]
		c.isolate(away)
		c.wait("a candidate", func() bool { return away.State() == raft.Candidate })
		time.Sleep(time.Minute)
		if away.CurrentTerm() != term {
			t.Errorf("term grew to %d in isolation, want %d", away.CurrentTerm(), term)
		}
		lead.apply("a")
		c.net.Heal()
		c.expect("a")
		if lead.State() != raft.Leader || lead.CurrentTerm() != term {
			t.Errorf("%v with term %d was disturbed", lead, lead.CurrentTerm())
		}
	})
}

// A leader that is cut off in one direction only, and so hears nothing or is not heard,
// is replaced, and the cluster keeps its leader from then on.
func TestNodeOneWayPartition(t *testing.T) {
	for _, direction := range []string{"deaf", "mute"} {
		t.Run(direction, func(t *testing.T) {
			forBothVotes(t, options{}, func(t *testing.T, c *cluster) {
				old, followers := c.split()
				for _, f := range followers {
					if direction == "deaf" {
						c.net.Cut(f.addr, old.addr)
					} else {
						c.net.Cut(old.addr, f.addr)
					}
				}
				lead := c.leaderOf(followers...)
				lead.apply("a")
				term := lead.CurrentTerm()
				time.Sleep(time.Minute)
				if lead.State() != raft.Leader || lead.CurrentTerm() != term {
					t.Errorf("%v of term %d lost its lead, term is %d", lead, term, lead.CurrentTerm())
				}
				c.net.Heal()
				c.expect("a")
			})
		})
	}
}

// Three nodes, one down, and the leader loses its other follower's answers, which still
// hears it: somebody leads again once the link is back (L9).
func TestNodeHalfLostFollower(t *testing.T) {
	forBothVotes(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		followers[0].stop()
		c.net.Cut(followers[1].addr, lead.addr)
		time.Sleep(30 * time.Second)
		c.net.Heal()
		healed := time.Now()
		c.leader().apply("a")
		if took := time.Since(healed); took > 10*time.Second {
			t.Errorf("it took %v to have a leader again", took)
		}
	})
}

// The leader reaches one of two followers that hear each other: it leads on, and the
// other one does no harm (L9).
func TestNodePartialPartition(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		term := lead.CurrentTerm()
		c.cut(lead, followers[0])
		time.Sleep(time.Minute)
		lead.apply("a")
		if lead.State() != raft.Leader || lead.CurrentTerm() != term {
			t.Errorf("%v, term %d, want a leader of term %d", lead, lead.CurrentTerm(), term)
		}
		c.net.Heal()
		c.expect("a")
	})
}

// Pre-vote on some servers only, with differing terms: there is always a leader soon.
func TestNodeMixedPreVote(t *testing.T) {
	bubble(t, options{size: 5, prepare: func(n *node) {
		n.conf.PreVoteDisabled = len(n.c.nodes)%2 == 0
	}}, func(t *testing.T, c *cluster) {
		var want []string
		for i := range 5 {
			lead := c.leader()
			cmd := fmt.Sprint(i)
			lead.apply(cmd)
			want = append(want, cmd)
			c.isolate(lead)
			start := time.Now()
			c.leaderOf(c.others(lead)...)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("round %d: a leader after %v", i, took)
			}
			c.net.Heal()
			c.converge()
		}
		c.expect(want...)
	})
}

// A transport that does not know pre-vote turns it off.
func TestNodeTransportWithoutPreVote(t *testing.T) {
	type plain struct{ raft.Transport }
	prepare := func(n *node) { n.wire = func(t raft.Transport) raft.Transport { return plain{t} } }
	bubble(t, options{prepare: prepare}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.apply("a")
		c.isolate(lead)
		c.leaderOf(c.others(lead)...).apply("b")
		c.net.Heal()
		c.expect("a", "b")
	})
}

// One voter needs nobody else: to commit the disk is enough, and to lead it waits for
// nobody's heartbeats.
func TestNodeSingle(t *testing.T) {
	forBothVotes(t, options{size: 1, sync: 5 * time.Millisecond}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		start := time.Now()
		lead.apply("a")
		if got := time.Since(start); got != 5*time.Millisecond {
			t.Errorf("a write took %v, want one of the disk", got)
		}
		lead.stop()
		start = time.Now()
		lead.start()
		c.leader().apply("b")
		if got := time.Since(start); got >= raft.DefaultConfig().HeartbeatTimeout/10 {
			t.Errorf("it led again after %v", got)
		}
		c.expect("a", "b")
	})
}

// A server without any state waits, and does not stand, until it is bootstrapped. It
// may be bootstrapped while it runs, as a voter only and once only.
func TestNodeBootstrapLater(t *testing.T) {
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		n := c.add()
		n.start()
		time.Sleep(time.Minute)
		if n.State() != raft.Follower || n.CurrentTerm() != 0 {
			t.Fatalf("%v with term %d", n, n.CurrentTerm())
		}
		c.want(n.BootstrapCluster(c.configuration()), raft.ErrNotVoter)
		n.stop() // a crash in the middle of a bootstrap has left its term
		if err := n.disk.SetUint64([]byte("CurrentTerm"), 1); err != nil {
			t.Fatal(err)
		}
		n.start()
		own := raft.Configuration{Servers: []raft.Server{{ID: n.id, Address: n.addr}}}
		c.must(n.BootstrapCluster(own))
		c.want(n.BootstrapCluster(own), raft.ErrCantBootstrap)
		c.wait("a leader", func() bool { return n.State() == raft.Leader })
		n.apply("a")
	})
}
