package rafttest

import (
	"math/rand/v2"
	"time"
)

// span is a range of durations, both ends included.
type span struct{ min, max time.Duration }

// newSpan returns the span between two durations, none below 0.
func newSpan(a, b time.Duration) span {
	a, b = max(a, 0), max(b, 0)
	return span{min(a, b), max(a, b)}
}

func (s span) draw(rng *rand.Rand) time.Duration {
	if s.min == s.max {
		return s.min
	}
	return s.min + time.Duration(rng.Int64N(int64(s.max-s.min)+1))
}
