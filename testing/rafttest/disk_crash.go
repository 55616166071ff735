package rafttest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// This file is what happens to a write: it takes time, hangs, fails, or is what a
// crash interrupts.

// boot is a Disk's time between two crashes.
type boot struct {
	dead   chan struct{}  // closed by the crash, under the Disk's lock
	over   chan struct{}  // closed when the crash has done what it does
	using  sync.WaitGroup // calls that use the stores; none begins once it is dead
	staged atomic.Uint64  // the commit index for the next entries, 0: none

	// Guarded by the Disk's lock.
	writes []*write // those that have begun and not reached the stores yet
}

func newBoot() *boot { return &boot{dead: make(chan struct{}), over: make(chan struct{})} }

func (b *boot) crashed() bool {
	select {
	case <-b.dead:
		return true
	default:
		return false
	}
}

// write is a change of the stores.
type write struct {
	// do does that fraction of it, and says how many of its parts these were.
	do func(fraction) (done, total int, err error)

	stable  bool // it is of the stable store
	instant bool // it takes no time

	// prepare, called before do, returns what takes it back. Without prepare the
	// write empties the cache of a disk that lies.
	prepare func() (revert func())
}

// fraction is how much of a write is done: 1 is all of it.
type fraction float64

// of returns how many of n parts that is. A fraction drawn from [0,1) gives each
// number from 0 to n the same chance.
func (f fraction) of(n int) int { return min(int(float64(f)*float64(n+1)), n) }

// lie is a write that was acknowledged and is in the cache of a disk that lies.
type lie struct {
	acknowledged time.Time
	revert       func()
}

// lieTime is for how long a write stays in the cache.
const lieTime = 100 * time.Millisecond

// read uses the stores, unless the boot is over.
func (d *Disk) read(b *boot, do func() error) error {
	d.mu.Lock()
	if b.crashed() {
		d.mu.Unlock()
		return ErrCrashed
	}
	b.using.Add(1)
	d.mu.Unlock()
	defer b.using.Done()
	return do()
}

// write carries a write out, unless the boot is over by then.
func (d *Disk) write(b *boot, w *write, count *int) error {
	latency, ok := d.begin(b, w, count)
	if !ok {
		return ErrCrashed
	}
	time.Sleep(latency) // not a timer with a channel: of those a bubble takes few
	d.gate.pass(b.dead)
	how, err := d.reach(b, w)
	if err == ErrCrashed {
		<-b.over // until then the crash uses what the caller has given
		return err
	}
	defer b.using.Done()
	return d.carryOut(w, how, err)
}

// begin registers a write as under way, and draws its latency.
func (d *Disk) begin(b *boot, w *write, count *int) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.crashed() {
		return 0, false
	}
	*count++
	b.writes = append(b.writes, w)
	if w.instant {
		return 0, true
	}
	return d.latency.draw(d.rng), true
}

// reach is where a write meets the stores: it draws how much of it is done, and the
// error that it fails with. After a crash there is nothing left to do: the crash
// has done of it what was to be done.
func (d *Disk) reach(b *boot, w *write) (fraction, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.crashed() {
		return 0, ErrCrashed
	}
	b.using.Add(1)
	b.writes = slices.DeleteFunc(b.writes, func(o *write) bool { return o == w })
	switch {
	case w.stable && d.stableFailure != nil:
		d.counts.Failed++
		return 0, d.stableFailure
	case !w.stable && d.failure != nil:
		d.counts.Failed++
		return fraction(d.rng.Float64()), d.failure
	default:
		return 1, nil
	}
}

// carryOut does a write, or as much as is done of one that fails with err.
func (d *Disk) carryOut(w *write, how fraction, err error) error {
	revert := d.remember(w)
	done, total, failure := w.do(how)
	d.count(done, total)
	if err == nil {
		err = failure
	}
	if err == nil {
		d.cache(revert)
	}
	return err
}

// remember prepares to take a write back, if the disk lies.
func (d *Disk) remember(w *write) (revert func()) {
	d.mu.Lock()
	lying := d.lying
	d.mu.Unlock()
	if !lying || w.prepare == nil {
		return nil
	}
	return w.prepare()
}

// cache notes that a write was acknowledged. Nil for revert empties the cache.
func (d *Disk) cache(revert func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if revert == nil {
		d.volatile = nil
		return
	}
	now := time.Now()
	d.volatile = slices.DeleteFunc(d.volatile, func(l lie) bool { return now.Sub(l.acknowledged) > lieTime })
	d.volatile = append(d.volatile, lie{now, revert})
}

func (d *Disk) drawFraction() fraction {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fraction(d.rng.Float64())
}

// count counts a write that was done in part.
func (d *Disk) count(done, total int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if 0 < done && done < total {
		d.counts.Torn++
	}
}

// Crash is a loss of power. The stores handed out so far are dead: every call
// returns [ErrCrashed] and touches nothing, and calls that block return, those that
// take their latency when that has passed. A write under way was not done at all, in
// part, or in full: of entries some from the first on, of a snapshot what was
// written of it. A batch of the stable store is done or not done. Finished writes
// stay.
//
// When Crash returns the stores handed out from then on show what is left. Other
// faults stay as they are.
func (d *Disk) Crash() { d.end(true) }

// retire is what is left of Crash when a process ends and the power stays.
func (d *Disk) retire() { d.end(false) }

func (d *Disk) end(powerLost bool) {
	b := d.kill()
	if b == nil {
		return
	}
	b.using.Wait() // from here on nobody else uses the stores
	for _, w := range b.writes {
		done, total, _ := w.do(d.drawFraction()) // nobody is left to hear of an error
		d.count(done, total)
	}
	if powerLost {
		d.forget()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if powerLost {
		d.counts.Crashes++
	}
	d.boot = newBoot()
	close(b.over)
}

// kill ends the boot. It returns nil if that has happened already.
func (d *Disk) kill() *boot {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.boot
	if b.crashed() {
		return nil
	}
	close(b.dead)
	return b
}

// forget takes back some of what is in the cache of a disk that lies, the latest
// first.
func (d *Disk) forget() {
	for _, l := range d.drawForgotten() {
		l.revert()
	}
}

// drawForgotten empties the cache and returns what of it is forgotten, the latest
// first.
func (d *Disk) drawForgotten() []lie {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	lies := slices.DeleteFunc(d.volatile, func(l lie) bool { return now.Sub(l.acknowledged) > lieTime })
	d.volatile = nil
	forgotten := lies[d.rng.IntN(len(lies)+1):]
	d.counts.Forgotten += len(forgotten)
	slices.Reverse(forgotten)
	return forgotten
}
