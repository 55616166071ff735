package raft

import "sync"

// readQueue is where reads wait for main, which takes all there are when it can start a
// round for them: a read costs no rendezvous of its own.
type readQueue struct {
	wake chan struct{} // one slot: there is something to take

	mu     sync.Mutex
	items  []reader
	closed error // not nil: nothing is accepted any more
}

// reader waits for the confirmation of a read. done is called once, by main or, if main
// has ended, by the caller of put. It must not block.
type reader interface {
	done(index uint64, err error)
}

func newReadQueue() *readQueue { return &readQueue{wake: make(chan struct{}, 1)} }

// put queues a read, or ends it with an error. It does not block.
func (q *readQueue) put(r reader) {
	if err := q.tryPut(r); err != nil {
		r.done(0, err)
	}
}

func (q *readQueue) tryPut(r reader) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	q.items = append(q.items, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// waiting reports whether there are any.
func (q *readQueue) waiting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) > 0
}

// take returns all reads that wait.
func (q *readQueue) take() []reader {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}

// refuse ends what waits with err.
func (q *readQueue) refuse(err error) {
	for _, r := range q.take() {
		r.done(0, err)
	}
}

// close ends what waits and all that comes later with err.
func (q *readQueue) close(err error) {
	q.mu.Lock()
	q.closed = err
	q.mu.Unlock()
	q.refuse(err)
}
