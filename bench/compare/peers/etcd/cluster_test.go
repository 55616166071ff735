package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
	"go.etcd.io/raft/v3/raftpb"
)

func TestWrite(t *testing.T) {
	for _, tt := range []struct{ nodes, processes int }{{1, 1}, {3, 1}, {3, 3}} {
		t.Run(fmt.Sprintf("nodes=%d/processes=%d", tt.nodes, tt.processes), func(t *testing.T) {
			m, err := write(load.Flags{
				Store: "wal", Nodes: tt.nodes, Processes: tt.processes,
				Clients: 16, Size: 100, Time: 200 * time.Millisecond, Dir: t.TempDir(),
			})
			if err != nil {
				t.Fatal(err)
			}
			// A flush cannot have more commands than there are clients.
			if m["rate"] <= 0 || m["perflush"] <= 0 || m["flushes"] < float64(tt.nodes)/16 {
				t.Errorf("metrics are %v", m)
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for name, f := range map[string]load.Flags{
		"store":     {Store: "bolt", Nodes: 3, Processes: 1},
		"entries":   {Store: "wal", Nodes: 3, Processes: 1, Entries: 1},
		"processes": {Store: "wal", Nodes: 3, Processes: 2},
	} {
		if _, err := write(f); !errors.Is(err, load.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a node has applied is what its WAL has; memory keeps only the end of it.
func TestLog(t *testing.T) {
	const entries, size = 2*trailing + 1000, 100
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprintf("members=%d", members), func(t *testing.T) {
			dir := t.TempDir()
			c, err := newCluster(dir, members, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(load.Fill(c, entries, size), c.stop()); err != nil {
				t.Fatal(err)
			}
			for _, n := range c.nodes {
				if got, want := replay(t, dir, n.id), n.machine.State(); got != want || got.Count != entries {
					t.Errorf("node %d: the WAL has %v, applied are %v of %d", n.id, got, want, entries)
				}
			}
			// A leader also keeps what a follower lacked when it applied the last entry.
			n := c.nodes[members-1]
			if first, err := n.disk.memory.FirstIndex(); err != nil || first <= trailing {
				t.Errorf("node %d: memory begins at %d: %v", n.id, first, err)
			}
		})
	}
}

// replay returns the state of a machine that applies all that the WAL of a node has.
func replay(t *testing.T, dir string, id uint64) load.State {
	t.Helper()
	state, entries := readWAL(t, filepath.Join(dir, fmt.Sprintf("node-%d", id)))
	if state.Commit == 0 || state.Commit > last(entries) {
		t.Errorf("node %d: commit index %d, last entry %d", id, state.Commit, last(entries))
	}
	m := load.NewMachine()
	for _, e := range entries {
		if len(e.Data) > 0 {
			m.Apply(e.Data[idSize:])
		}
	}
	return m.State()
}

// A run ends if its leader is deposed: whoever waits, and whoever comes later.
func TestDeposed(t *testing.T) {
	c, err := newCluster(t.TempDir(), 3, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	if err := c.Propose([]byte("one")); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].inbox.put(raftpb.Message{Type: raftpb.MsgHeartbeat, From: 2, To: 1, Term: 100})
	for err == nil {
		err = c.Propose([]byte("two"))
	}
	for _, err := range []error{err, c.Propose([]byte("three"))} {
		if !errors.Is(err, errDeposed) {
			t.Errorf("a proposal ended with %v", err)
		}
	}
}
