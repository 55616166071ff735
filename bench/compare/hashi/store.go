package hashi

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// Store is log and stable store in one.
type Store interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// Flushes counts how often a store has made the disk write what it was given. A store
// that counts is a struct of the store itself, so that it keeps every optional method
// that the library looks for, and of a Flushes; it adds to it in each method that
// writes. What a store flushes now and then for itself, when a file grows or another is
// begun, is not counted.
type Flushes struct{ n atomic.Uint64 }

// Add counts some more.
func (f *Flushes) Add(n uint64) { f.n.Add(n) }

// Count is how many there were.
func (f *Flushes) Count() uint64 { return f.n.Load() }

// BoltCommit is how many flushes a transaction of bbolt costs: one for the pages, one
// for the meta page that makes them valid.
const BoltCommit = 2

// OpenStore opens a store in a directory, which exists, and makes it count.
type OpenStore func(dir string, flushes *Flushes) (Store, error)

// common are the stores that are the same with every library.
var common = map[string]OpenStore{
	"mem":      func(string, *Flushes) (Store, error) { return memStore{raft.NewInmemStore()}, nil },
	"raft-wal": OpenRaftWAL,
}

// memStore ends with the process that has it.
type memStore struct{ *raft.InmemStore }

func (memStore) Close() error { return nil }

// raftWAL is hashicorp/raft-wal. It closes what v0.4.0 leaves open: the database of
// its metadata, whose lock would keep the directory from being opened again.
type raftWAL struct {
	*wal.WAL
	meta    metadb.BoltMetaDB
	flushes *Flushes
}

// OpenRaftWAL opens a store of hashicorp/raft-wal. Entries cost a flush; what is
// deleted and the stable values are in a bbolt file.
func OpenRaftWAL(dir string, flushes *Flushes) (_ Store, err error) {
	s := &raftWAL{flushes: flushes}
	s.WAL, err = wal.Open(dir, wal.WithMetaStore(&s.meta))
	return s, err
}

func (s *raftWAL) Close() error { return errors.Join(s.WAL.Close(), s.meta.Close()) }

func (s *raftWAL) StoreLog(l *raft.Log) error {
	s.flushes.Add(1)
	return s.WAL.StoreLog(l)
}

func (s *raftWAL) StoreLogs(l []*raft.Log) error {
	s.flushes.Add(1)
	return s.WAL.StoreLogs(l)
}

func (s *raftWAL) DeleteRange(first, last uint64) error {
	s.flushes.Add(BoltCommit)
	return s.WAL.DeleteRange(first, last)
}

func (s *raftWAL) Set(key, val []byte) error {
	s.flushes.Add(BoltCommit)
	return s.WAL.Set(key, val)
}

func (s *raftWAL) SetUint64(key []byte, val uint64) error {
	s.flushes.Add(BoltCommit)
	return s.WAL.SetUint64(key, val)
}
