package hashi

import (
	"bytes"
	"io"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

var servers = []raft.Server{{ID: "n1", Address: "a1"}, {ID: "n2", Address: "a2"}}

// batches is a store that remembers how large the batches were that it got.
type batches struct {
	*raft.InmemStore
	most, largest int // entries and bytes of a batch
}

func (b *batches) StoreLogs(logs []*raft.Log) error {
	size := 0
	for _, l := range logs {
		size += len(l.Data)
	}
	b.most, b.largest = max(b.most, len(logs)), max(b.largest, size)
	return b.InmemStore.StoreLogs(logs)
}

// A log begins with the configuration, has the commands in order behind it, and was
// stored in batches.
func TestPastLog(t *testing.T) {
	for _, p := range []past{
		{Servers: servers, Entries: 0, Size: 8},
		{Servers: servers, Entries: 2*batchEntries + 1, Size: 8},
		{Servers: servers, Entries: 200, Size: 64 << 10},
	} {
		store := &batches{InmemStore: raft.NewInmemStore()}
		if err := p.write(store, store, nil); err != nil {
			t.Fatal(err)
		}
		if last, _ := store.LastIndex(); last != uint64(p.Entries+1) {
			t.Fatalf("%d commands: the log ends with %d", p.Entries, last)
		}
		if store.most > batchEntries || store.largest > batchBytes+p.Size {
			t.Errorf("%d commands: a batch of %d entries, and one of %d bytes", p.Entries, store.most, store.largest)
		}
		if term, err := store.GetUint64([]byte("CurrentTerm")); err != nil || term != pastTerm {
			t.Errorf("the term is %d: %v", term, err)
		}
		applied := load.NewMachine()
		var previous []byte
		for i := uint64(1); i <= uint64(p.Entries+1); i++ {
			var e raft.Log
			if err := store.GetLog(i, &e); err != nil {
				t.Fatal(err)
			}
			switch {
			case e.Term != pastTerm || e.AppendedAt.IsZero():
				t.Fatalf("entry %d is of term %d, appended at %v", i, e.Term, e.AppendedAt)
			case i == 1:
				if c := raft.DecodeConfiguration(e.Data); e.Type != raft.LogConfiguration || len(c.Servers) != len(servers) {
					t.Fatalf("entry 1 is a %v of %v", e.Type, c.Servers)
				}
			case e.Type != raft.LogCommand || len(e.Data) != p.Size:
				t.Fatalf("entry %d is a %v of %d bytes", i, e.Type, len(e.Data))
			case bytes.Equal(e.Data, previous):
				t.Fatalf("entry %d is the same as the one before", i)
			default:
				applied.Apply(e.Data)
				previous = e.Data
			}
		}
		if got, want := applied.State(), p.machine().State(); got != want {
			t.Errorf("%d commands: the log leads to %v, want %v", p.Entries, got, want)
		}
	}
}

// A snapshot restores to the state that its commands lead to, a damaged one to another.
func TestPastSnapshot(t *testing.T) {
	snaps, err := raft.NewFileSnapshotStoreWithLogger(t.TempDir(), 1, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	p := past{Servers: servers, Entries: 3, Size: snapshotPiece, Snapshot: true}
	if err := p.write(nil, raft.NewInmemStore(), snaps); err != nil {
		t.Fatal(err)
	}
	list, err := snaps.List()
	if err != nil || len(list) != 1 || list[0].Index != 4 || len(list[0].Configuration.Servers) != len(servers) {
		t.Fatalf("the snapshots are %v: %v", list, err)
	}
	_, rc, err := snaps.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	content, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	want := p.machine().State()
	if got := restored(t, content); got != want {
		t.Errorf("the snapshot restores to %v, want %v", got, want)
	}
	if got := restored(t, content[:len(content)-1]); got == want {
		t.Error("a snapshot that lacks a byte restores to the same state")
	}
	if got := restored(t, content[:10]); got.Count != 1 {
		t.Errorf("a snapshot of a few bytes restores to %v", got)
	}
	content[2*snapshotPiece]++
	if got := restored(t, content); got == want {
		t.Error("a snapshot with another byte restores to the same state")
	}
}

func restored(t *testing.T, content []byte) load.State {
	t.Helper()
	m := load.NewMachine()
	m.Apply([]byte("is forgotten"))
	if err := (fsm{m}).Restore(io.NopCloser(bytes.NewReader(content))); err != nil {
		t.Fatal(err)
	}
	return m.State()
}
