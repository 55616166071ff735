package main

import (
	"path/filepath"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/hashi"
	"github.com/hashicorp/raft/raftboltdb"
	"github.com/hashicorp/raft/raftwal"
)

// boltStore counts two flushes for each transaction.
type boltStore struct {
	*raftboltdb.BoltStore
	flushes *hashi.Flushes
}

func openBolt(dir string, flushes *hashi.Flushes) (hashi.Store, error) {
	s, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	return boltStore{s, flushes}, err
}

// ReadsLogsOf says that what BoltStore reads is what this reads.
func (s boltStore) ReadsLogsOf() raft.LogStore { return s }

func (s boltStore) StoreLog(l *raft.Log) error {
	s.flushes.Add(hashi.BoltCommit)
	return s.BoltStore.StoreLog(l)
}

func (s boltStore) StoreLogs(l []*raft.Log) error {
	s.flushes.Add(hashi.BoltCommit)
	return s.BoltStore.StoreLogs(l)
}

func (s boltStore) DeleteRange(first, last uint64) error {
	s.flushes.Add(hashi.BoltCommit)
	return s.BoltStore.DeleteRange(first, last)
}

func (s boltStore) Set(key, val []byte) error {
	s.flushes.Add(hashi.BoltCommit)
	return s.BoltStore.Set(key, val)
}

func (s boltStore) SetUint64(key []byte, val uint64) error {
	s.flushes.Add(hashi.BoltCommit)
	return s.BoltStore.SetUint64(key, val)
}

func (s boltStore) SetAll(values []raft.StableValue) error {
	s.flushes.Add(hashi.BoltCommit)
	return s.BoltStore.SetAll(values)
}

// walStore counts a flush for each call that writes. To delete a prefix costs none, but
// nothing here is compacted.
type walStore struct {
	*raftwal.Store
	flushes *hashi.Flushes
}

func openWAL(dir string, flushes *hashi.Flushes) (hashi.Store, error) {
	s, err := raftwal.Open(filepath.Join(dir, "wal"))
	return walStore{s, flushes}, err
}

// ReadsLogsOf says that what Store reads is what this reads.
func (s walStore) ReadsLogsOf() raft.LogStore { return s }

func (s walStore) StoreLog(l *raft.Log) error {
	s.flushes.Add(1)
	return s.Store.StoreLog(l)
}

func (s walStore) StoreLogs(l []*raft.Log) error {
	s.flushes.Add(1)
	return s.Store.StoreLogs(l)
}

func (s walStore) DeleteRange(first, last uint64) error {
	s.flushes.Add(1)
	return s.Store.DeleteRange(first, last)
}

func (s walStore) Set(key, val []byte) error {
	s.flushes.Add(1)
	return s.Store.Set(key, val)
}

func (s walStore) SetUint64(key []byte, val uint64) error {
	s.flushes.Add(1)
	return s.Store.SetUint64(key, val)
}

func (s walStore) SetAll(values []raft.StableValue) error {
	s.flushes.Add(1)
	return s.Store.SetAll(values)
}
