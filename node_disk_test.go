package raft_test

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// gate is something that can be held shut for a while. Its zero value is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil: open
}

func (g *gate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pass blocks while the gate is shut.
func (g *gate) pass() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// disk is the log store and the stable store of a server: an InmemStore whose writes
// take time, hang behind a gate, or fail.
type disk struct {
	raft.InmemCommitTrackingStore
	sync    time.Duration // how long a write takes
	gate    gate
	writes  atomic.Int64 // of entries
	failure atomic.Pointer[error]
	stable  atomic.Pointer[error] // of the stable store
	reading atomic.Pointer[error] // of entries
}

// fail makes every write to the log fail, until it is called with nil.
func (d *disk) fail(err error) {
	if err == nil {
		d.failure.Store(nil)
		return
	}
	d.failure.Store(&err)
}

// failStable is fail for the stable store.
func (d *disk) failStable(err error) { d.stable.Store(&err) }

// failReads makes every read of an entry fail, until it is called with nil.
func (d *disk) failReads(err error) {
	if err == nil {
		d.reading.Store(nil)
		return
	}
	d.reading.Store(&err)
}

// GetLog is what the node reads by: a disk does not say that it reads ranges.
func (d *disk) GetLog(index uint64, e *raft.Log) error {
	if err := d.reading.Load(); err != nil {
		return *err
	}
	return d.InmemCommitTrackingStore.GetLog(index, e)
}

// flush is the part of a write that takes time.
func (d *disk) flush(failure *atomic.Pointer[error]) error {
	time.Sleep(d.sync)
	d.gate.pass()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *disk) StoreLog(e *raft.Log) error { return d.StoreLogs([]*raft.Log{e}) }

func (d *disk) StoreLogs(entries []*raft.Log) error {
	d.writes.Add(1)
	if err := d.flush(&d.failure); err != nil {
		return err
	}
	return d.InmemCommitTrackingStore.StoreLogs(entries)
}

func (d *disk) DeleteRange(lo, hi uint64) error {
	if err := d.flush(&d.failure); err != nil {
		return err
	}
	return d.InmemCommitTrackingStore.DeleteRange(lo, hi)
}

// SetAll writes the hard state. Its time counts as part of the next write of entries.
func (d *disk) SetAll(values []raft.StableValue) error {
	d.gate.pass()
	if err := d.stable.Load(); err != nil {
		return *err
	}
	return d.InmemCommitTrackingStore.SetAll(values)
}
