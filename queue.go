package raft

import (
	"math"
	"sync"
	"time"
)

// proposalQueue is where proposals wait for main. It is bounded by bytes; past the
// bound callers wait, up to their timeout. Main is woken by one slot when there are as
// many as it wants and takes all there is, so a proposal costs no rendezvous of its own.
type proposalQueue struct {
	wake chan struct{} // one slot: there is enough to take

	mu     sync.Mutex
	items  []*logFuture
	bytes  int
	enough int           // proposals to wake main for
	closed error         // not nil: nothing is accepted any more
	room   chan struct{} // closed and replaced when there is room again
}

// queueBytes bounds the proposals that wait.
const queueBytes = 32 << 20

func newProposalQueue() *proposalQueue {
	return &proposalQueue{wake: make(chan struct{}, 1), enough: 1, room: make(chan struct{})}
}

// put queues f, or completes it with an error. It blocks while the queue is full,
// for timeout at most if that is positive.
func (q *proposalQueue) put(f *logFuture, timeout time.Duration) {
	var expired <-chan time.Time
	for {
		room, err := q.tryPut(f)
		if err != nil {
			f.respond(err)
			return
		}
		if room == nil {
			return
		}
		if timeout > 0 && expired == nil {
			t := time.NewTimer(timeout)
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-room:
		case <-expired:
			f.respond(ErrEnqueueTimeout)
			return
		}
	}
}

// tryPut queues f if there is room, else it returns what to wait for.
func (q *proposalQueue) tryPut(f *logFuture) (room <-chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return nil, q.closed
	}
	if q.bytes >= queueBytes {
		return q.room, nil
	}
	q.items = append(q.items, f)
	q.bytes += logSize(f.log)
	q.signal()
	return nil, nil
}

// never is more proposals than there can be.
const never = math.MaxInt

// wakeAt makes so many proposals, or a full batch of bytes, what main is woken for.
func (q *proposalQueue) wakeAt(enough int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.enough = enough
	q.signal()
}

// signal wakes main if there is enough.
func (q *proposalQueue) signal() {
	if !q.has(q.enough) {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *proposalQueue) has(enough int) bool {
	return len(q.items) >= enough || enough != never && q.bytes >= maxBatchBytes
}

// len is how many proposals wait.
func (q *proposalQueue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

// take returns the proposals at the head of the queue, within a bound of bytes but
// one at least, if there are enough.
func (q *proposalQueue) take(enough, maxBytes int) []*logFuture {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.has(enough) {
		return nil
	}
	n, size := 0, 0
	for n < len(q.items) {
		s := logSize(q.items[n].log)
		if n > 0 && size+s > maxBytes {
			break
		}
		size += s
		n++
	}
	if n == 0 {
		return nil
	}
	taken := q.items[:n:n]
	if n == len(q.items) {
		q.items = nil
	} else {
		q.items = q.items[n:]
	}
	if q.bytes >= queueBytes && q.bytes-size < queueBytes {
		close(q.room)
		q.room = make(chan struct{})
	}
	q.bytes -= size
	return taken
}

// refuse completes what waits with err.
func (q *proposalQueue) refuse(err error) {
	for _, f := range q.take(1, math.MaxInt) {
		f.respond(err)
	}
}

// close completes what waits and all that comes later with err.
func (q *proposalQueue) close(err error) {
	q.mu.Lock()
	items := q.items
	q.items, q.bytes, q.closed = nil, 0, err
	close(q.room)
	q.room = make(chan struct{})
	q.mu.Unlock()
	for _, f := range items {
		f.respond(err)
	}
}
