package raft_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file tests leadership transfer.

func isTimeoutNow(req any) bool {
	_, ok := req.(*raft.TimeoutNowRequest)
	return ok
}

// The leader hands over in two round trips and a write, not in an election timeout.
func TestNodeTransfer(t *testing.T) {
	const latency, sync = 3 * time.Millisecond, 10 * time.Millisecond
	bubble(t, options{latency: latency, sync: sync}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		lead.apply("a")
		time.Sleep(time.Second)
		to := followers[1]
		start := time.Now()
		c.must(lead.LeadershipTransferToServer(to.id, to.addr))
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		c.wait("the old leader to follow the new one", func() bool {
			_, id := lead.LeaderWithID()
			return id == to.id
		})
		c.leaderOf(to).apply("b")
		c.expect("a", "b")
	})
}

// Without a target the most advanced voter is asked.
func TestNodeTransferPicksTheBest(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		x := c.add()
		x.start()
		c.must(lead.AddNonvoter(x.id, x.addr, 0, 0))
		behind, best := followers[0], followers[1]
		behind.disk.gate.hold()
		lead.apply("a")
		c.must(lead.LeadershipTransfer())
		behind.disk.gate.release()
		if got := c.leader(); got != best {
			t.Errorf("%s leads, want %s", got.id, best.id)
		}
	})
}

func TestNodeTransferRefused(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, _ := c.split()
		x := c.add()
		x.start()
		c.must(lead.AddNonvoter(x.id, x.addr, 0, 0))
		for _, tt := range []struct {
			id   raft.ServerID
			want string
		}{
			{lead.id, "cannot transfer leadership to itself"},
			{"nobody", "cannot find replication state for nobody"},
			{x.id, "node is not a voter"}, // a non-voter can't win
		} {
			err := outcome(lead.LeadershipTransferToServer(tt.id, "addr"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("to %s: %v, want %q", tt.id, err, tt.want)
			}
		}
		c.want(lead.LeadershipTransferToServer(x.id, x.addr), raft.ErrNotVoter)
		lead.apply("still writable")
	})
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		if err := outcome(c.leader().LeadershipTransfer()); err == nil || err.Error() != "cannot find peer" {
			t.Errorf("a single server: %v", err)
		}
	})
}

// While a transfer is under way nothing is accepted that the next leader would not have;
// when it fails the leader goes on.
func TestNodeTransferInProgress(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		term, to := lead.CurrentTerm(), followers[0]
		to.disk.gate.hold() // it can't catch up
		lead.apply("a")
		start := time.Now()
		transfer := lead.LeadershipTransferToServer(to.id, to.addr)
		for what, f := range map[string]raft.Future{
			"Apply": lead.Apply([]byte("b"), 0), "Barrier": lead.Barrier(0),
			"AddVoter": lead.AddVoter("x", "x", 0, 0), "transfer": lead.LeadershipTransfer(),
		} {
			if err := outcome(f); err != raft.ErrLeadershipTransferInProgress {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := lead.Restore(&raft.SnapshotMeta{Version: 1}, strings.NewReader(""), 0); err != raft.ErrLeadershipTransferInProgress {
			t.Errorf("Restore: %v", err)
		}
		c.must(lead.VerifyLeader())
		if err := outcome(transfer); err == nil || !strings.Contains(err.Error(), "leadership transfer timeout") {
			t.Errorf("outcome %v", err)
		}
		if took, limit := time.Since(start), lead.conf.ElectionTimeout; took != limit {
			t.Errorf("timed out after %v, want ElectionTimeout %v", took, limit)
		}
		lead.apply("c")
		to.disk.gate.release()
		c.expect("a", "c")
		if lead.State() != raft.Leader || lead.CurrentTerm() != term {
			t.Errorf("%v of term %d, want it to lead term %d", lead, lead.CurrentTerm(), term)
		}
	})
}

// A target that is asked and does nothing makes the transfer time out; one that can't be
// reached makes it fail.
func TestNodeTransferUnanswered(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		c.net.Intercept(func(m rafttest.Message) error {
			if isTimeoutNow(m.Request) {
				return errors.New("lost")
			}
			return nil
		})
		err := outcome(lead.LeadershipTransferToServer(followers[0].id, followers[0].addr))
		if err == nil || !strings.Contains(err.Error(), "failed to make TimeoutNow RPC") {
			t.Errorf("outcome %v", err)
		}
		lead.apply("a")
		// Nobody lives at the address: the caller gave a wrong one.
		c.net.Intercept(nil)
		err = outcome(lead.LeadershipTransferToServer(followers[0].id, "elsewhere"))
		if err == nil || !strings.Contains(err.Error(), "failed to make TimeoutNow RPC") {
			t.Errorf("outcome %v", err)
		}
		lead.apply("b")
		c.expect("a", "b")
	})
}

// A leader that loses its leadership during a transfer, and wins another one, accepts
// writes (L5).
func TestNodeTransferInterrupted(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old, followers := c.split()
		to := followers[0]
		to.disk.gate.hold()
		old.apply("a")
		transfer := old.LeadershipTransferToServer(to.id, to.addr)
		c.isolate(old)
		if err := outcome(transfer); err == nil || errors.Is(err, errPending) {
			t.Errorf("outcome %v", err)
		}
		to.disk.gate.release()
		lead := c.leaderOf(followers...)
		lead.apply("b")
		c.net.Heal()
		c.converge()
		c.must(lead.LeadershipTransferToServer(old.id, old.addr))
		c.leaderOf(old).apply("c")
		c.must(old.AddNonvoter("x", "x", 0, 0))
		c.must(old.LeadershipTransfer())
	})
}

// A transfer has failed if another server than the target is elected (L6).
func TestNodeTransferToTheWrongOne(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old, followers := c.split()
		to, third := followers[0], followers[1]
		quick := third.ReloadableConfig()
		quick.HeartbeatTimeout = 500 * time.Millisecond
		if err := third.ReloadConfig(quick); err != nil {
			t.Fatal(err)
		}
		// The target deposes the leader, but nobody votes for it.
		c.net.Intercept(func(m rafttest.Message) error {
			if _, ok := m.Request.(*raft.RequestVoteRequest); ok && m.From == to.addr {
				return errors.New("lost")
			}
			return nil
		})
		transfer := old.LeadershipTransferToServer(to.id, to.addr)
		if err := outcome(transfer); err == nil || errors.Is(err, errPending) {
			t.Errorf("outcome %v, though %s was not elected", err, to.id)
		}
		if lead := c.leader(); lead == to {
			t.Errorf("%s was elected without votes", to.id)
		}
	})
}

// TimeoutNow is obeyed only by a voter, and only from its leader (S14, R12).
func TestNodeTimeoutNowFromAnyone(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		x := c.add()
		x.start()
		c.must(lead.AddNonvoter(x.id, x.addr, 0, 0))
		c.converge()
		term := lead.CurrentTerm()
		send := func(from, to *node) {
			w := c.net.Join("stranger")
			defer w.(raft.WithClose).Close()
			header := raft.RPCHeader{ProtocolVersion: 3, ID: []byte(from.id), Addr: []byte(from.addr)}
			if err := w.TimeoutNow(to.id, to.addr, &raft.TimeoutNowRequest{RPCHeader: header}, new(raft.TimeoutNowResponse)); err != nil {
				t.Fatal(err)
			}
		}
		send(lead, x)
		send(followers[0], followers[1])
		send(followers[0], lead)
		time.Sleep(10 * time.Second)
		if lead.State() != raft.Leader || lead.CurrentTerm() != term {
			t.Errorf("%v of term %d, want it to lead term %d", lead, lead.CurrentTerm(), term)
		}
		send(lead, followers[0])
		c.wait("the follower to stand", func() bool { return followers[0].CurrentTerm() > term })
	})
}
