package raft

import "sync"

// writeQueue is what is to be written to a connection, in this order, and whether somebody
// writes: a write loop runs only while there is something for it.
type writeQueue[T any] struct {
	mu      sync.Mutex
	waiting []*T
	writing bool
	ended   bool // there will be no more
}

// add adds an item, and reports whether a write loop has to be started for it.
func (q *writeQueue[T]) add(x *T) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, x)
	first, q.writing = !q.writing, true
	return first
}

// takeTurn is add for who writes an item itself, if there is no write loop.
func (q *writeQueue[T]) takeTurn() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing {
		return false
	}
	q.writing = true
	return true
}

// next removes the first item, nil if there is none.
func (q *writeQueue[T]) next() *T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	x := q.waiting[0]
	q.waiting[0] = nil
	if q.waiting = q.waiting[1:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return x
}

// rest ends the write loop if there is nothing to write. It reports whether it has, and
// whether there will be nothing any more.
func (q *writeQueue[T]) rest() (done, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		return false, false
	}
	q.writing = false
	return true, q.ended
}

// end says that there will be no more, and reports whether nobody writes.
func (q *writeQueue[T]) end() (idle bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	return !q.writing
}
