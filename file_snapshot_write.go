package raft

import (
	"io"
	"sync/atomic"
)

// This file writes a state beside whoever makes it: checksum, file and disk take as long
// as receiving a snapshot or encoding an FSM's state, and need not wait for each other.

const (
	// stateBuffer is the size of a buffer of a stateWriter.
	stateBuffer = 128 << 10

	// stateBuffers is how many there are: one is filled, one written, and the others
	// keep either side going while the other is late.
	stateBuffers = 4

	// stateFlush is how much is written before it is synced, beside what follows: the
	// end of a snapshot need not wait for the disk to take all of it.
	stateFlush = 32 << 20
)

// stateWriter writes a file through buffers, and its checksum. Its methods are for one
// goroutine. It has two of its own from the first full buffer on, until it is ended:
// one writes and one syncs.
type stateWriter struct {
	f      file
	buffer int   // size of one
	flush  int64 // bytes between syncs

	buf    []byte // being filled
	full   chan []byte
	free   chan []byte
	failed atomic.Pointer[error] // the first failure in the background

	// Owned by the goroutine that writes while there is one.
	crc   stateCRC
	dirty int64         // written since the last sync was begun
	sync  chan struct{} // has room for one: a sync that is to be begun
	ended chan struct{} // closed after both goroutines' last access to f
}

func newStateWriter(f file, buffer int, flush int64) *stateWriter {
	return &stateWriter{f: f, buffer: buffer, flush: flush}
}

// Write may return the error of an earlier one.
func (w *stateWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if err := w.makeRoom(); err != nil {
			return n, err
		}
		free := w.buf[len(w.buf):cap(w.buf)]
		copied := copy(free, p[n:])
		w.buf = w.buf[:len(w.buf)+copied]
		n += copied
	}
	return n, nil
}

// ReadFrom writes what a reader has until its end. It is read into the buffers, which
// saves a copy.
func (w *stateWriter) ReadFrom(r io.Reader) (n int64, err error) {
	for err == nil {
		if err = w.makeRoom(); err != nil {
			break
		}
		var m int
		m, err = r.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+m]
		n += int64(m)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// makeRoom hands over a buffer that is full.
func (w *stateWriter) makeRoom() error {
	if err := w.err(); err != nil {
		return err
	}
	switch {
	case w.buf == nil:
		w.buf = make([]byte, 0, w.buffer)
		return nil
	case len(w.buf) < cap(w.buf):
		return nil
	case w.full == nil:
		w.start()
	}
	w.full <- w.buf // has room for all
	w.buf = <-w.free
	return nil
}

func (w *stateWriter) start() {
	w.full, w.free = make(chan []byte, stateBuffers), make(chan []byte, stateBuffers)
	for range stateBuffers - 1 {
		w.free <- make([]byte, 0, w.buffer)
	}
	w.sync, w.ended = make(chan struct{}, 1), make(chan struct{})
	synced := make(chan struct{})
	go func() {
		defer close(synced)
		w.runSync()
	}()
	go func() {
		defer close(w.ended)
		w.run()
		close(w.sync)
		<-synced
	}()
}

// run writes what is handed over. After a failure it drops it.
func (w *stateWriter) run() {
	for b := range w.full {
		if w.err() == nil {
			w.fail(w.put(b))
			w.wantSync(len(b))
		}
		w.free <- b[:0] // has room for all
	}
}

func (w *stateWriter) put(b []byte) error {
	_, _ = w.crc.Write(b) // a hash takes everything
	_, err := w.f.Write(b)
	return err
}

// wantSync has what is written synced, if it is much.
func (w *stateWriter) wantSync(n int) {
	if w.dirty += int64(n); w.dirty < w.flush {
		return
	}
	select {
	case w.sync <- struct{}{}:
		w.dirty = 0
	default: // the disk is behind
	}
}

func (w *stateWriter) runSync() {
	for range w.sync {
		w.fail(w.f.Sync())
	}
}

// fail keeps the first failure: a later sync may well succeed without what the one that
// failed has lost.
func (w *stateWriter) fail(err error) {
	if err != nil {
		w.failed.CompareAndSwap(nil, &err)
	}
}

func (w *stateWriter) err() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// finish writes the rest, makes everything durable and returns its checksum.
func (w *stateWriter) finish() ([]byte, error) {
	w.end()
	if err := w.err(); err != nil {
		return nil, err
	}
	if err := w.put(w.buf); err != nil {
		return nil, err
	}
	return w.crc.sum(), w.f.Sync()
}

// cancel gives up what is not written yet.
func (w *stateWriter) cancel() {
	w.fail(errSinkCancelled)
	w.end()
}

// end waits for the goroutines to end.
func (w *stateWriter) end() {
	if w.full == nil {
		return
	}
	close(w.full)
	<-w.ended
	w.full = nil
}
