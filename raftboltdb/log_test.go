package raftboltdb

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// entries returns entries first..last of a term, of different sizes.
func entries(first, last, term uint64) []*raft.Log {
	var logs []*raft.Log
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{
			Index: i, Term: term,
			Data:       bytes.Repeat([]byte{byte(term)}, int(i*37%900)),
			AppendedAt: time.Unix(int64(i), 1),
		})
	}
	return logs
}

// contents prints a store's entries as index@term, runs of a term as one, behind
// what it says of its ends.
func contents(t testing.TB, s *BoltStore) string {
	t.Helper()
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	must(t, err1, err2)
	var ids []string
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		err := s.GetLog(i, &l)
		if err == raft.ErrLogNotFound {
			continue
		}
		must(t, err)
		if want := entries(i, i, l.Term)[0]; !bytes.Equal(l.Data, want.Data) || !l.AppendedAt.Equal(want.AppendedAt) || l.Index != i {
			t.Fatalf("entry %d is %+v", i, l)
		}
		ids = append(ids, fmt.Sprintf("%d@%d", i, l.Term))
	}
	return fmt.Sprintf("%d..%d: %s", first, last, strings.Join(ids, " "))
}

func TestLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *BoltStore) error
		want string
	}{
		{"empty", func(s *BoltStore) error { return nil }, "0..0: "},
		{"nothing", func(s *BoltStore) error { return errors.Join(s.StoreLogs(nil), s.StoreLogs([]*raft.Log{})) }, "0..0: "},
		{"append", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 2, 1)), s.StoreLog(entries(3, 3, 2)[0]))
		}, "1..3: 1@1 2@1 3@2"},
		{"index order is not text order", func(s *BoltStore) error { return s.StoreLogs(entries(254, 257, 1)) }, "254..257: 254@1 255@1 256@1 257@1"},
		{"overwrite", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 4, 1)), s.StoreLogs(entries(2, 3, 2)))
		}, "1..4: 1@1 2@2 3@2 4@1"},
		{"gap", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 2, 1)), s.StoreLogs(entries(7, 8, 2)))
		}, "1..8: 1@1 2@1 7@2 8@2"},
		{"prefix", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 5, 1)), s.DeleteRange(0, 3))
		}, "4..5: 4@1 5@1"},
		{"suffix", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 5, 1)), s.DeleteRange(4, math.MaxUint64))
		}, "1..3: 1@1 2@1 3@1"},
		{"middle", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 5, 1)), s.DeleteRange(2, 4))
		}, "1..5: 1@1 5@1"},
		{"over a gap", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 2, 1)), s.StoreLogs(entries(7, 9, 2)), s.DeleteRange(2, 7))
		}, "1..9: 1@1 8@2 9@2"},
		{"no range", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(4, 5, 1)), s.DeleteRange(5, 4), s.DeleteRange(1, 3), s.DeleteRange(6, 9))
		}, "4..5: 4@1 5@1"},
		{"a deleted suffix again", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 5, 1)), s.DeleteRange(3, 5), s.StoreLogs(entries(3, 4, 2)))
		}, "1..4: 1@1 2@1 3@2 4@2"},
		{"the last index there is", func(s *BoltStore) error {
			l := &raft.Log{Index: math.MaxUint64}
			return errors.Join(s.StoreLogs(entries(1, 1, 1)), s.StoreLog(l), s.DeleteRange(math.MaxUint64, math.MaxUint64))
		}, "1..1: 1@1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openNew(t)
			must(t, tt.do(s))
			if got := contents(t, s); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A long log is deleted whole pages at a time, across leaves and branches, which
// is where a cursor that deletes under itself goes wrong.
func TestDeleteRangeOfManyPages(t *testing.T) {
	s := openNew(t)
	must(t, s.StoreLogs(entries(1, 5000, 1)), s.DeleteRange(2, 2), s.DeleteRange(1, 2999), s.DeleteRange(4001, 4990))
	var want []uint64
	for i := uint64(3000); i <= 5000; i++ {
		if i <= 4000 || i > 4990 {
			want = append(want, i)
		}
	}
	if got := indexes(t, s); !slices.Equal(got, want) {
		t.Errorf("%d entries are left, want %d", len(got), len(want))
	}
	must(t, s.DeleteRange(0, math.MaxUint64))
	if got := indexes(t, s); len(got) != 0 {
		t.Errorf("%d entries are left, want none", len(got))
	}
	must(t, s.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}))
}

func indexes(t testing.TB, s *BoltStore) (all []uint64) {
	t.Helper()
	must(t, s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLogs).ForEach(func(k, _ []byte) error {
			index, err := indexOf(k)
			all = append(all, index)
			return err
		})
	}))
	return all
}

// Whoever got an entry keeps it: reading another into the same Log must not write
// to its bytes (H28).
func TestGetLogAllocates(t *testing.T) {
	s := openNew(t)
	must(t, s.StoreLogs([]*raft.Log{
		{Index: 1, Data: []byte("first"), Extensions: []byte("ext-1")},
		{Index: 2, Data: []byte("other"), Extensions: []byte("ext-2")},
		{Index: 3},
	}))
	var l raft.Log
	must(t, s.GetLog(1, &l))
	kept := l
	must(t, s.GetLog(2, &l), s.GetLog(3, &l))
	if string(kept.Data) != "first" || string(kept.Extensions) != "ext-1" {
		t.Errorf("entry 1 became %s, %s", kept.Data, kept.Extensions)
	}
	if l.Data != nil || l.Extensions != nil {
		t.Errorf("entry 3 has %q, %q of another", l.Data, l.Extensions)
	}
	must(t, s.Close()) // unmaps the file
	kept.Data[0] = 'F'
}

// Entries of a failed or earlier batch must not show in a later one, whose
// encoding lies in the same buffer.
func TestStoreLogsReusesItsBuffer(t *testing.T) {
	s := openNew(t)
	for i := uint64(1); i < 200; i += 10 {
		must(t, s.StoreLogs(entries(i, i+9, i)))
	}
	before := contents(t, s)
	again := open(t, Options{Path: closeStore(t, s)})
	if got := contents(t, again); got != before {
		t.Errorf("reopened: got %s, want %s", got, before)
	}
}

func TestCorruptEntry(t *testing.T) {
	good := appendEntry(nil, &raft.Log{Index: 5, Term: 1, Data: []byte("x")}, false)
	for _, tt := range []struct {
		name string
		val  []byte
		want string
	}{
		{"empty", []byte{}, "raftboltdb: entry 5 is corrupt: "},
		{"cut off", good[:len(good)-1], "raftboltdb: entry 5 is corrupt: "},
		{"no map", []byte("garbage"), "raftboltdb: entry 5 is corrupt: "},
		{"another's", appendEntry(nil, &raft.Log{Index: 6}, false), "raftboltdb: entry 5 is corrupt: it names itself 6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openNew(t)
			putRaw(t, s, uint64Bytes(5), tt.val)
			l := raft.Log{Index: 77}
			if err := s.GetLog(5, &l); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if l.Index != 77 {
				t.Errorf("the caller's entry became %+v", l)
			}
		})
	}
}

func putRaw(t testing.TB, s *BoltStore, key, val []byte) {
	t.Helper()
	must(t, s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketLogs).Put(key, val) }))
}

func TestCorruptKey(t *testing.T) {
	s := openNew(t)
	putRaw(t, s, []byte("key"), nil)
	_, errFirst := s.FirstIndex()
	for _, err := range []error{errFirst, s.DeleteRange(0, math.MaxUint64)} {
		if err == nil {
			t.Error("a key that is no index is no error")
		}
	}
}

func TestStoreLogsIsAtomic(t *testing.T) {
	s := openNew(t)
	must(t, s.StoreLogs(entries(1, 2, 1)))
	// bbolt refuses to put a value in the place of a bucket.
	must(t, s.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.Bucket(bucketLogs).CreateBucket(uint64Bytes(5))
		return err
	}))
	if err := s.StoreLogs(entries(3, 6, 1)); err == nil || !strings.Contains(err.Error(), "entry 5") {
		t.Errorf("got %v, want an error that names entry 5", err)
	}
	for i := uint64(3); i <= 6; i++ {
		if err := s.GetLog(i, new(raft.Log)); err != raft.ErrLogNotFound {
			t.Errorf("entry %d: %v", i, err)
		}
	}
}

func TestCommitIndex(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(s *BoltStore) error
		want uint64
	}{
		{"none", func(s *BoltStore) error { return s.StoreLogs(entries(1, 3, 1)) }, 0},
		{"staged", func(s *BoltStore) error { return errors.Join(s.StoreLogs(entries(1, 3, 1)), s.StageCommitIndex(2)) }, 0},
		{"stored with entries", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(2), s.StoreLogs(entries(1, 3, 1)))
		}, 2},
		{"never above its batch", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(9), s.StoreLogs(entries(1, 3, 1)), s.StoreLogs(entries(4, 20, 1)))
		}, 3},
		{"the last one staged", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(1), s.StageCommitIndex(2), s.StoreLogs(entries(1, 3, 1)))
		}, 2},
		{"kept", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(2), s.StoreLogs(entries(1, 3, 1)), s.StoreLogs(entries(4, 5, 1)))
		}, 2},
		{"moved", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(2), s.StoreLogs(entries(1, 3, 1)), s.StageCommitIndex(3), s.StoreLogs(entries(4, 5, 1)))
		}, 3},
		{"cut to the last index", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(5), s.StoreLogs(entries(1, 5, 1)), s.DeleteRange(4, 5))
		}, 3},
		{"of an empty log", func(s *BoltStore) error {
			return errors.Join(s.StageCommitIndex(5), s.StoreLogs(entries(1, 5, 1)), s.DeleteRange(1, 5))
		}, 0},
		{"without entries", func(s *BoltStore) error {
			return errors.Join(s.StoreLogs(entries(1, 5, 1)), s.StageCommitIndex(5), s.StoreLogs(nil))
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openNew(t)
			must(t, tt.do(s))
			again := open(t, Options{Path: closeStore(t, s)})
			if got, err := again.GetCommitIndex(); got != tt.want || err != nil {
				t.Errorf("got %d, %v, want %d", got, err, tt.want)
			}
		})
	}
}

// A commit index belongs to the StoreLogs it was staged for and to no later one:
// that may store other entries.
func TestCommitIndexOfFailedBatch(t *testing.T) {
	s := openNew(t)
	must(t, s.db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.Bucket(bucketLogs).CreateBucket(uint64Bytes(5))
		return err
	}))
	must(t, s.StageCommitIndex(5))
	if err := s.StoreLogs(entries(5, 5, 1)); err == nil {
		t.Fatal("no error")
	}
	must(t, s.StoreLogs(entries(6, 6, 1)))
	if got, err := s.GetCommitIndex(); got != 0 || err != nil {
		t.Errorf("got %d, %v, want 0", got, err)
	}
}

// The file of a node that does not track commits is that of hashicorp/raft.
func TestNoBucketWithoutNeed(t *testing.T) {
	s := openNew(t)
	must(t, s.StoreLogs(entries(1, 3, 1)), s.SetUint64([]byte("k"), 1))
	buckets := func() (names []string) {
		must(t, s.db.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
				names = append(names, string(name))
				return nil
			})
		}))
		return names
	}
	if got, want := buckets(), []string{"conf", "logs"}; !slices.Equal(got, want) {
		t.Errorf("buckets %v, want %v", got, want)
	}
	must(t, s.StageCommitIndex(1), s.StoreLogs(entries(4, 4, 1)))
	if got, want := buckets(), []string{"conf", "logs", "meta"}; !slices.Equal(got, want) {
		t.Errorf("buckets %v, want %v", got, want)
	}
}

// A file must survive any change of settings from one opening to the next, as when
// hashicorp/raft opens it in between.
func TestReopenWithOtherOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	all := []*bbolt.Options{
		nil,
		bbolt.DefaultOptions, // what raft-boltdb opens with
		{NoFreelistSync: true, FreelistType: bbolt.FreelistArrayType},
		nil,
		{FreelistType: bbolt.FreelistMapType},
		{NoFreelistSync: true},
		bbolt.DefaultOptions,
		nil,
	}
	for i, o := range all {
		s := open(t, Options{Path: path, BoltOptions: o})
		first := uint64(i * 100)
		must(t, s.StoreLogs(entries(first+1, first+100, 1)), s.DeleteRange(first+1, first+50))
		must(t, s.db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Error(err)
			}
			return nil
		}))
		if got, want := len(indexes(t, s)), 50*(i+1); got != want {
			t.Errorf("opening %d: %d entries, want %d", i, got, want)
		}
		must(t, s.Close())
	}
}

// What a call has acknowledged is in the file, whatever happens to the process:
// a copy of the file made then has it all, and is sound.
func TestAcknowledgedIsInTheFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := openNew(t)
	var last, first, commit, term uint64 = 0, 1, 0, 0
	for step := range 60 {
		switch n := rng.Uint64N(40); {
		case n < 25: // append
			commit = last
			must(t, s.StageCommitIndex(commit), s.StoreLogs(entries(last+1, last+n+1, uint64(step+1))))
			last += n + 1
		case n < 30 && last > first+5: // compact
			must(t, s.DeleteRange(first, first+4))
			first += 5
		case n < 35 && last > first+5: // truncate what is not committed
			from := max(commit+1, first)
			must(t, s.DeleteRange(from, last))
			last = from - 1
		default:
			term++
			must(t, s.SetAll([]raft.StableValue{{Key: []byte("term"), Number: term}, {Key: []byte("vote"), Bytes: uint64Bytes(term)}}))
		}
		crashed := open(t, Options{Path: copyFile(t, s.db.Path())})
		if got, want := contents(t, crashed), contents(t, s); got != want {
			t.Fatalf("step %d: got %s, want %s", step, got, want)
		}
		if lastGot, _ := crashed.LastIndex(); lastGot != last && last >= first {
			t.Fatalf("step %d: last index %d, want %d", step, lastGot, last)
		}
		if got, err := crashed.GetCommitIndex(); got != min(commit, last) && last >= first || err != nil {
			t.Fatalf("step %d: commit index %d, %v, want %d", step, got, err, commit)
		}
		if term > 0 {
			got, err1 := crashed.GetUint64([]byte("term"))
			vote, err2 := crashed.Get([]byte("vote"))
			if must(t, err1, err2); got != term || !bytes.Equal(vote, uint64Bytes(term)) {
				t.Fatalf("step %d: term %d, vote %x, want %d", step, got, vote, term)
			}
		}
		must(t, crashed.Close())
	}
}

func TestConcurrentUse(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db"), NoSync: true})
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			for i := g*1000 + 1; i <= g*1000+100; i++ {
				var l raft.Log
				if err := errors.Join(s.StoreLogs(entries(i, i, g+1)), s.GetLog(i, &l)); err != nil || l.Term != g+1 {
					t.Errorf("entry %d: %v, %v", i, l, err)
				}
				if i%10 == 0 {
					if err := s.DeleteRange(i-9, i-5); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := len(indexes(t, s)); got != 200 {
		t.Errorf("%d entries, want 200", got)
	}
}
