package raft_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests the end of a node: it is quick, and everything completes (L14, L15, R15).

// allCalls makes every call that returns a future or blocks, and returns their outcomes.
func (n *node) allCalls() map[string]<-chan error {
	outcomes := map[string]<-chan error{}
	blocking := func(name string, call func() error) {
		done := make(chan error, 1)
		outcomes[name] = done
		go func() { done <- call() }()
	}
	call := func(name string, f func() raft.Future) {
		blocking(name, func() error { return f().Error() })
	}
	call("Apply", func() raft.Future { return n.Apply([]byte("x"), 0) })
	call("ApplyLog", func() raft.Future { return n.ApplyLog(raft.Log{Data: []byte("x")}, time.Hour) })
	call("Barrier", func() raft.Future { return n.Barrier(0) })
	call("VerifyLeader", func() raft.Future { return n.VerifyLeader() })
	call("AddVoter", func() raft.Future { return n.AddVoter("v", "v", 0, 0) })
	call("AddNonvoter", func() raft.Future { return n.AddNonvoter("w", "w", 0, time.Hour) })
	call("DemoteVoter", func() raft.Future { return n.DemoteVoter(n.id, 0, 0) })
	call("RemoveServer", func() raft.Future { return n.RemoveServer("v", 0, 0) })
	call("LeadershipTransfer", func() raft.Future { return n.LeadershipTransfer() })
	call("Snapshot", func() raft.Future { return n.Snapshot() })
	call("BootstrapCluster", func() raft.Future { return n.BootstrapCluster(n.c.configuration()) })
	blocking("ReadIndex", func() error { _, err := n.ReadIndex(context.Background()); return err })
	blocking("WaitApplied", func() error { return n.WaitApplied(context.Background(), 1<<60) })
	blocking("Restore", func() error {
		state := encodeJournal()
		return n.Restore(&raft.SnapshotMeta{Version: 1, Size: int64(len(state))}, bytes.NewReader(state), 0)
	})
	return outcomes
}

// Whatever hangs, Shutdown returns within two seconds, and every call that is under way
// completes by then.
func TestNodeShutdown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hold  func(c *cluster, n *node)
		names string // what Shutdown's error names
	}{
		{"nothing", func(*cluster, *node) {}, ""},
		{"stores", func(_ *cluster, n *node) { n.disk.gate.hold() }, "a write to the stores"},
		{"FSM", func(_ *cluster, n *node) { n.fsm.apply.hold() }, "a call of the FSM"},
		{"persist", func(_ *cluster, n *node) { n.fsm.persist.hold() }, "a snapshot being stored"},
		{"peers", func(c *cluster, n *node) { c.isolate(n) }, ""},
		{"peers' disks", func(c *cluster, n *node) {
			for _, o := range c.others(n) {
				o.disk.gate.hold()
			}
		}, ""},
	} {
		for _, role := range []string{"leader", "follower"} {
			t.Run(tt.name+"/"+role, func(t *testing.T) {
				bubble(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
					lead, followers := c.split()
					lead.fill(10)
					n := lead
					if role == "follower" {
						n = followers[0]
					}
					tt.hold(c, n)
					lead.Apply([]byte("x"), 0)
					n.Snapshot()
					time.Sleep(10 * time.Millisecond)
					outcomes := n.allCalls()
					time.Sleep(10 * time.Millisecond)

					start := time.Now()
					err := n.Shutdown().Error()
					if took := time.Since(start); took > 2*time.Second {
						t.Errorf("Shutdown took %v", took)
					}
					if tt.names == "" && err != nil || tt.names != "" && (err == nil || !strings.Contains(err.Error(), tt.names)) {
						t.Errorf("Shutdown: %v, want %q", err, tt.names)
					}
					if again := n.Shutdown().Error(); (again == nil) != (err == nil) {
						t.Errorf("the second Shutdown: %v", again)
					}
					n.up = false
					synctest.Wait()
					for name, outcome := range outcomes {
						select {
						case <-outcome:
						default:
							t.Errorf("%s is still under way", name)
						}
					}
					if n.State() != raft.Shutdown || n.Leader() != "" {
						t.Errorf("%v, leader %q", n, n.Leader())
					}
				})
			})
		}
	}
}

// Calls on a node that has ended fail, and what can be read still can be.
func TestNodeAfterShutdown(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		n := c.leader()
		n.apply("a")
		last := n.LastIndex()
		n.stop()
		for name, outcome := range n.allCalls() {
			select {
			case err := <-outcome:
				if !errors.Is(err, raft.ErrRaftShutdown) {
					t.Errorf("%s: %v, want %v", name, err, raft.ErrRaftShutdown)
				}
			case <-time.After(time.Minute):
				t.Errorf("%s does not return", name)
			}
		}
		if err := n.ReloadConfig(n.ReloadableConfig()); err != nil {
			t.Errorf("ReloadConfig: %v", err)
		}
		if n.Stats()["state"] != "Shutdown" || n.LastIndex() != last || n.GetConfiguration().Index() != 1 || n.AppliedIndex() != last {
			t.Errorf("%v, last %d, configuration %d", n.Stats(), n.LastIndex(), n.GetConfiguration().Index())
		}
		if err := n.WaitApplied(t.Context(), last); err != nil {
			t.Errorf("WaitApplied of what is applied: %v", err)
		}
	})
}

// Of thousands of futures under way at a shutdown every one completes, with success only
// if the command was applied (L14).
func TestNodeShutdownUnderLoad(t *testing.T) {
	bubble(t, options{latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
		for range 5 {
			lead := c.leader()
			lead.fsm.applyTime = 100 * time.Microsecond
			applied := len(lead.fsm.list())
			var futures []raft.Future
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for range 200 {
					for range 10 {
						futures = append(futures, lead.Apply([]byte("x"), 0))
					}
					time.Sleep(100 * time.Microsecond)
				}
			}()
			time.Sleep(11 * time.Millisecond)
			lead.stop()
			<-stop
			succeeded := 0
			for _, f := range futures {
				switch err := outcome(f); err {
				case nil:
					succeeded++
				case raft.ErrLeadershipLost, raft.ErrRaftShutdown, raft.ErrNotLeader:
				default:
					t.Fatalf("outcome %v", err)
				}
			}
			if done := len(lead.fsm.list()) - applied; succeeded > done || succeeded == 0 {
				t.Errorf("%d futures succeeded, %d commands were applied", succeeded, done)
			}
			lead.start()
			c.converge()
		}
	})
}

// Several callers may wait for the same end.
func TestNodeShutdownAwaitedTwice(t *testing.T) {
	bubble(t, options{size: 1, sync: 100 * time.Millisecond}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.Apply([]byte("a"), 0)
		c.wait("a write", func() bool { return lead.Stats()["write_age"] != "0" })
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				if err := lead.Shutdown().Error(); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	})
}
