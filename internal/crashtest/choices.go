// Package crashtest says what a disk may hold after a crash of the machine. Tests
// open every such state, or many of them, and check that nothing is missing that was
// acknowledged.
//
// A disk keeps what was flushed. Of what was written since, it may keep any part, in
// any order, in units of [Sector] bytes.
package crashtest

import (
	"flag"
	"math/rand/v2"
)

// Sector is what a disk writes whole or not at all.
const Sector = 512

var limit = flag.Int("crash.states", 0, "how many states to try of each crash; 0 for a few")

// Limit is how many states of one crash a test should try: few, unless the flag
// -crash.states says otherwise.
func Limit(few int) int {
	if *limit > 0 {
		return *limit
	}
	return few
}

// Choose decides one thing that a crash leaves open, by a number below n: 0 for what is
// so if nothing has reached the disk, n-1 if everything has.
type Choose func(n int) int

// States returns what build makes of choices. It must make the same of the same. There
// are all states if that is no more than limit; otherwise nothing, everything, and a
// sample, which is always the same for a seed.
func States[S any](limit int, seed uint64, build func(Choose) S) (states []S, all bool) {
	t := tape{}
	for len(states) < limit {
		states = append(states, build(t.choose))
		if !t.next() {
			return states, true
		}
	}
	states = []S{build(Nothing), build(Everything)}
	for i := uint64(0); len(states) < limit; i++ {
		states = append(states, build(Some(seed, i)))
	}
	return states, false
}

// Nothing keeps nothing of what was not flushed.
func Nothing(int) int { return 0 }

// Everything keeps it all.
func Everything(n int) int { return n - 1 }

// Some returns one of a sequence of samples. Some of them keep nearly nothing, others
// nearly everything: the states in which one write is missing, or came alone, are those
// that show a missing flush.
func Some(seed, i uint64) Choose {
	r := rand.New(rand.NewPCG(seed, i))
	keep := []float64{0.1, 0.5, 0.9}[i%3]
	return func(n int) int {
		switch {
		case n > 2 && r.IntN(4) == 0:
			return r.IntN(n)
		case r.Float64() < keep:
			return n - 1
		default:
			return 0
		}
	}
}

// tape is a sequence of choices that counts through all sequences.
type tape struct {
	made, of []int
	at       int
}

func (t *tape) choose(n int) int {
	if t.at == len(t.made) {
		t.made, t.of = append(t.made, 0), append(t.of, n)
	}
	t.at++
	return t.made[t.at-1]
}

// next goes on to the next sequence, and reports whether there is one.
func (t *tape) next() bool {
	t.at = 0
	for i := len(t.made) - 1; i >= 0; i-- {
		if t.made[i]++; t.made[i] < t.of[i] {
			return true
		}
		t.made, t.of = t.made[:i], t.of[:i]
	}
	return false
}
