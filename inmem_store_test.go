package raft

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
)

var (
	_ LogStore               = (*InmemStore)(nil)
	_ StableStore            = (*InmemStore)(nil)
	_ BatchStableStore       = (*InmemStore)(nil)
	_ CommitTrackingLogStore = (*InmemCommitTrackingStore)(nil)
)

// entriesFrom returns entries first..last of a term.
func entriesFrom(first, last, term uint64) []*Log {
	var logs []*Log
	for i := first; i <= last; i++ {
		logs = append(logs, &Log{Index: i, Term: term, Data: []byte{byte(i)}})
	}
	return logs
}

// contents prints a store's entries up to index 20 as index@term, behind what it
// says of its ends.
func contents(t *testing.T, s LogStore) string {
	t.Helper()
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%d..%d:", first, last)
	for i := uint64(0); i <= 20; i++ {
		var l Log
		switch err := s.GetLog(i, &l); {
		case err == nil:
			out += " " + idOf(&l).String()
		case err != ErrLogNotFound:
			t.Fatalf("entry %d: %v, want exactly ErrLogNotFound", i, err)
		}
	}
	return out
}

func TestInmemStoreLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s LogStore) error
		want string
	}{
		{"empty", func(s LogStore) error { return nil }, "0..0:"},
		{"append", func(s LogStore) error { return s.StoreLogs(entriesFrom(1, 3, 1)) }, "1..3: 1@1 2@1 3@1"},
		{"one", func(s LogStore) error { return s.StoreLog(&Log{Index: 7, Term: 2}) }, "7..7: 7@2"},
		{"overwrite", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(1, 4, 1)), s.StoreLogs(entriesFrom(2, 3, 2)))
		}, "1..4: 1@1 2@2 3@2 4@1"},
		{"gap", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(1, 2, 1)), s.StoreLogs(entriesFrom(5, 6, 2)))
		}, "1..6: 1@1 2@1 5@2 6@2"},
		{"prefix over a gap", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(1, 2, 1)), s.StoreLogs(entriesFrom(5, 6, 2)), s.DeleteRange(0, 3))
		}, "5..6: 5@2 6@2"},
		{"prefix", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(1, 5, 1)), s.DeleteRange(1, 3))
		}, "4..5: 4@1 5@1"},
		{"suffix", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(1, 5, 1)), s.DeleteRange(4, math.MaxUint64))
		}, "1..3: 1@1 2@1 3@1"},
		{"all", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(1, 5, 1)), s.DeleteRange(0, math.MaxUint64))
		}, "0..0:"},
		{"nothing", func(s LogStore) error {
			return errors.Join(s.StoreLogs(entriesFrom(4, 5, 1)), s.DeleteRange(1, 3), s.DeleteRange(5, 4), s.DeleteRange(9, 12))
		}, "4..5: 4@1 5@1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewInmemStore()
			if err := tt.do(s); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, s); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestInmemStoreValues(t *testing.T) {
	s := NewInmemStore()
	if _, err := s.Get([]byte("k")); err == nil || err.Error() != "not found" {
		t.Errorf("Get of a missing key: %v, want not found", err)
	}
	if n, err := s.GetUint64([]byte("k")); n != 0 || err != nil {
		t.Errorf("GetUint64 of a missing key: %d, %v, want 0, nil", n, err)
	}
	val := []byte("v")
	if err := errors.Join(s.Set([]byte("k"), val), s.SetUint64([]byte("k"), 7)); err != nil {
		t.Fatal(err)
	}
	val[0] = 'x'
	if got, err := s.Get([]byte("k")); string(got) != "v" || err != nil {
		t.Errorf("Get: %q, %v, want v", got, err)
	}
	if n, err := s.GetUint64([]byte("k")); n != 7 || err != nil {
		t.Errorf("GetUint64: %d, %v, want 7", n, err)
	}
	if err := s.Set([]byte("empty"), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get([]byte("empty")); len(got) != 0 || err != nil {
		t.Errorf("Get of an empty value: %q, %v", got, err)
	}
}

func TestInmemStoreSetAll(t *testing.T) {
	s := NewInmemStore()
	if err := s.SetAll([]StableValue{{Key: []byte("a"), Bytes: []byte("x")}, {Key: []byte("b"), Number: 3}}); err != nil {
		t.Fatal(err)
	}
	a, err1 := s.Get([]byte("a"))
	b, err2 := s.GetUint64([]byte("b"))
	if err := errors.Join(err1, err2); err != nil || string(a) != "x" || b != 3 {
		t.Errorf("got %q and %d, %v", a, b, err)
	}
}

func TestInmemStoreConcurrency(t *testing.T) {
	s := NewInmemCommitTrackingStore()
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for i := g*100 + 1; i <= g*100+100; i++ {
				var l Log
				key := []byte{byte(g)}
				err := errors.Join(s.StoreLog(&Log{Index: i}), s.GetLog(i, &l), s.SetUint64(key, i), s.StageCommitIndex(i))
				if n, err2 := s.GetUint64(key); err != nil || err2 != nil || n != i || l.Index != i {
					t.Errorf("entry %d: %v, %v", i, err, err2)
				}
			}
		})
	}
	wg.Wait()
	if last, _ := s.LastIndex(); last != 400 {
		t.Errorf("last index %d, want 400", last)
	}
}

func TestInmemCommitTrackingStore(t *testing.T) {
	s := NewInmemCommitTrackingStore()
	if n, err := s.GetCommitIndex(); n != 0 || err != nil {
		t.Errorf("at first: %d, %v", n, err)
	}
	if err := errors.Join(s.StoreLogs(entriesFrom(1, 9, 1)), s.StageCommitIndex(8)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.GetCommitIndex(); n != 8 || err != nil {
		t.Errorf("staged 8, got %d, %v", n, err)
	}
	var l Log
	if err := s.GetLog(3, &l); err != nil || !bytes.Equal(l.Data, []byte{3}) {
		t.Errorf("entry 3: %v, %v", l, err)
	}
}
