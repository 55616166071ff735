package raftboltdb

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// Whatever is under the keys that raft uses, a number is read or there is an error,
// and no commit index is beyond the log. The file itself is bbolt's affair.
func FuzzValues(f *testing.F) {
	s, err := New(Options{Path: filepath.Join(f.TempDir(), "raft.db"), NoSync: true})
	must(f, err)
	f.Cleanup(func() { must(f, s.Close()) })
	entry := appendEntry(nil, &raft.Log{Index: 7, Term: 1}, false)
	f.Add(uint64Bytes(7), uint64Bytes(7), uint64Bytes(7), entry)
	f.Add(uint64Bytes(7)[:7], uint64Bytes(7)[:3], uint64Bytes(7)[:7], entry)
	f.Add([]byte{}, []byte{}, uint64Bytes(8), entry)
	f.Add(append(uint64Bytes(7), 1), append(uint64Bytes(7), 1), append(uint64Bytes(7), 1), []byte{})
	f.Add(uint64Bytes(1<<63), uint64Bytes(1<<63), uint64Bytes(0), entry)
	f.Fuzz(func(t *testing.T, number, commit, key, entry []byte) {
		if len(key) == 0 || len(key) > bbolt.MaxKeySize {
			return // bbolt has no such key
		}
		fillRaw(t, s, number, commit, key, entry)
		checkNumber(t, s, number)
		checkCommit(t, s, commit, key)
		checkLog(t, s, key)
		must(t, s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketLogs).Delete(key) }))
	})
}

func fillRaw(t *testing.T, s *BoltStore, number, commit, key, entry []byte) {
	t.Helper()
	must(t, s.db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(bucketMeta)
		must(t, err)
		must(t, meta.Put(keyCommit, commit), tx.Bucket(bucketLogs).Put(key, entry))
		return tx.Bucket(bucketConf).Put([]byte("CurrentTerm"), number)
	}))
}

func checkNumber(t *testing.T, s *BoltStore, raw []byte) {
	t.Helper()
	got, err := s.GetUint64([]byte("CurrentTerm"))
	switch {
	case len(raw) < 8 && err == nil:
		t.Errorf("%x is the number %d", raw, got)
	case len(raw) >= 8 && (err != nil || got != binary.BigEndian.Uint64(raw)):
		t.Errorf("%x is %d, %v", raw, got, err)
	}
}

func checkCommit(t *testing.T, s *BoltStore, raw, key []byte) {
	t.Helper()
	got, err := s.GetCommitIndex()
	if wrong := len(raw) != 8 || len(key) != 8; wrong != (err != nil) {
		t.Errorf("commit index %x in a log of %x: %d, %v", raw, key, got, err)
	}
	if last, lastErr := s.LastIndex(); err == nil && (lastErr != nil || got > last) {
		t.Errorf("commit index %d, the last is %d, %v", got, last, lastErr)
	}
}

// checkLog checks a log with one raw entry.
func checkLog(t *testing.T, s *BoltStore, key []byte) {
	t.Helper()
	first, err := s.FirstIndex()
	if (err != nil) != (len(key) != 8) || err == nil && !bytes.Equal(uint64Bytes(first), key) {
		t.Errorf("key %x: first index %d, %v", key, first, err)
	}
	if err != nil {
		return
	}
	before := raft.Log{Data: []byte("before")}
	l := before
	if err := s.GetLog(first, &l); err == nil && l.Index != first || err != nil && !same(l, before) {
		t.Errorf("entry %d is %+v, %v", first, l, err)
	}
}
