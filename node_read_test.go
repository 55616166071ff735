package raft_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file tests linearizable reads: VerifyLeader, ReadIndex, WaitApplied.

// A read on an idle leader costs one round trip, and no write.
func TestNodeReadIndex(t *testing.T) {
	const latency = 3 * time.Millisecond
	bubble(t, options{latency: latency, sync: 10 * time.Millisecond}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		lead.apply("a")
		time.Sleep(time.Second)
		want, before, start := lead.CommitIndex(), lead.LastIndex(), time.Now()
		index, err := lead.ReadIndex(t.Context())
		if err != nil || index != want {
			t.Errorf("read index %d, error %v, want %d", index, err, want)
		}
		// A round that is under way when the read arrives does not count, and is waited for.
		if took := time.Since(start); took < 2*latency || took > 4*latency {
			t.Errorf("took %v, want one or two round trips of %v", took, 2*latency)
		}
		if lead.LastIndex() != before {
			t.Error("the read wrote an entry")
		}
		for _, n := range followers {
			if err := n.WaitApplied(t.Context(), index); err != nil {
				t.Error(err)
			}
			if got := n.fsm.list(); len(got) != 1 {
				t.Errorf("%s has %q at the read index", n.id, got)
			}
			if _, err := n.ReadIndex(t.Context()); err != raft.ErrNotLeader {
				t.Errorf("ReadIndex on a follower: %v", err)
			}
		}
	})
}

// A read waits for the FSM to have applied what was committed when it arrived.
func TestNodeReadWaitsForFSM(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		before := lead.CommitIndex()
		lead.fsm.apply.hold()
		f := lead.Apply([]byte("a"), 0)
		c.wait("a commit", func() bool { return lead.CommitIndex() > before })
		read := make(chan error, 1)
		go func() {
			_, err := lead.ReadIndex(context.Background())
			read <- err
		}()
		verify := lead.VerifyLeader()
		time.Sleep(10 * time.Second)
		select {
		case err := <-read:
			t.Fatalf("a read was confirmed before its index was applied: %v", err)
		default:
		}
		lead.fsm.apply.release()
		if err := <-read; err != nil {
			t.Error(err)
		}
		c.must(verify)
		c.must(f)
	})
}

// A leader without a majority of voters confirms nothing, whatever non-voters say (S4).
func TestNodeNonvotersConfirmNothing(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, voters := c.split()
		for range 3 {
			n := c.add()
			n.start()
			c.must(lead.AddNonvoter(n.id, n.addr, 0, 0))
		}
		c.converge()
		c.cut(lead, voters[0])
		c.cut(lead, voters[1])
		c.want(lead.VerifyLeader(), raft.ErrLeadershipLost)
	})
}

// An answer to a heartbeat that was sent before the read arrived does not confirm it
// (S5): the leader's answers are late, and it is deposed meanwhile.
func TestNodeOldAnswersConfirmNothing(t *testing.T) {
	const latency = 30 * time.Millisecond // a heartbeat is answered before the next
	bubble(t, options{latency: latency}, func(t *testing.T, c *cluster) {
		old, followers := c.split()
		beats := make(chan struct{})
		c.net.Intercept(func(m rafttest.Message) error {
			if r, ok := m.Request.(*raft.AppendEntriesRequest); ok && r.PrevLogEntry == 0 {
				select {
				case beats <- struct{}{}:
				default:
				}
			}
			return nil
		})
		time.Sleep(time.Second)
		<-beats
		time.Sleep(latency + latency/2)
		// A heartbeat has arrived, its answers are under way. Nothing that is sent from now
		// on arrives.
		for _, f := range followers {
			c.net.Cut(old.addr, f.addr)
		}
		c.want(old.VerifyLeader(), raft.ErrLeadershipLost)
	})
}

// A leader that was paused, and replaced meanwhile, confirms nothing when it goes on: its
// clock says that its lease holds.
func TestNodePausedLeader(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old, followers := c.split()
		// Nobody sees it, and it sees nobody; its lease has hardly begun to run out when
		// the others are told to elect.
		synctest.Wait()
		c.isolate(old)
		verify := old.VerifyLeader()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := old.ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ReadIndex: %v, want the context's error", err)
		}
		lead := c.leaderOf(followers...)
		lead.apply("a")
		c.net.Heal()
		c.want(verify, raft.ErrLeadershipLost)
		if _, err := lead.ReadIndex(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A new leader serves no read before an entry of its own term is committed and applied:
// it does not know yet what was committed before (S6).
func TestNodeNewLeaderReads(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old, followers := c.split()
		old.apply("a")
		c.heartbeatsOnly()
		old.stop()
		lead := c.claimant(followers...)
		commit := lead.CommitIndex()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := lead.ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read before the term's first entry: %v", err)
		}
		if lead.State() != raft.Leader || lead.CommitIndex() != commit {
			t.Fatalf("%v, commit %d, want a leader with commit %d", lead, lead.CommitIndex(), commit)
		}
		c.net.Intercept(nil)
		index, err := lead.ReadIndex(t.Context())
		if err != nil || index <= commit {
			t.Errorf("read index %d, error %v, want one of the new term, above %d", index, err, commit)
		}
	})
}

// Reads that wait share a round of heartbeats.
func TestNodeReadsShareRounds(t *testing.T) {
	const latency = 3 * time.Millisecond
	bubble(t, options{latency: latency}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		time.Sleep(time.Second)
		start := time.Now()
		var futures []raft.Future
		for range 1000 {
			futures = append(futures, lead.VerifyLeader())
		}
		for _, f := range futures {
			c.must(f)
		}
		if took := time.Since(start); took > 4*latency {
			t.Errorf("1000 reads took %v, want two rounds at most", took)
		}
	})
}

// A single voter confirms itself, with heartbeats to nobody.
func TestNodeSingleRead(t *testing.T) {
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.apply("a")
		if index, err := lead.ReadIndex(t.Context()); err != nil || index != lead.CommitIndex() {
			t.Errorf("read index %d, error %v, want %d", index, err, lead.CommitIndex())
		}
	})
}

func TestNodeWaitApplied(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		n := followers[0]
		if err := n.WaitApplied(t.Context(), 1); err != nil {
			t.Errorf("what is applied already: %v", err)
		}
		next := lead.LastIndex() + 1
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.WaitApplied(ctx, next); err != context.DeadlineExceeded {
			t.Errorf("outcome %v, want the context's error", err)
		}
		time.AfterFunc(time.Second, func() { lead.Apply([]byte("a"), 0) })
		if err := n.WaitApplied(t.Context(), next); err != nil || len(n.fsm.list()) != 1 {
			t.Errorf("outcome %v with %q", err, n.fsm.list())
		}
		time.AfterFunc(time.Second, func() { n.Shutdown() })
		if err := n.WaitApplied(t.Context(), next+1); err != raft.ErrRaftShutdown {
			t.Errorf("outcome %v, want %v", err, raft.ErrRaftShutdown)
		}
	})
}
