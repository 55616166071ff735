package raft_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests NotifyCh, LeaderCh and observers on whole nodes.

// A NotifyCh that nobody reads holds nothing up, and gets every change in order when
// somebody does (L12).
func TestNodeFullNotifyCh(t *testing.T) {
	channels := map[raft.ServerID]chan bool{}
	prepare := func(n *node) {
		channels[n.id] = make(chan bool)
		n.conf.NotifyCh = channels[n.id]
	}
	bubble(t, options{prepare: prepare}, func(t *testing.T, c *cluster) {
		const rounds = 5
		n := c.nodes[0]
		for range rounds {
			lead := c.leader()
			if lead != n {
				c.must(lead.LeadershipTransferToServer(n.id, n.addr))
			}
			c.leaderOf(n).apply("x")
			c.must(n.LeadershipTransfer())
		}
		var got, want []bool
		for range rounds {
			want = append(want, true, false)
		}
		for range want {
			select {
			case v := <-channels[n.id]:
				got = append(got, v)
			case <-time.After(time.Minute):
				t.Fatalf("got %v and no more, want %v", got, want)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		select {
		case v := <-channels[n.id]:
			t.Errorf("got one more: %v", v)
		case <-time.After(time.Second):
		}
	})
}

// LeaderCh keeps the newest value. When it comes the status says the same.
func TestNodeLeaderCh(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		if v := <-lead.LeaderCh(); !v || lead.State() != raft.Leader {
			t.Errorf("%v on %v", v, lead)
		}
		c.isolate(lead)
		if v := <-lead.LeaderCh(); v || lead.State() == raft.Leader {
			t.Errorf("%v on %v", v, lead)
		}
		c.leaderOf(followers...)
		c.net.Heal()
		c.converge()
		next := c.leader()
		c.must(next.LeadershipTransferToServer(lead.id, lead.addr))
		c.must(c.leaderOf(lead).LeadershipTransferToServer(next.id, next.addr))
		synctest.Wait()
		if v := <-lead.LeaderCh(); v {
			t.Error("an older value was kept")
		}
		if first, second := lead.LeaderCh(), lead.LeaderCh(); first != second {
			t.Error("there are several channels")
		}
	})
}

// At shutdown a leader still tells that it leads no more, if there is room.
func TestNodeNotifyAtShutdown(t *testing.T) {
	var notify chan bool
	config := func(conf *raft.Config) {
		notify = make(chan bool, 2)
		conf.NotifyCh = notify
	}
	bubble(t, options{size: 1, config: config}, func(t *testing.T, c *cluster) {
		c.leader().stop()
		if a, b := <-notify, <-notify; !a || b {
			t.Errorf("got %v, %v", a, b)
		}
	})
}

func TestNodeObservers(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		states, leaders := observe[raft.RaftState](lead), observe[raft.LeaderObservation](followers[0])
		peers, failed := observe[raft.PeerObservation](lead), observe[raft.FailedHeartbeatObservation](lead)
		resumed := observe[raft.ResumedHeartbeatObservation](lead)
		votes, preVotes := observe[raft.RequestVoteRequest](followers[0]), observe[raft.RequestPreVoteRequest](followers[0])

		x := raft.Server{Suffrage: raft.Nonvoter, ID: "x", Address: "nowhere"}
		c.must(lead.AddNonvoter(x.ID, x.Address, 0, 0))
		c.must(lead.RemoveServer(x.ID, 0, 0))
		time.Sleep(time.Second)
		if got, want := peers(), []raft.PeerObservation{{Peer: x}, {Peer: x, Removed: true}}; !slices.Equal(got, want) {
			t.Errorf("peers: %v, want %v", got, want)
		}

		c.cut(lead, followers[1])
		time.Sleep(2 * time.Second)
		c.net.Heal()
		time.Sleep(2 * time.Second)
		silent := func(o raft.FailedHeartbeatObservation) bool {
			return o.PeerID == followers[1].id && !o.LastContact.IsZero()
		}
		if got := failed(); !slices.ContainsFunc(got, silent) {
			t.Errorf("failed heartbeats: %v", got)
		}
		if got, want := resumed(), (raft.ResumedHeartbeatObservation{PeerID: followers[1].id}); !slices.Contains(got, want) {
			t.Errorf("resumed heartbeats: %v, want %v", got, want)
		}

		c.isolate(lead)
		next := c.leaderOf(followers...)
		c.wait("the old leader to stand", func() bool { return lead.State() == raft.Candidate })
		c.net.Heal()
		c.wait("the old leader to follow", func() bool { return lead.Leader() == next.addr })
		synctest.Wait()
		if got, want := states(), []raft.RaftState{raft.Follower, raft.Candidate, raft.Follower}; len(got) < 3 || !slices.Equal(got[:3], want) {
			t.Errorf("states: %v, want %v", got, want)
		}
		got := leaders()
		last := got[len(got)-1]
		if want := (raft.LeaderObservation{Leader: next.addr, LeaderAddr: next.addr, LeaderID: next.id}); last != want || got[0].LeaderID != "" {
			t.Errorf("leaders: %v, want none and then %v", got, want)
		}
		if next != followers[0] && (len(votes()) == 0 || len(preVotes()) == 0) {
			t.Errorf("%d vote and %d pre-vote requests observed", len(votes()), len(preVotes()))
		}
	})
}

// An observer that blocks holds no node up.
func TestNodeBlockedObserver(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		for _, n := range c.nodes {
			n.RegisterObserver(raft.NewObserver(make(chan raft.Observation), true, nil))
		}
		for i := range 3 {
			lead := c.leader()
			lead.apply(string(lead.id))
			lead.stop()
			c.leader()
			lead.start()
			lead.RegisterObserver(raft.NewObserver(make(chan raft.Observation), true, nil))
			if got := c.converge(); len(got) != i+1 {
				t.Errorf("applied %q", got)
			}
		}
	})
}
