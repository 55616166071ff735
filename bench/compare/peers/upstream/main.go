// The peer with hashicorp/raft v1.8.0, and its stores.
package main

import (
	"path/filepath"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/hashicorp/raft/bench/compare/hashi"
)

func main() {
	hashi.Main(hashi.Library{
		Stores: map[string]hashi.OpenStore{"bolt": openBolt, "wal": hashi.OpenRaftWAL},
	})
}

// boltStore counts two flushes for each transaction.
type boltStore struct {
	*raftboltdb.BoltStore
	flushes *hashi.Flushes
}

func openBolt(dir string, flushes *hashi.Flushes) (hashi.Store, error) {
	s, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	return boltStore{s, flushes}, err
}

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
