package main

import (
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
)

// What a response promises is in the WAL before it is sent, appends that come together
// share a flush, and a commit index alone needs none.
func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "node")
	var saved []raftpb.Entry // in the WAL when the last response came
	d, err := createDisk(dir, beginning(1), func(...raftpb.Message) { _, saved = readWAL(t, dir) })
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for i, step := range []struct {
		appends []raftpb.Message
		last    uint64 // entry in the WAL and in memory then
		flushes uint64 // until then
	}{
		{[]raftpb.Message{appendOf(2, 2)}, 2, 1},
		{[]raftpb.Message{appendOf(2, 3, 4), appendOf(2, 5)}, 5, 2},
		{[]raftpb.Message{{Term: 2, Vote: 1, Commit: 2}}, 5, 2},
		{[]raftpb.Message{appendOf(3, 3)}, 3, 3}, // instead of all that follows 2
	} {
		if err := d.handle(step.appends); err != nil {
			t.Fatal(err)
		}
		inMemory, err := d.memory.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		if flushes := d.flushes.Load(); last(saved) != step.last || inMemory != step.last || flushes != step.flushes {
			t.Errorf("step %d: up to %d saved, %d in memory, %d flushes; want %d and %d flushes",
				i, last(saved), inMemory, flushes, step.last, step.flushes)
		}
	}
}

// appendOf returns what raft asks to have saved: entries of a term.
func appendOf(term uint64, indexes ...uint64) raftpb.Message {
	m := raftpb.Message{Term: term, Vote: 1, Commit: 1}
	for _, index := range indexes {
		m.Entries = append(m.Entries, raftpb.Entry{Term: term, Index: index, Data: make([]byte, 100)})
	}
	return m
}

// readWAL returns the hard state and the entries that the WAL in dir has.
func readWAL(t *testing.T, dir string) (raftpb.HardState, []raftpb.Entry) {
	t.Helper()
	at := beginning(1).Metadata
	w, err := wal.OpenForRead(nil, dir, walpb.Snapshot{Index: at.Index, Term: at.Term})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, state, entries, err := w.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return state, entries
}
