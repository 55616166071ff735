package raft

import (
	"testing"
	"time"
)

// Gauges come every ten seconds, and a store that hangs keeps one worker, not ever more.
func TestGaugesHang(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "1"})
	r := s.node("n1").raft
	var workers []func()
	r.spawn = func(f func()) { workers = append(workers, f) }
	pass := func(d time.Duration, want int) {
		t.Helper()
		s.now = s.now.Add(d)
		r.beginStep(s.now)
		r.checkGaugesDue()
		if len(workers) != want {
			t.Errorf("%d workers, want %d", len(workers), want)
		}
	}
	pass(gaugeInterval-1, 0)
	pass(1, 1)
	pass(gaugeInterval, 1) // the first has not come back
	workers[0]()
	pass(1, 1)
	pass(gaugeInterval, 2)
}
