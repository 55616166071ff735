package rafttest

import (
	"slices"
	"time"
)

// agenda is what is to be done, in the order of time. It is for one goroutine, on
// which everything that it holds runs.
type agenda struct {
	items []agendaItem // the next one first
}

type agendaItem struct {
	at time.Time
	do func()
}

// in has something done after a while. What is to be done at one time is done in the
// order in which it was put in.
func (a *agenda) in(d time.Duration, do func()) {
	at := time.Now().Add(d)
	i := len(a.items)
	for i > 0 && a.items[i-1].at.After(at) {
		i--
	}
	a.items = slices.Insert(a.items, i, agendaItem{at, do})
}

// until does everything up to a time, and returns then, or as soon as enough says so.
func (a *agenda) until(end time.Time, enough func() bool) {
	for !enough() {
		if len(a.items) == 0 || a.items[0].at.After(end) {
			time.Sleep(time.Until(end))
			return
		}
		item := a.items[0]
		a.items = slices.Delete(a.items, 0, 1)
		time.Sleep(time.Until(item.at))
		item.do()
	}
}
