package rafttest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

// The log store that counts truncations has the optional methods that the one under it
// has, and counts the ends that are cut off.
func TestCountTruncations(t *testing.T) {
	for _, store := range []raft.LogStore{
		raft.NewInmemStore(),
		raft.NewInmemCommitTrackingStore(),
		&MockMonotonicLogStore{},
		struct {
			raft.CommitTrackingLogStore
			raft.MonotonicLogStore
		}{raft.NewInmemCommitTrackingStore(), &MockMonotonicLogStore{}},
	} {
		n := 0
		counting := countTruncations(store, func() { n++ })
		_, wantTracking := store.(raft.CommitTrackingLogStore)
		_, wantMonotonic := store.(raft.MonotonicLogStore)
		tracking, isTracking := counting.(raft.CommitTrackingLogStore)
		_, isMonotonic := counting.(raft.MonotonicLogStore)
		if isTracking != wantTracking || isMonotonic != wantMonotonic {
			t.Errorf("%T: keeps the commit index %v, is monotonic %v", store, isTracking, isMonotonic)
		}
		if isTracking {
			must(t, tracking.StageCommitIndex(1))
		}
		must(t, counting.StoreLogs(entries(1, 10)))
		for _, tt := range []struct {
			lo, hi uint64
			count  int
		}{{1, 2, 0}, {9, 10, 1}, {20, 30, 1}, {8, 30, 2}, {3, 7, 2}} {
			must(t, counting.DeleteRange(tt.lo, tt.hi))
			if n != tt.count {
				t.Errorf("%T: %d truncations after the deletion of %d to %d, want %d", store, n, tt.lo, tt.hi, tt.count)
			}
		}
	}
}

// twoFSMs returns two FSMs of a simulation that share a journal, and what is found.
func twoFSMs() (a, b *simFSM, found func() string) {
	var properties []string
	j := newJournal(func(v *Violation) { properties = append(properties, v.Property) })
	made := func() *simFSM {
		return newSimFSM(new(textFSM), j, &eventCounts{}).(*simFSM)
	}
	return made(), made(), func() string {
		defer func() { properties = nil }()
		return fmt.Sprint(slices.Compact(properties))
	}
}

func takeSnapshot(t *testing.T, f *simFSM) io.ReadCloser {
	t.Helper()
	var sink stateSink
	s, err := f.Snapshot()
	must(t, err)
	must(t, s.Persist(&sink))
	return io.NopCloser(bytes.NewReader(sink.Bytes()))
}

func TestSimFSM(t *testing.T) {
	letter := func(index uint64, data string) *raft.Log {
		return &raft.Log{Index: index, Term: 1, Data: []byte(data)}
	}
	a, b, found := twoFSMs()
	a.Apply(letter(1, "a"))
	old := takeSnapshot(t, a)
	again := takeSnapshot(t, a)
	a.Apply(letter(3, "b"))
	must(t, b.Restore(takeSnapshot(t, a)))
	if got := b.FSM.(*textFSM).text; got != "ab" || found() != "[]" {
		t.Errorf("restored %q, want ab; found %s", got, found())
	}

	for _, tt := range []struct {
		name string
		do   func()
		want string
	}{
		{"an entry again", func() { b.Apply(letter(3, "b")) }, appliedAgain},
		{"an older entry", func() { b.Apply(letter(2, "x")) }, appliedAgain},
		{"another entry", func() { b.Apply(letter(4, "c")); a.Apply(letter(4, "d")) }, differentEntries},
		{"an entry without one before it", func() { b.Apply(letter(5, "e")); b.Apply(letter(6, "f")); a.Apply(letter(6, "f")) }, entriesMissing},
		{"an older snapshot", func() { must(t, b.Restore(old)) }, appliedAgain},
		{"an entry after a failed restore", func() {
			b.is(func(t *fsmTrouble) { t.restores = 1 })
			if b.Restore(again) == nil {
				t.Error("the restore did not fail")
			}
			b.Apply(letter(7, "g"))
		}, brokenFSMUsed},
	} {
		tt.do()
		if got := found(); got != fmt.Sprintf("[%s]", tt.want) {
			t.Errorf("%s: found %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A simulation's FSM has the optional methods of the user's.
func TestSimFSMExtensions(t *testing.T) {
	for _, tt := range []struct {
		user                 raft.FSM
		batching, configured bool
	}{
		{new(textFSM), false, false},
		{batchingText{new(textFSM)}, true, false},
		{&MockFSMConfigStore{FSM: new(textFSM)}, false, true},
	} {
		fsm := newSimFSM(tt.user, newJournal(nil), &eventCounts{})
		_, batching := fsm.(raft.BatchingFSM)
		_, configured := fsm.(raft.ConfigurationStore)
		if batching != tt.batching || configured != tt.configured {
			t.Errorf("%T: takes batches %v, wants configurations %v", tt.user, batching, configured)
		}
	}
}

// batchingText is a textFSM that takes batches.
type batchingText struct{ *textFSM }

func (f batchingText) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	for i, e := range logs {
		if e.Type == raft.LogCommand {
			responses[i] = f.Apply(e)
		}
	}
	return responses
}

// A service whose FSM takes batches is simulated like any other.
func TestSimulateBatches(t *testing.T) {
	opts := sumOptions(4)
	opts.NewFSM = func() raft.FSM { return batchingText{new(textFSM)} }
	opts.Query, opts.Read = nil, nil
	opts.Pace *= 5
	Simulate(t, opts)
}
