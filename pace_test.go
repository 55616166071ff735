package raft

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// Where flushes are what a write waits for, all that is under way is waited for.
func TestPaceDiskBound(t *testing.T) {
	now := time.Now()
	var p pace
	for _, tt := range []struct {
		what        string
		do          func()
		uncommitted int
		writing     bool
		want        int
		wait        time.Duration // until that changes
	}{
		{"at first", func() {}, 0, false, 1, 0},
		{"two are written", func() {}, 2, true, never, 0},
		{"the disk is free", func() { p.written(now, 8*ms, 2, 1) }, 2, false, never, 40 * ms},
		{"the others take long", func() { now = now.Add(40 * ms) }, 2, false, 1, 0},
		{"they have done it", func() { p.committed(now, 16*ms, 2, 0, 1) }, 0, false, 3, 4 * ms},
		{"nobody has come back", func() { now = now.Add(4 * ms) }, 0, false, 1, 0},
		{"one is taken", func() { p.took(1) }, 1, true, never, 0},
		{"after one in vain", func() { p.committed(now, 16*ms, 1, 0, 1) }, 0, false, 1, 0},
		{"and again", func() { p.took(1); p.committed(now, 16*ms, 1, 0, 1) }, 0, false, 2, 4 * ms},
		{"both have come", func() { p.took(2); p.committed(now, 16*ms, 2, 0, 0) }, 0, false, 2, 4 * ms},
		{"a lone one", func() { p.took(2); p.committed(now, 16*ms, 1, 0, 0) }, 0, false, 1, 0},
		{"it is written, and nobody waits", func() { p.written(now, 8*ms, 1, 0) }, 1, false, 1, 0},
		{"a flush quicker than timers are", func() { p.written(now, ms/8, 3, 1) }, 3, false, 3, ms},
		{"the leader's disk is the last", func() { p.committed(now, 9*ms, 3, 0, 0) }, 0, true, 1, 0},
	} {
		tt.do()
		wait := time.Duration(0)
		if at := p.deadline(now, tt.uncommitted); !at.IsZero() {
			wait = at.Sub(now)
		}
		if got := p.enough(now, tt.uncommitted, tt.writing); got != tt.want || wait != tt.wait {
			t.Errorf("%s: %d are enough, for %v; want %d, for %v", tt.what, got, wait, tt.want, tt.wait)
		}
	}
}

// Where they are not, as many are taken as are under way.
func TestPaceNotDiskBound(t *testing.T) {
	now := time.Now()
	var p pace
	p.written(now, ms/10, 4, 1)
	p.committed(now, 2*ms, 2, 2, 1)
	if got := p.enough(now, 2, false); got != 2 {
		t.Errorf("%d are enough behind 2", got)
	}
	p.committed(now, 2*ms, 2, 0, 1)
	if got := p.enough(now, 0, false); got != 1 {
		t.Errorf("%d are enough behind none", got)
	}
}

// Gatherings in vain become rare, and one that succeeds makes them usual again.
func TestPaceInVain(t *testing.T) {
	now := time.Now()
	p := pace{flush: ms}
	gathered := func(rounds, come int) (n int) {
		for range rounds {
			p.committed(now, ms, 4, 0, 0)
			if p.enough(now, 0, false) > 1 {
				n++
			}
			p.took(come)
		}
		return n
	}
	if n := gathered(1000, 3); n < 10 || n > 16 {
		t.Errorf("%d of 1000 gatherings in vain", n)
	}
	if n := gathered(1000, 4); n < 1000-maxSkip {
		t.Errorf("%d of 1000 gatherings that succeed", n)
	}
}
