package main

import "sync"

// A mailbox hands values from any goroutine to one, which takes all that wait.
type mailbox[T any] struct {
	ready chan struct{} // holds a token when values may wait

	mu      sync.Mutex
	waiting []T
}

func newMailbox[T any]() *mailbox[T] {
	return &mailbox[T]{ready: make(chan struct{}, 1)}
}

func (m *mailbox[T]) put(value T) {
	m.mu.Lock()
	m.waiting = append(m.waiting, value)
	first := len(m.waiting) == 1
	m.mu.Unlock()
	if !first {
		return // whoever put the first one left a token
	}
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take returns all that waits, in order. It reuses last, the batch that it returned
// before.
func (m *mailbox[T]) take(last []T) []T {
	clear(last)
	m.mu.Lock()
	defer m.mu.Unlock()
	batch := m.waiting
	m.waiting = last[:0]
	return batch
}
