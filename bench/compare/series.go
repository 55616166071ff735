package main

import (
	"maps"
	"slices"
)

// A series is what one metric was in each round in which it was measured.
type series map[int]float64

// over returns the ratio of a to b in each round that has both: within a round both ran
// on the same machine in the same minute.
func (a series) over(b series) series {
	ratios := series{}
	for round, value := range a {
		if by, ok := b[round]; ok && by != 0 {
			ratios[round] = value / by
		}
	}
	return ratios
}

// bound returns the rate that a client has who waits for one operation of each of some
// limits in turn. A limit is given by the rate of so many who worked at the same time.
func bound(parts ...limitRate) series {
	rates := series{}
	for round := range parts[0].rate {
		seconds, complete := 0.0, true
		for _, p := range parts {
			rate := p.rate[round]
			complete = complete && rate > 0
			seconds += float64(p.workers) / rate
		}
		if complete {
			rates[round] = 1 / seconds
		}
	}
	return rates
}

// limitRate is what some workers did per second, all together.
type limitRate struct {
	rate    series
	workers int
}

func (a series) sorted() []float64 { return slices.Sorted(maps.Values(a)) }

// median returns the middle value, or the mean of the two in the middle. There must be
// one.
func (a series) median() float64 {
	s := a.sorted()
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// spread returns the smallest and the largest value. There must be one.
func (a series) spread() (low, high float64) {
	s := a.sorted()
	return s[0], s[len(s)-1]
}
