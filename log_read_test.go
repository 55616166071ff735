package raft

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// rangeStores returns the same entries in a store that reads ranges, in one that does
// not, and in caches above them.
func rangeStores(t *testing.T, entries []*Log) map[string]LogStore {
	t.Helper()
	disk := newSimDisk()
	inmem := NewInmemStore()
	plain := struct{ LogStore }{inmem}
	stores := map[string]LogStore{"ranges": disk, "in memory": inmem, "one by one": plain}
	for name, store := range map[string]LogStore{"cache above ranges": disk, "cache above one by one": plain} {
		c, err := NewLogCache(3, store)
		if err != nil {
			t.Fatal(err)
		}
		stores[name] = c
	}
	for _, s := range []LogStore{stores["cache above ranges"], stores["cache above one by one"]} {
		if err := s.StoreLogs(entries); err != nil {
			t.Fatal(err)
		}
	}
	return stores
}

func TestReadEntries(t *testing.T) {
	entries := entriesOf([]uint64{1, 1, 2, 2, 2, 3, 3, 3, 3})
	for i, e := range entries {
		e.Data, e.Extensions = bytes.Repeat([]byte{byte(i)}, 100), []byte{}
	}
	entries[3].Data = nil
	entries[5].Data = bytes.Repeat([]byte("large"), dataPiece)
	entries = append(entries[:7:7], entries[8]) // 8 is missing
	size := logSize(entries[0])
	for name, store := range rangeStores(t, entries) {
		for _, tt := range []struct {
			lo       uint64
			n, bytes int
			want     string
		}{
			{1, 3, 1 << 20, "1@1 2@1 3@2"},
			{4, 1, 1 << 20, "4@2"},
			{1, 1 << 30, 1 << 30, "1@1 2@1 3@2 4@2 5@2 6@3 7@3"}, // up to the gap
			{9, 5, 1 << 20, "9@3"},
			{1, 9, 1, "1@1"}, // one at least
			{1, 9, 2 * size, "1@1 2@1"},
			{1, 9, 2*size + 1, "1@1 2@1 3@2"},
			{6, 9, 1000, "6@3"},
			{8, 2, 1 << 20, "log not found"},
			{10, 1, 1 << 20, "log not found"},
		} {
			got, err := readEntries(store, tt.lo, tt.n, tt.bytes)
			if text := strings.Trim(entriesString(got), "[]"); text != tt.want && !(errors.Is(err, ErrLogNotFound) && tt.want == ErrLogNotFound.Error()) {
				t.Errorf("%s: %d entries from %d on, up to %d bytes, are %s, error %v, want %s", name, tt.n, tt.lo, tt.bytes, text, err, tt.want)
			}
			for _, e := range got {
				var want Log
				if err := store.GetLog(e.Index, &want); err != nil || fmt.Sprint(*e) != fmt.Sprint(want) || (e.Data == nil) != (want.Data == nil) {
					t.Errorf("%s: entry %d is %+v, want %+v, %v", name, e.Index, e, want, err)
				}
			}
		}
	}
}

// What is read together lies together, but not so that an entry that is kept keeps all
// of a batch.
func TestReadEntriesAllocates(t *testing.T) {
	const n = 1024
	entries := entriesOf(make([]uint64, n))
	for _, e := range entries {
		e.Data = make([]byte, 256)
	}
	s := NewInmemStore()
	if err := s.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	var got []*Log
	allocs := testing.AllocsPerRun(10, func() { got, _ = readEntries(s, 1, n, 1<<20) })
	if most := float64(n / 20); len(got) != n || allocs > most {
		t.Errorf("%d entries in %v allocations, want %d in %v at most", len(got), allocs, n, most)
	}
	for _, e := range got {
		if cap(e.Data) != len(e.Data) {
			t.Fatalf("appending to the data of entry %d writes into that of another", e.Index)
		}
	}
}

// meteredStore embeds a store that reads ranges, and has a GetLog of its own.
type meteredStore struct {
	*InmemStore
	gets int
}

func (s *meteredStore) GetLog(index uint64, log *Log) error {
	s.gets++
	return s.InmemStore.GetLog(index, log)
}

// uncomparable is a store that can't be compared with what it says that it is.
type uncomparable struct {
	LogStore
	_ []int
}

func (s uncomparable) ReadLogs(uint64, uint64, func(*Log) bool) error { panic("not to be called") }
func (s uncomparable) ReadsLogsOf() LogStore                          { return s }

// A store that inherits ReadLogs is read by its own GetLog.
func TestReadLogsIsNotInherited(t *testing.T) {
	s := &meteredStore{InmemStore: NewInmemStore()}
	if err := s.StoreLogs(entriesOf([]uint64{1, 1, 1})); err != nil {
		t.Fatal(err)
	}
	for _, store := range []LogStore{s, uncomparable{LogStore: s}} {
		s.gets = 0
		if got, err := readEntries(store, 1, 3, 1<<20); len(got) != 3 || err != nil || s.gets != 3 {
			t.Errorf("%T: read %s, %v, with %d calls of GetLog", store, entriesString(got), err, s.gets)
		}
	}
}

// rangesFunc is a store with a ReadLogs that may be wrong.
type rangesFunc struct {
	*InmemStore
	visited []*Log
}

func (s *rangesFunc) ReadLogs(_, _ uint64, visit func(*Log) bool) error {
	for _, e := range s.visited {
		if !visit(e) {
			break
		}
	}
	return nil
}

func (s *rangesFunc) ReadsLogsOf() LogStore { return s }

// A store that leaves out an entry, or all, is found out: neither an FSM nor a follower
// may get what comes instead, and no log is opened.
func TestReadLogsIsChecked(t *testing.T) {
	s := &rangesFunc{InmemStore: NewInmemStore()}
	if err := s.StoreLogs(parseEntries(t, "1@1 2@1 3@1")); err != nil {
		t.Fatal(err)
	}
	for _, visited := range []string{"", "2@1 3@1", "1@1 3@1"} {
		s.visited = parseEntries(t, visited)
		if got, err := readEntries(s, 1, 3, 1<<20); err == nil {
			t.Errorf("visited %s: read %s", visited, entriesString(got))
		}
		if l, err := openLog(s, entryID{}, false, addrTransport{}); err == nil {
			t.Errorf("visited %s: opened %s", visited, describeLog(l))
		}
	}
	s.visited = parseEntries(t, "1@1 2@1")
	if l, err := openLog(s, entryID{}, false, addrTransport{}); err == nil {
		t.Errorf("without the last entry: opened %s", describeLog(l))
	}
}
