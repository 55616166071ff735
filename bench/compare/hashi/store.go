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

// Flushes counts how often stores have made the disk write what they were given. What a
// store flushes now and then for itself, when a file grows or another is begun, is not
// counted.
type Flushes struct{ n atomic.Uint64 }

// Count is how many there were.
func (f *Flushes) Count() uint64 { return f.n.Load() }

// Costs are how many flushes a store needs for a call of each kind.
type Costs struct{ Append, Delete, Set uint64 }

// BoltCommit is how many flushes a transaction of bbolt costs: one for the pages, one
// for the meta page that makes them valid.
const BoltCommit = 2

// BoltCosts are those of a store in which every call is a transaction.
var BoltCosts = Costs{Append: BoltCommit, Delete: BoltCommit, Set: BoltCommit}

// Counting counts what a store flushes. A store that counts is a struct of a Counting and,
// one level deeper, of the store itself:
//
//	type boltStore struct {
//		Counting
//		boltMethods
//	}
//
//	type boltMethods struct{ *raftboltdb.BoltStore }
//
// Then the methods that write are those of Counting, which hide the deeper ones, and
// every optional method that the library looks for is still there.
type Counting struct {
	store   Store
	flushes *Flushes
	costs   Costs
}

// NewCounting counts what store flushes, in flushes.
func NewCounting(store Store, flushes *Flushes, costs Costs) Counting {
	return Counting{store, flushes, costs}
}

// StoreLog implements [raft.LogStore].
func (c *Counting) StoreLog(l *raft.Log) error {
	c.flushes.n.Add(c.costs.Append)
	return c.store.StoreLog(l)
}

// StoreLogs implements [raft.LogStore].
func (c *Counting) StoreLogs(l []*raft.Log) error {
	c.flushes.n.Add(c.costs.Append)
	return c.store.StoreLogs(l)
}

// DeleteRange implements [raft.LogStore].
func (c *Counting) DeleteRange(first, last uint64) error {
	c.flushes.n.Add(c.costs.Delete)
	return c.store.DeleteRange(first, last)
}

// Set implements [raft.StableStore].
func (c *Counting) Set(key, val []byte) error {
	c.CountSet()
	return c.store.Set(key, val)
}

// SetUint64 implements [raft.StableStore].
func (c *Counting) SetUint64(key []byte, val uint64) error {
	c.CountSet()
	return c.store.SetUint64(key, val)
}

// CountSet counts a call that sets values and that not every library knows.
func (c *Counting) CountSet() { c.flushes.n.Add(c.costs.Set) }

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
	Counting
	walMethods
	meta *metadb.BoltMetaDB
}

type walMethods struct{ *wal.WAL }

var _ raft.MonotonicLogStore = (*raftWAL)(nil)

// OpenRaftWAL opens a store of hashicorp/raft-wal. Entries cost a flush; what is
// deleted and the stable values are in a bbolt file.
func OpenRaftWAL(dir string, flushes *Flushes) (Store, error) {
	meta := new(metadb.BoltMetaDB)
	s, err := wal.Open(dir, wal.WithMetaStore(meta))
	costs := Costs{Append: 1, Delete: BoltCommit, Set: BoltCommit}
	return &raftWAL{NewCounting(s, flushes, costs), walMethods{s}, meta}, err
}

func (s *raftWAL) Close() error { return errors.Join(s.WAL.Close(), s.meta.Close()) }
