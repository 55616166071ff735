package raft

import (
	"io"
	"sync"
	"sync/atomic"
)

// Future is a result that may not be there yet. Its methods may be called from
// several goroutines at once.
type Future interface {
	// Error blocks until the result is there and returns its error. Other
	// methods of a future may be called after it has returned.
	Error() error
}

// IndexFuture is a [Future] of something that became an entry of the log.
type IndexFuture interface {
	Future

	// Index is the entry's index, 0 if none was assigned.
	Index() uint64
}

// ApplyFuture is the [Future] of [Raft.Apply].
type ApplyFuture interface {
	IndexFuture

	// Response is what FSM.Apply returned on this node, nil if the entry never
	// reached the FSM.
	Response() interface{}
}

// ConfigurationFuture is the [Future] of [Raft.GetConfiguration].
type ConfigurationFuture interface {
	IndexFuture

	// Configuration must not be changed.
	Configuration() Configuration
}

// SnapshotFuture is the [Future] of [Raft.Snapshot].
type SnapshotFuture interface {
	Future

	// Open returns the snapshot for reading. It works once.
	Open() (*SnapshotMeta, io.ReadCloser, error)
}

// LeadershipTransferFuture is the [Future] of a leadership transfer.
type LeadershipTransferFuture interface {
	Future
}

// future is the common part of all futures: an error that is set exactly once
// (R15). Later attempts to set it do nothing.
type future struct {
	pending sync.WaitGroup // 1 until the error is set
	set     atomic.Bool
	err     error
}

func newFuture() *future {
	f := new(future)
	f.init()
	return f
}

func (f *future) init() { f.pending.Add(1) }

// respond completes the future.
func (f *future) respond(err error) {
	if f.set.CompareAndSwap(false, true) {
		f.err = err
		f.pending.Done()
	}
}

func (f *future) Error() error {
	f.pending.Wait()
	return f.err
}

// logFuture is the future of an entry.
type logFuture struct {
	future
	log      *Log // index and term are set by the leader; it outlives the future and the response
	response interface{}
}

func newLogFuture(l Log) *logFuture {
	f := &logFuture{log: &l}
	f.init()
	return f
}

// Index and Response are valid once Error has returned.
func (f *logFuture) Index() uint64 {
	f.pending.Wait()
	return f.log.Index
}

func (f *logFuture) Response() interface{} {
	f.pending.Wait()
	return f.response
}

// applied completes the future with the FSM's response.
func (f *logFuture) applied(resp interface{}, err error) {
	if f.set.CompareAndSwap(false, true) {
		f.response, f.err = resp, err
		f.pending.Done()
	}
}

// failed returns a future that is done.
func failed(err error) *logFuture {
	f := newLogFuture(Log{})
	f.respond(err)
	return f
}
