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
	hashi.Counting
	boltMethods
}

type boltMethods struct{ *raftboltdb.BoltStore }

var (
	_ raft.RangeLogStore          = (*boltStore)(nil)
	_ raft.CommitTrackingLogStore = (*boltStore)(nil)
	_ raft.BatchStableStore       = (*boltStore)(nil)
)

func openBolt(dir string, flushes *hashi.Flushes) (hashi.Store, error) {
	s, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	return &boltStore{hashi.NewCounting(s, flushes, hashi.BoltCosts), boltMethods{s}}, err
}

// ReadsLogsOf says that what BoltStore reads is what this reads.
func (s *boltStore) ReadsLogsOf() raft.LogStore { return s }

// SetAll implements [raft.BatchStableStore].
func (s *boltStore) SetAll(values []raft.StableValue) error {
	s.CountSet()
	return s.BoltStore.SetAll(values)
}

// walStore counts a flush for each call that writes. To delete a prefix costs none, but
// nothing here is compacted.
type walStore struct {
	hashi.Counting
	walMethods
}

type walMethods struct{ *raftwal.Store }

var (
	_ raft.RangeLogStore          = (*walStore)(nil)
	_ raft.MonotonicLogStore      = (*walStore)(nil)
	_ raft.CommitTrackingLogStore = (*walStore)(nil)
	_ raft.BatchStableStore       = (*walStore)(nil)
)

func openWAL(dir string, flushes *hashi.Flushes) (hashi.Store, error) {
	s, err := raftwal.Open(filepath.Join(dir, "wal"))
	costs := hashi.Costs{Append: 1, Delete: 1, Set: 1}
	return &walStore{hashi.NewCounting(s, flushes, costs), walMethods{s}}, err
}

// ReadsLogsOf says that what Store reads is what this reads.
func (s *walStore) ReadsLogsOf() raft.LogStore { return s }

// SetAll implements [raft.BatchStableStore].
func (s *walStore) SetAll(values []raft.StableValue) error {
	s.CountSet()
	return s.Store.SetAll(values)
}
