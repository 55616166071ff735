package raft

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// proposal returns a future of an entry that counts size bytes.
func proposal(name string, size int) *logFuture {
	return newLogFuture(Log{Extensions: []byte(name), Data: make([]byte, size-64-len(name))})
}

func proposalNames(fs []*logFuture) string {
	var names []string
	for _, f := range fs {
		names = append(names, string(f.log.Extensions))
	}
	return strings.Join(names, " ")
}

func awake(q *proposalQueue) bool {
	select {
	case <-q.wake:
		return true
	default:
		return false
	}
}

func TestProposalQueueOrder(t *testing.T) {
	q := newProposalQueue()
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		q.put(proposal(name, 100), 0)
	}
	for _, tt := range []struct {
		maxBytes int
		want     string
	}{
		{200, "a b"},
		{199, "c"},
		{1, "d"}, // one at least
		{1000, "e"},
		{1000, ""},
	} {
		if got := proposalNames(q.take(1, tt.maxBytes)); got != tt.want {
			t.Errorf("take(%d) = %q, want %q", tt.maxBytes, got, tt.want)
		}
	}
	if q.bytes != 0 {
		t.Errorf("empty, and %d bytes", q.bytes)
	}
}

// Main is woken when there are as many proposals as it wants, or a full batch of bytes;
// never if it wants none. Less than that it does not get.
func TestProposalQueueEnough(t *testing.T) {
	q := newProposalQueue()
	q.wakeAt(2)
	q.put(proposal("a", 100), 0)
	if awake(q) || q.take(2, 1000) != nil {
		t.Error("one is enough for two")
	}
	q.put(proposal("b", 100), 0)
	if !awake(q) {
		t.Error("two have come, and main sleeps")
	}
	if q.wakeAt(3); awake(q) {
		t.Error("two are enough for three")
	}
	if q.wakeAt(1); !awake(q) {
		t.Error("one would do, and main sleeps")
	}
	q.wakeAt(10)
	if q.put(proposal("large", maxBatchBytes), 0); !awake(q) {
		t.Error("main sleeps beside a full batch")
	}
	if q.wakeAt(never); awake(q) || q.take(never, 1000) != nil {
		t.Error("main gets what it does not want")
	}
	if got := proposalNames(q.take(10, 2*maxBatchBytes)); got != "a b large" {
		t.Errorf("took %q", got)
	}
}

// Main is woken once for all that it can take at once, and again for what comes
// later.
func TestProposalQueueWakes(t *testing.T) {
	q := newProposalQueue()
	if awake(q) {
		t.Error("awake for nothing")
	}
	q.put(proposal("a", 100), 0)
	q.put(proposal("b", 100), 0)
	if !awake(q) || awake(q) {
		t.Error("not woken once")
	}
	q.take(1, 1000)
	q.put(proposal("c", 100), 0)
	if !awake(q) {
		t.Error("not woken again")
	}
}

// What was taken stays as it is, whatever comes later.
func TestProposalQueueTakenIsOurs(t *testing.T) {
	q := newProposalQueue()
	q.put(proposal("a", 100), 0)
	q.put(proposal("b", 100), 0)
	taken := q.take(1, 100)
	_ = append(taken, proposal("x", 100))
	if got := proposalNames(q.take(1, 1000)); got != "b" {
		t.Errorf("the queue holds %q, want b", got)
	}
}

// full returns a queue past its bound, with two proposals.
func full() *proposalQueue {
	q := newProposalQueue()
	q.put(proposal("a", queueBytes-1000), 0)
	q.put(proposal("b", 5000), 0) // there was room
	return q
}

func TestProposalQueueWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full()
		var wg sync.WaitGroup
		var queued []*logFuture
		for _, timeout := range []time.Duration{0, time.Hour} {
			f := proposal("late", 100)
			queued = append(queued, f)
			wg.Go(func() { q.put(f, timeout) })
		}
		synctest.Wait()
		if len(q.items) != 2 {
			t.Fatalf("%d proposals in a full queue", len(q.items))
		}
		if got := proposalNames(q.take(1, 1)); got != "a" {
			t.Fatalf("took %q", got)
		}
		wg.Wait()
		if got := proposalNames(q.take(1, 10_000)); got != "b late late" {
			t.Errorf("then took %q", got)
		}
		for _, f := range queued {
			if completed(f) {
				t.Errorf("a queued proposal has completed: %v", f.Error())
			}
		}
	})
}

func completed(f *logFuture) bool {
	done, _ := f.completed()
	return done
}

// A take that leaves the queue above its bound lets nobody in.
func TestProposalQueueNoRoomYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newProposalQueue()
		q.put(proposal("a", 100), 0)
		q.put(proposal("b", queueBytes), 0)
		f := proposal("late", 100)
		go q.put(f, time.Minute)
		synctest.Wait()
		q.take(1, 100)
		if f.Error() != ErrEnqueueTimeout {
			t.Errorf("error %v", f.Error())
		}
	})
}

func TestProposalQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full()
		f := proposal("late", 100)
		start := time.Now()
		q.put(f, 3*time.Second)
		if took := time.Since(start); took != 3*time.Second || f.Error() != ErrEnqueueTimeout {
			t.Errorf("after %v: %v", took, f.Error())
		}
		if got := proposalNames(q.take(1, 2*queueBytes)); got != "a b" {
			t.Errorf("the queue held %q", got)
		}
	})
}

// Waiting again for room does not start the timeout anew.
func TestProposalQueueTimeoutIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := full()
		f := proposal("late", 100)
		start := time.Now()
		took := make(chan time.Duration, 1)
		go func() {
			q.put(f, 3*time.Second)
			took <- time.Since(start)
		}()
		for range 5 { // there is room, and others are faster
			time.Sleep(900 * time.Millisecond)
			q.mu.Lock()
			close(q.room)
			q.room = make(chan struct{})
			q.mu.Unlock()
		}
		if err, after := f.Error(), <-took; err != ErrEnqueueTimeout || after != 3*time.Second {
			t.Errorf("after %v: %v", after, err)
		}
	})
}

// close completes what is queued, what waits for room and what comes later.
func TestProposalQueueClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newProposalQueue()
		queued, waiting, late := proposal("queued", queueBytes), proposal("waiting", 100), proposal("late", 100)
		q.put(queued, 0)
		go q.put(waiting, 0)
		synctest.Wait()
		if completed(queued) || completed(waiting) {
			t.Fatal("completed too early")
		}
		q.close(ErrRaftShutdown)
		q.put(late, 0)
		for _, f := range []*logFuture{queued, waiting, late} {
			if err := f.Error(); !errors.Is(err, ErrRaftShutdown) {
				t.Errorf("%s: %v", f.log.Extensions, err)
			}
		}
		if got := q.take(1, 2*queueBytes); got != nil {
			t.Errorf("a closed queue gives %q", proposalNames(got))
		}
	})
}

// Many callers and one taker lose nothing, and keep each caller's order.
func TestProposalQueueConcurrent(t *testing.T) {
	q := newProposalQueue()
	const callers, each = 8, 200
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				f := newLogFuture(Log{Term: uint64(c), Index: uint64(i)})
				f.log.Data = make([]byte, 100<<10)
				q.put(f, 0)
			}
		})
	}
	next := map[uint64]uint64{}
	for n := 0; n < callers*each; {
		<-q.wake
		for batch := q.take(1, 1<<20); len(batch) > 0; batch = q.take(1, 1<<20) {
			for _, f := range batch {
				if next[f.log.Term] != f.log.Index {
					t.Fatalf("caller %d: proposal %d, want %d", f.log.Term, f.log.Index, next[f.log.Term])
				}
				next[f.log.Term]++
				n++
			}
		}
	}
	wg.Wait()
}
