package raft_test

import (
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// R16. Nothing is written after the failed write that ends a node, not even what was
// waiting its turn: it would lie behind a gap, or on top of what the failed write was to
// delete, and the next start would take all of it for one log.
func TestNoWriteAfterTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := raft.DefaultConfig()
		conf.LocalID, conf.LogOutput = "a", io.Discard
		store := &lastWrite{InmemStore: raft.NewInmemStore()}
		snaps := raft.NewInmemSnapshotStore()
		addr, trans := raft.NewInmemTransport("a")
		all := raft.Configuration{Servers: []raft.Server{{ID: conf.LocalID, Address: addr}}}
		if err := raft.BootstrapCluster(conf, store, store, snaps, trans, all); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(conf, &rafttest.MockFSM{}, store, store, snaps, trans)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		last := r.LastIndex()

		store.fails.Store(true)
		r.Apply([]byte("x"), 0)
		synctest.Wait() // it is being written
		r.Apply([]byte("y"), 0)
		time.Sleep(time.Minute)
		if r.State() != raft.Shutdown {
			t.Errorf("the node is a %v after an I/O error", r.State())
		}
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		if got, _ := store.LastIndex(); got != last {
			t.Errorf("entries up to %d are on disk, want none after the failed write of %d", got, last+1)
		}
	})
}

// lastWrite is a store of which one write takes a second and fails.
type lastWrite struct {
	*raft.InmemStore
	fails atomic.Bool
}

func (s *lastWrite) StoreLogs(entries []*raft.Log) error {
	if s.fails.CompareAndSwap(true, false) {
		time.Sleep(time.Second)
		return syscall.EIO
	}
	return s.InmemStore.StoreLogs(entries)
}
