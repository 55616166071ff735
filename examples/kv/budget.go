package main

import "sync/atomic"

// A budget bounds the memory that values on their way into the log may take. It
// refuses rather than waits: a waiting request holds memory, too.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reports whether there was room for n bytes; give returns them.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }
