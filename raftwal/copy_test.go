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
