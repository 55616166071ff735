package main

import (
	"sync"
	"testing"
)

// Whoever waits for the token of a mailbox gets everything, in the order of each sender.
func TestMailbox(t *testing.T) {
	const senders, each = 4, 5000
	m := newMailbox[[2]int]()
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			for i := range each {
				m.put([2]int{s, i})
			}
		})
	}
	var (
		next  [senders]int
		batch [][2]int
	)
	for got := 0; got < senders*each; got += len(batch) {
		<-m.ready
		batch = m.take(batch)
		for _, v := range batch {
			if s, i := v[0], v[1]; i != next[s] {
				t.Fatalf("sender %d: got %d, want %d", s, i, next[s])
			}
			next[v[0]]++
		}
	}
	sending.Wait()
	if rest := m.take(nil); len(rest) > 0 {
		t.Errorf("%d values more than were sent", len(rest))
	}
}
