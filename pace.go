package raft

import "time"

// pace is when a leader takes the proposals that wait for it, so that its batches are as
// large as the load allows and nobody waits for much more than what is under way.
//
// How often a disk can flush is what bounds small writes, so a batch should have everyone
// in it. Clients that wait for one answer before they propose again split up by
// themselves, though: those who come too late for a batch make up the next one, while the
// first wait for them. So, where flushes are most of the time that a write takes:
//
//   - nothing is taken while anything is uncommitted. Servers far away are excepted: the
//     others have as long as a few of this node's flushes (hold).
//   - when all is committed, its proposers get half a flush to come back with their next,
//     which then goes together with what waits already (gather). It ends when they have
//     come, and is tried less and less often where they don't.
//
// Where flushes are a small part, stages of several batches overlap: one is taken when
// this node's disk is free and as many wait as are under way.
//
// A lone proposal waits for nothing but those before it.
type pace struct {
	flush time.Duration // how long the last batch took on this node's disk
	span  time.Duration // how long the last batch took to be committed

	hold   time.Time // the others have until then
	gather time.Time // proposers have until then, zero: they need not be waited for
	want   int       // or until so many wait

	skip, skipped int // gatherings to leave out after one in vain, and left out
}

const (
	// slowFlushes is how many of this node's flushes a write may take and be bound by
	// flushes all the same: those of a majority of seven servers on one disk, for which
	// each waits for the others', take as long as five.
	slowFlushes = 6

	minHold = time.Millisecond // as timers are no finer
	maxSkip = 127
)

// enough is how many proposals must wait to be taken, if so many entries are uncommitted.
// writing says that this node's disk has a batch.
func (p *pace) enough(now time.Time, uncommitted int, writing bool) int {
	switch {
	case uncommitted == 0 && now.Before(p.gather):
		return p.want
	case uncommitted == 0:
		return 1
	case writing:
		return never
	case !now.Before(p.hold):
		return 1
	case p.diskBound():
		return never
	default:
		return uncommitted
	}
}

// deadline is when enough changes though nothing happens, zero if never.
func (p *pace) deadline(now time.Time, uncommitted int) time.Time {
	at := p.hold
	if uncommitted == 0 {
		at = p.gather
	}
	if !now.Before(at) {
		return time.Time{}
	}
	return at
}

// diskBound reports whether flushes are what a write waits for.
func (p *pace) diskBound() bool { return slowFlushes*p.flush >= p.span }

// written takes note that this node's disk took so long for a batch.
func (p *pace) written(now time.Time, took time.Duration, uncommitted, waiting int) {
	p.flush, p.hold = took, time.Time{}
	if uncommitted > 1 || waiting > 0 {
		p.hold = now.Add(max((slowFlushes-1)*took, minHold))
	}
}

// committed takes note that n proposals are committed, the last of which took so long.
func (p *pace) committed(now time.Time, took time.Duration, n, uncommitted, waiting int) {
	p.span = took
	switch {
	case uncommitted > 0 || n+waiting < 2 || !p.diskBound():
	case p.skipped < p.skip:
		p.skipped++
	default:
		p.gather, p.want = now.Add(min(p.flush, p.span)/2), n+waiting
	}
}

// took takes note that a batch of n is taken.
func (p *pace) took(n int) {
	if p.gather.IsZero() {
		return
	}
	p.gather, p.skipped = time.Time{}, 0
	if n >= p.want {
		p.skip = 0
	} else {
		p.skip = min(2*p.skip+1, maxSkip)
	}
}
