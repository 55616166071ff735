package raftwal

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/raftboltdb"
)

// A node's log and vote come over from a bolt file, and back.
func TestMove(t *testing.T) {
	dir := t.TempDir()
	bolt, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	must(t, err)
	var entries []*raft.Log
	for i := range uint64(10_000) {
		entries = append(entries, &raft.Log{Index: i + 5, Term: i / 100, Data: fmt.Append(nil, i), AppendedAt: time.Unix(int64(i), 1).UTC()})
	}
	must(t, bolt.StoreLogs(entries))
	must(t, bolt.SetUint64([]byte("CurrentTerm"), 101))
	must(t, bolt.SetUint64([]byte("LastVoteTerm"), 101))
	must(t, bolt.Set([]byte("LastVoteCand"), []byte("addr")))
	must(t, bolt.Set([]byte("own"), []byte("value")))

	s, err := Move(filepath.Join(dir, "log"), bolt, "own", "missing")
	must(t, err)
	must(t, bolt.Close())
	back, err := raftboltdb.NewBoltStore(filepath.Join(dir, "back.db"))
	must(t, err)
	must(t, CopyStore(back, s, "own"))
	for _, store := range []interface {
		raft.LogStore
		raft.StableStore
	}{s, back} {
		for _, want := range entries {
			var got raft.Log
			must(t, store.GetLog(want.Index, &got))
			if got.AppendedAt = got.AppendedAt.UTC(); !reflect.DeepEqual(got, *want) {
				t.Fatalf("%T: entry %+v, want %+v", store, got, *want)
			}
		}
		if term, err := store.GetUint64([]byte("CurrentTerm")); term != 101 || err != nil {
			t.Errorf("%T: term %d, %v", store, term, err)
		}
		if own, err := store.Get([]byte("own")); string(own) != "value" || err != nil {
			t.Errorf("%T: own value %q, %v", store, own, err)
		}
		if _, err := store.Get([]byte("missing")); err == nil {
			t.Errorf("%T has a key that nobody set", store)
		}
	}
	if _, err := Move(filepath.Join(dir, "log"), back); err == nil {
		t.Error("moved over a store that exists")
	}
	if err := CopyStore(s, back); err == nil {
		t.Error("copied into a store that is not empty")
	}
	must(t, back.Close())
	must(t, s.Close())
}

// A store that keeps numbers apart from other values, as raft.InmemStore does, is copied
// with its term, both ways; and no key of the caller is overwritten.
func TestCopyNumbers(t *testing.T) {
	src, back := raft.NewInmemStore(), raft.NewInmemStore()
	must(t, src.SetUint64([]byte("CurrentTerm"), 7))
	must(t, src.SetUint64([]byte("own"), 8))
	must(t, src.Set([]byte("LastVoteCand"), []byte("addr")))
	keys := []string{"own", "behind"}
	s := open1(t, Options{Dir: t.TempDir()})
	must(t, CopyStore(s, src, keys[:1]...))
	must(t, CopyStore(back, s))
	for _, store := range []raft.StableStore{s, back} {
		if term, err := store.GetUint64([]byte("CurrentTerm")); term != 7 || err != nil {
			t.Errorf("%T: term %d, %v", store, term, err)
		}
		if cand, err := store.Get([]byte("LastVoteCand")); string(cand) != "addr" || err != nil {
			t.Errorf("%T: vote for %q, %v", store, cand, err)
		}
		if term, _ := store.GetUint64([]byte("LastVoteTerm")); term != 0 {
			t.Errorf("%T has a number that nobody set", store)
		}
	}
	if own, err := s.GetUint64([]byte("own")); own != 8 || err != nil {
		t.Errorf("own number %d, %v", own, err)
	}
	if keys[1] != "behind" {
		t.Errorf("the caller's keys are %q", keys)
	}
}

// What an interrupted Move left is no obstacle, nor is a slash at the end.
func TestMoveAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	src := raft.NewInmemStore()
	must(t, src.StoreLogs([]*raft.Log{{Index: 1, Term: 1}, {Index: 2, Term: 1}}))
	half := open1(t, Options{Dir: dir + ".new"})
	must(t, half.StoreLog(&raft.Log{Index: 1, Term: 1}))
	must(t, half.Close())
	s, err := Move(dir+string(filepath.Separator), src)
	must(t, err)
	if last, err := s.LastIndex(); last != 2 || err != nil {
		t.Errorf("the log ends with %d, %v", last, err)
	}
	must(t, s.Close())
	if _, err := Open(dir + ".new"); err == nil {
		if left, _ := filepath.Glob(dir + ".new/*" + suffix); len(left) > 0 {
			t.Errorf("an unfinished copy is left: %v", left)
		}
	}
}
