package raft_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests reads by promises (Config.LeaseReads, R20) on whole nodes.

func leases(c *raft.Config) { c.LeaseReads = true }

// A read takes no time, and sees what was written; VerifyLeader asks the others all the same.
func TestNodeLeaseRead(t *testing.T) {
	const latency = 3 * time.Millisecond
	bubble(t, options{latency: latency, config: leases}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		time.Sleep(time.Second)
		for range 100 {
			lead.apply("a")
			start := time.Now()
			index, err := lead.ReadIndex(t.Context())
			if took := time.Since(start); err != nil || index != lead.LastIndex() || took != 0 {
				t.Fatalf("read at %d of %d, error %v, in %v", index, lead.LastIndex(), err, took)
			}
		}
		start := time.Now()
		c.must(lead.VerifyLeader())
		if took := time.Since(start); took < 2*latency {
			t.Errorf("VerifyLeader took %v, less than a round trip", took)
		}
		for _, f := range followers {
			if _, err := f.ReadIndex(t.Context()); err != raft.ErrNotLeader {
				t.Errorf("ReadIndex on a follower: %v", err)
			}
		}
	})
}

// Leaders without the promises of a majority confirm reads with a round.
func TestNodeLeaseNeedsAMajority(t *testing.T) {
	const latency = 3 * time.Millisecond
	for _, tt := range []struct {
		name     string
		promises int // servers with LeaseReads, the leader among them
		want     bool
	}{
		{"all", 5, true},
		{"a majority", 3, true},
		{"fewer", 2, false},
		{"the leader alone", 1, false},
		{"none", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, options{size: 5, latency: latency}, func(t *testing.T, c *cluster) {
				lead, followers := c.split()
				for _, n := range append([]*node{lead}, followers...)[:tt.promises] {
					n.stop()
					n.conf.LeaseReads = true
					n.start()
				}
				for {
					time.Sleep(10 * time.Second)
					now := c.leader()
					if now == lead {
						break
					}
					c.must(now.LeadershipTransferToServer(lead.id, lead.addr))
				}
				start := time.Now()
				if _, err := lead.ReadIndex(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start) == 0; got != tt.want {
					t.Errorf("read by a lease: %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// A leader that is cut off reads by its lease as long as nobody else can lead, and never
// after.
func TestNodeLeaseEnds(t *testing.T) {
	bubble(t, options{latency: time.Millisecond, config: leases}, func(t *testing.T, c *cluster) {
		old, others := c.split()
		time.Sleep(time.Second)
		c.isolate(old)
		if _, err := old.ReadIndex(t.Context()); err != nil {
			t.Errorf("with its lease: %v", err)
		}
		for c.claimant(others...) == nil {
			time.Sleep(time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := old.ReadIndex(ctx); err == nil {
			t.Error("a read by a leader that another one has followed")
		}
	})
}

// A read by a lease waits for the FSM like any other, and its caller may stop waiting.
func TestNodeLeaseReadWaitsForFSM(t *testing.T) {
	bubble(t, options{config: leases}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		time.Sleep(time.Second)
		before := lead.CommitIndex()
		lead.fsm.apply.hold()
		f := lead.Apply([]byte("a"), 0)
		c.wait("a commit", func() bool { return lead.CommitIndex() > before })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := lead.ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read before its index was applied: %v", err)
		}
		lead.fsm.apply.release()
		if _, err := lead.ReadIndex(t.Context()); err != nil {
			t.Error(err)
		}
		c.must(f)
	})
}

// Leadership moves as it does without leases: a transfer releases the voters, and after a
// crash the others elect a leader who reads by a lease in turn.
func TestNodeLeaseMovesOn(t *testing.T) {
	bubble(t, options{latency: time.Millisecond, config: leases}, func(t *testing.T, c *cluster) {
		byLease := func(n *node) {
			t.Helper()
			c.wait("a lease", func() bool {
				start := time.Now()
				_, err := n.ReadIndex(t.Context())
				return err == nil && time.Since(start) == 0
			})
		}
		old := c.leader()
		byLease(old)
		start := time.Now()
		c.must(old.LeadershipTransfer())
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("the transfer took %v", took)
		}
		next := c.leader()
		if next == old {
			t.Fatal("it leads still")
		}
		byLease(next)
		next.stop()
		byLease(c.leader())
		next.start()
		c.converge()
	})
}
