package raft_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests a user's Restore.

// restoreTo calls Restore with a journal that has these commands.
func (n *node) restoreTo(commands ...string) error {
	state := encodeJournal(commands...)
	return n.Restore(&raft.SnapshotMeta{Version: 1, Index: 3, Size: int64(len(state))}, bytes.NewReader(state), 0)
}

func TestNodeRestore(t *testing.T) {
	for _, index := range []uint64{0, 3, 1000} {
		bubble(t, options{config: trailing(100), latency: time.Millisecond, sync: time.Millisecond}, func(t *testing.T, c *cluster) {
			lead, followers := c.split()
			lead.apply("a", "b")
			before := lead.LastIndex()
			state := encodeJournal("x", "y")
			meta := &raft.SnapshotMeta{Version: 1, Index: index, Term: 99, Size: int64(len(state))}
			if err := lead.Restore(meta, bytes.NewReader(state), 0); err != nil {
				t.Fatal(err)
			}
			// A majority has it when Restore returns, and it lies beyond everything before.
			if last, want := lead.LastIndex(), max(before, index)+2; last != want {
				t.Errorf("the no-op is at %d, want %d", last, want)
			}
			if got := lead.fsm.list(); !slices.Equal(got, []string{"x", "y"}) {
				t.Errorf("the leader has %q", got)
			}
			lead.stop()
			next := c.leaderOf(followers...)
			next.apply("z")
			lead.start()
			c.expect("x", "y", "z")
			for _, n := range c.nodes {
				n.restart()
			}
			c.leader()
			c.expect("x", "y", "z")
		})
	}
}

// What is not committed when Restore begins fails; what comes meanwhile waits, and is
// applied to the restored state.
func TestNodeRestoreAmongWrites(t *testing.T) {
	const sync = 10 * time.Millisecond
	bubble(t, options{config: rarely, sync: sync}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		c.heartbeatsOnly()
		var before []raft.ApplyFuture
		for range 8 {
			time.Sleep(10 * sync)
			before = append(before, lead.Apply([]byte("before"), 0))
		}
		time.Sleep(sync / 2)
		waiting := lead.Apply([]byte("waiting"), 0) // in the queue: the disk is busy
		reader, writer := io.Pipe()
		state := encodeJournal("x")
		restored := make(chan error, 1)
		go func() {
			restored <- lead.Restore(&raft.SnapshotMeta{Version: 1, Size: int64(len(state))}, reader, 0)
		}()
		for _, f := range before {
			c.want(f, raft.ErrAbortedByRestore)
		}
		after := lead.Apply([]byte("after"), 0)
		if err := lead.restoreTo("another"); err == nil || !strings.Contains(err.Error(), "another one is being restored") {
			t.Errorf("a second Restore: %v", err)
		}
		time.Sleep(10 * time.Second)
		c.net.Intercept(nil)
		writer.Write(state)
		writer.Close()
		if err := <-restored; err != nil {
			t.Fatal(err)
		}
		c.must(waiting)
		c.must(after)
		c.expect("x", "waiting", "after")
		for _, f := range followers {
			if f.fsm.restored.Load() != 1 {
				t.Errorf("%s restored %d times", f.id, f.fsm.restored.Load())
			}
		}
	})
}

// A Restore that fails before it has begun to change anything changes nothing.
func TestNodeRestoreRefused(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		lead.apply("a")
		for _, tt := range []struct {
			meta raft.SnapshotMeta
			data io.Reader
			want string
		}{
			{raft.SnapshotMeta{Version: 2}, strings.NewReader(""), "unsupported snapshot version 2"},
			{raft.SnapshotMeta{Version: 1, Size: 3}, strings.NewReader("ab"), "size didn't match (2 != 3)"},
			{raft.SnapshotMeta{Version: 1, Size: 3}, failingReader{}, "failed to write snapshot: no more"},
		} {
			if err := lead.Restore(&tt.meta, tt.data, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		}
		for _, f := range followers {
			f.disk.gate.hold()
		}
		change := lead.AddNonvoter("x", "x", 0, 0)
		c.wait("the change to be in force", func() bool { return lead.suffrage("x") != "" })
		if err := lead.restoreTo("x"); err == nil || !strings.Contains(err.Error(), "wait until the configuration entry at") {
			t.Errorf("Restore during a change: %v", err)
		}
		for _, f := range followers {
			f.disk.gate.release()
		}
		c.must(change)
		lead.apply("b")
		c.expect("a", "b")
	})
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("no more") }

// A Restore during which the leader is deposed fails; the state of the next leader
// prevails, also on this server.
func TestNodeRestoreDeposed(t *testing.T) {
	bubble(t, options{config: rarely}, func(t *testing.T, c *cluster) {
		old := c.leader()
		old.apply("a")
		c.isolate(old)
		if err := old.restoreTo("x"); !errors.Is(err, raft.ErrLeadershipLost) {
			t.Errorf("Restore without a majority: %v", err)
		}
		lead := c.leaderOf(c.others(old)...)
		lead.fill(10)
		want := lead.fsm.list()
		c.must(lead.Snapshot())
		c.net.Heal()
		c.expect(want...)
	})
}

// A Restore that the FSM refuses fails, and the leader steps down: its FSM is of no use.
func TestNodeRestoreFSMFails(t *testing.T) {
	bubble(t, options{config: rarely}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.apply("a")
		lead.fsm.failing.Store(true)
		if err := lead.restoreTo("x"); !errors.Is(err, errRestore) {
			t.Errorf("Restore: %v, want the FSM's error", err)
		}
		c.wait("the leader to step down", func() bool { return lead.State() != raft.Leader })
	})
}

// A node shut down during a Restore answers it.
func TestNodeRestoreShutdown(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		reader, writer := io.Pipe()
		restored := make(chan error, 1)
		go func() { restored <- lead.Restore(&raft.SnapshotMeta{Version: 1, Size: 5}, reader, 0) }()
		time.Sleep(time.Second)
		lead.Shutdown()
		if err := <-restored; err == nil {
			t.Error("Restore succeeded")
		}
		writer.Close()
	})
}
