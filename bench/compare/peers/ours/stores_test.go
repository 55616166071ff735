package main

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/hashi"
)

// Every call that writes is counted, once.
func TestCounting(t *testing.T) {
	for name, tt := range map[string]struct {
		open                     hashi.OpenStore
		appending, deleting, set uint64
	}{
		"bolt":     {openBolt, 2, 2, 2},
		"wal":      {openWAL, 1, 1, 1},
		"raft-wal": {hashi.OpenRaftWAL, 1, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var flushes hashi.Flushes
			s := open(t, tt.open, &flushes)
			for _, call := range []struct {
				name string
				do   func() error
				cost uint64
			}{
				{"StoreLog", func() error { return s.StoreLog(entry(1)) }, tt.appending},
				{"StoreLogs", func() error { return s.StoreLogs([]*raft.Log{entry(2), entry(3)}) }, tt.appending},
				{"DeleteRange", func() error { return s.DeleteRange(3, 3) }, tt.deleting},
				{"Set", func() error { return s.Set([]byte("a"), []byte("b")) }, tt.set},
				{"SetUint64", func() error { return s.SetUint64([]byte("c"), 4) }, tt.set},
				{"SetAll", func() error { return setAll(s, raft.StableValue{Key: []byte("d"), Number: 5}) }, tt.set},
			} {
				before := flushes.Count()
				err := call.do()
				if got := flushes.Count() - before; err != nil || got != call.cost {
					t.Errorf("%s counts %d flushes, want %d; error %v", call.name, got, call.cost, err)
				}
			}
		})
	}
}

// The library reads ranges from the stores of this repository although they are wrapped.
func TestRanges(t *testing.T) {
	for name, opener := range map[string]hashi.OpenStore{"bolt": openBolt, "wal": openWAL} {
		s := open(t, opener, new(hashi.Flushes))
		if ranges, ok := s.(raft.RangeLogStore); !ok || ranges.ReadsLogsOf() != s {
			t.Errorf("%s: not read in ranges", name)
		}
	}
}

func open(t *testing.T, opener hashi.OpenStore, flushes *hashi.Flushes) hashi.Store {
	t.Helper()
	s, err := opener(t.TempDir(), flushes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func entry(index uint64) *raft.Log { return &raft.Log{Index: index, Term: 1, Data: []byte("x")} }

// setAll sets a value as the library does.
func setAll(s hashi.Store, v raft.StableValue) error {
	if b, ok := s.(raft.BatchStableStore); ok {
		return b.SetAll([]raft.StableValue{v})
	}
	return s.SetUint64(v.Key, v.Number)
}
