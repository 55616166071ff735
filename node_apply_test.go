package raft_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests the way of a write.

// A write on an idle cluster costs the leader's disk, or a round trip and a follower's
// disk, whichever is slower, not their sum (D1).
func TestNodeLeaderWritesInParallel(t *testing.T) {
	const latency, sync = 3 * time.Millisecond, 10 * time.Millisecond
	bubble(t, options{latency: latency, sync: sync}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		time.Sleep(time.Second)
		start := time.Now()
		lead.apply("x")
		if got, want := time.Since(start), 2*latency+sync; got != want {
			t.Errorf("commit took %v, want %v (serial would be %v)", got, want, 2*latency+2*sync)
		}
	})
}

// Entries that arrive during one write share the next one, on the leader and on the
// followers: group commit, without a timer.
func TestNodeGroupCommit(t *testing.T) {
	const latency, sync = time.Millisecond, 10 * time.Millisecond
	bubble(t, options{latency: latency, sync: sync}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		time.Sleep(time.Second)
		before := map[*node]int64{}
		for _, n := range c.nodes {
			before[n] = n.disk.writes.Load()
		}
		start := time.Now()
		var futures []raft.ApplyFuture
		for i := range 500 {
			futures = append(futures, lead.Apply(fmt.Appendf(nil, "%d", i), 0))
		}
		for i, f := range futures {
			c.must(f)
			if f.Response() != i+1 {
				t.Fatalf("response %v to command %d", f.Response(), i)
			}
		}
		// The first write may hold one entry only, the second what the window lets
		// through; all others are in the third.
		if took, bound := time.Since(start), 2*latency+3*sync; took > bound {
			t.Errorf("took %v, want %v at most", took, bound)
		}
		c.converge()
		for _, n := range append(followers, lead) {
			if writes := n.disk.writes.Load() - before[n]; writes > 3 {
				t.Errorf("%s wrote %d times", n.id, writes)
			}
		}
	})
}

// Clients that propose again as soon as they have an answer come together in one batch,
// although the first of them found the disk free.
func TestNodeClientsShareBatches(t *testing.T) {
	const latency, flush = time.Millisecond / 2, 10 * time.Millisecond
	const clients, rounds = 8, 20
	bubble(t, options{latency: latency, sync: flush}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		time.Sleep(time.Second)
		before := lead.disk.writes.Load()
		start := time.Now()
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for range rounds {
					if err := lead.Apply([]byte("x"), 0).Error(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if writes := lead.disk.writes.Load() - before; writes > rounds+2 {
			t.Errorf("%d writes for %d rounds", writes, rounds)
		}
		if took, bound := time.Since(start), (rounds+2)*(2*latency+flush); took > bound {
			t.Errorf("took %v, want %v at most", took, bound)
		}
	})
}

// Where the others are far away a proposal does not wait for those before it to be
// committed, but for a few flushes of this node's disk.
func TestNodeFarAway(t *testing.T) {
	const latency, flush = 50 * time.Millisecond, 4 * time.Millisecond
	bubble(t, options{latency: latency, sync: flush}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		time.Sleep(time.Second) // until it streams
		var wg sync.WaitGroup
		for range 5 { // which fit into the window
			time.Sleep(flush / 2)
			wg.Go(func() {
				start := time.Now()
				if err := lead.Apply([]byte("x"), 0).Error(); err != nil {
					t.Error(err)
				}
				if took, bound := time.Since(start), 2*latency+8*flush; took > bound {
					t.Errorf("took %v, want %v at most", took, bound)
				}
			})
		}
		wg.Wait()
	})
}

func TestNodeApplyResults(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		f := lead.ApplyLog(raft.Log{Data: []byte("a"), Extensions: []byte("ext"), Type: raft.LogNoop, Index: 77}, 0)
		c.must(f)
		if f.Index() != lead.LastIndex() || f.Response() != 1 {
			t.Errorf("index %d, response %v, want %d and 1", f.Index(), f.Response(), lead.LastIndex())
		}
		if lead.AppliedIndex() < f.Index() {
			t.Errorf("applied index %d when the future was done, want %d", lead.AppliedIndex(), f.Index())
		}
		c.expect("a")
		for _, n := range c.nodes {
			var e raft.Log
			if err := n.disk.GetLog(f.Index(), &e); err != nil {
				t.Fatal(err)
			}
			if string(e.Extensions) != "ext" || e.Type != raft.LogCommand || e.AppendedAt.IsZero() {
				t.Errorf("%s stored %+v", n.id, e)
			}
		}
		for _, n := range followers {
			for what, f := range map[string]raft.Future{
				"Apply": n.Apply([]byte("b"), 0), "Barrier": n.Barrier(0), "VerifyLeader": n.VerifyLeader(),
				"AddVoter": n.AddVoter("x", "x", 0, 0), "RemoveServer": n.RemoveServer("n1", 0, 0),
				"LeadershipTransfer": n.LeadershipTransfer(),
			} {
				if err := outcome(f); err != raft.ErrNotLeader {
					t.Errorf("%s on a follower: %v", what, err)
				}
			}
			if err := n.restoreTo(); err != raft.ErrNotLeader {
				t.Errorf("Restore on a follower: %v", err)
			}
			c.want(n.BootstrapCluster(c.configuration()), raft.ErrCantBootstrap)
		}
		c.want(lead.BootstrapCluster(c.configuration()), raft.ErrCantBootstrap)
	})
}

// A candidate refuses what a follower refuses.
func TestNodeCandidateRefuses(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		n := c.nodes[0]
		c.isolate(n)
		c.wait("a candidate", func() bool { return n.State() == raft.Candidate })
		c.want(n.Apply(nil, 0), raft.ErrNotLeader)
		c.want(n.VerifyLeader(), raft.ErrNotLeader)
		c.want(n.LeadershipTransfer(), raft.ErrNotLeader)
		c.want(n.BootstrapCluster(c.configuration()), raft.ErrCantBootstrap)
	})
}

func TestNodeEntryTooLarge(t *testing.T) {
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		before := lead.LastIndex()
		large := make([]byte, raft.MaxEntrySize)
		f := lead.ApplyLog(raft.Log{Data: large, Extensions: []byte("x")}, 0)
		if err := f.Error(); err != raft.ErrEntryTooLarge || f.Index() != 0 || f.Response() != nil {
			t.Errorf("outcome %v, index %d, response %v", err, f.Index(), f.Response())
		}
		if lead.LastIndex() != before {
			t.Error("the entry was appended")
		}
	})
}

// A barrier is done when everything before it has been applied.
func TestNodeBarrier(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.fsm.applyTime = time.Second
		for i := range 10 {
			lead.Apply(fmt.Appendf(nil, "%d", i), 0)
		}
		c.must(lead.Barrier(0))
		if got := len(lead.fsm.list()); got != 10 {
			t.Errorf("%d commands applied when the barrier was done", got)
		}
	})
}

// When too much waits for the disk, Apply blocks at the edge for as long as the caller
// allows, and then has no effect.
func TestNodeEnqueueTimeout(t *testing.T) {
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.disk.gate.hold()
		large := make([]byte, 8<<20)
		var accepted []raft.ApplyFuture
		var refused raft.ApplyFuture
		for refused == nil {
			start := time.Now()
			f := lead.Apply(large, 100*time.Millisecond)
			switch took := time.Since(start); {
			case took == 0:
				accepted = append(accepted, f)
			case took != 100*time.Millisecond:
				t.Fatalf("Apply blocked for %v", took)
			default:
				refused = f
			}
			if len(accepted) > 100 {
				t.Fatal("there is no bound")
			}
		}
		c.want(refused, raft.ErrEnqueueTimeout)
		lead.disk.gate.release()
		for _, f := range accepted {
			c.must(f)
		}
		lead.apply("room again")
		if got := len(lead.fsm.list()); got != len(accepted)+1 {
			t.Errorf("%d commands were applied, want %d", got, len(accepted)+1)
		}
	})
}

// The outcome of what a deposed leader had accepted is unknown, and its futures say so;
// if it was not committed it is not applied.
func TestNodeLeadershipLost(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old := c.leader()
		old.apply("a")
		c.isolate(old)
		lost := old.Apply([]byte("lost"), 0)
		verify := old.VerifyLeader()
		barrier := old.Barrier(0)
		c.want(lost, raft.ErrLeadershipLost)
		c.want(verify, raft.ErrLeadershipLost)
		c.want(barrier, raft.ErrLeadershipLost)
		c.leaderOf(c.others(old)...).apply("b")
		c.net.Heal()
		c.expect("a", "b")
	})
}

// Success is reported for an entry only if that very entry was committed: not if
// another one took its index after leadership was lost and regained (S18).
func TestNodeSuccessIsTiedToTheEntry(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		old := c.leader()
		c.isolate(old)
		lost := old.Apply([]byte("lost"), 0)
		lead := c.leaderOf(c.others(old)...)
		lead.apply("b")
		c.net.Heal()
		c.converge()
		c.must(lead.LeadershipTransferToServer(old.id, old.addr))
		c.leaderOf(old).apply("c")
		c.want(lost, raft.ErrLeadershipLost)
		if lost.Response() != nil {
			t.Errorf("response %v to a lost entry", lost.Response())
		}
		c.expect("b", "c")
	})
}

// An FSM that is slow does not hold up elections, heartbeats or commits.
func TestNodeSlowFSM(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		term := lead.CurrentTerm()
		for _, n := range c.nodes {
			n.fsm.apply.hold()
		}
		var futures []raft.ApplyFuture
		for range 2000 {
			futures = append(futures, lead.Apply([]byte("x"), 0))
		}
		time.Sleep(10 * time.Second)
		for _, n := range append(followers, lead) {
			if n.CommitIndex() != lead.LastIndex() || n.CurrentTerm() != term {
				t.Errorf("%s: commit %d of %d, term %d, want %d", n.id, n.CommitIndex(), lead.LastIndex(), n.CurrentTerm(), term)
			}
			n.fsm.apply.release()
		}
		for _, f := range futures {
			c.must(f)
		}
		c.converge()
	})
}

// A BatchingFSM gets commands and configurations, up to MaxAppendEntries at once.
func TestNodeBatchingFSM(t *testing.T) {
	var tooLarge atomic.Bool
	prepare := func(n *node) {
		n.user = func(j *journal) raft.FSM { return checkedBatch{batchJournal{j}, &tooLarge} }
	}
	config := func(conf *raft.Config) { conf.MaxAppendEntries = 10 }
	bubble(t, options{prepare: prepare, config: config}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		before := lead.fsm.batches.Load()
		lead.fsm.apply.hold()
		var futures []raft.ApplyFuture
		for range 100 {
			futures = append(futures, lead.Apply([]byte("x"), 0))
		}
		time.Sleep(time.Second)
		lead.fsm.apply.release()
		for i, f := range futures {
			c.must(f)
			if f.Response() != i+1 {
				t.Fatalf("response %v to command %d", f.Response(), i)
			}
		}
		if n := lead.fsm.batches.Load() - before; n < 10 || n > 12 {
			t.Errorf("100 commands took %d batches, want about 10", n)
		}
		c.converge()
		if tooLarge.Load() {
			t.Error("a batch was larger than MaxAppendEntries")
		}
	})
}

type checkedBatch struct {
	batchJournal
	tooLarge *atomic.Bool
}

func (f checkedBatch) ApplyBatch(entries []*raft.Log) []any {
	if len(entries) > 10 || len(entries) == 0 {
		f.tooLarge.Store(true)
	}
	return f.batchJournal.ApplyBatch(entries)
}

// An ApplyBatch that returns too few results costs their futures, not the process (D4).
func TestNodeShortBatch(t *testing.T) {
	prepare := func(n *node) { n.user = func(j *journal) raft.FSM { return shortBatch{batchJournal{j}} } }
	bubble(t, options{prepare: prepare}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		if err := outcome(lead.Apply([]byte("short"), 0)); err == nil || errors.Is(err, errPending) {
			t.Errorf("outcome %v", err)
		}
		lead.apply("full")
		c.expect("short", "full")
	})
}

type shortBatch struct{ batchJournal }

func (f shortBatch) ApplyBatch(entries []*raft.Log) []any {
	short := slices.ContainsFunc(entries, func(e *raft.Log) bool { return string(e.Data) == "short" })
	responses := f.batchJournal.ApplyBatch(entries)
	if short {
		return responses[1:]
	}
	return responses
}

// A ConfigurationStore is told of every committed configuration, in order with the
// commands.
func TestNodeConfigurationStore(t *testing.T) {
	stores := map[raft.ServerID]*configJournal{}
	prepare := func(n *node) {
		n.user = func(j *journal) raft.FSM {
			stores[n.id] = &configJournal{journal: j}
			return stores[n.id]
		}
	}
	bubble(t, options{prepare: prepare}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.apply("a")
		f := lead.AddNonvoter("x", "x", 0, 0)
		c.must(f)
		want := []uint64{1, f.Index()}
		c.converge()
		for id, s := range stores {
			s.mu.Lock()
			if !slices.Equal(s.configs, want) {
				t.Errorf("%s was told of %v, want %v", id, s.configs, want)
			}
			s.mu.Unlock()
		}
	})
}
