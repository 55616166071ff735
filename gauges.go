package raft

import (
	"math"
	"time"

	"github.com/hashicorp/raft/internal/metrics"
)

// This file is about metrics that belong to no single event.

// saturation measures the share of time that a goroutine is busy. It is reported at
// most once a second, and only when something happens.
type saturation struct {
	name  string // of the thread
	begin time.Time
	idle  time.Duration
}

// waited records that the goroutine has waited from start to end.
func (s *saturation) waited(start, end time.Time) {
	if s.begin.IsZero() {
		s.begin = start
	}
	s.idle += end.Sub(start)
	total := end.Sub(s.begin)
	if total < time.Second {
		return
	}
	share := 1 - float64(s.idle)/float64(total)
	metrics.AddSample([]string{"raft", "thread", s.name, "saturation"}, float32(math.Round(share*100)/100))
	s.begin, s.idle = end, 0
}

// gaugeInterval is how often gauges are emitted.
const gaugeInterval = 10 * time.Second

// checkGaugesDue has the gauges emitted now and then, by one worker at most: a store that
// hangs keeps it.
func (r *Raft) checkGaugesDue() {
	if r.now.Before(r.gaugesAt) {
		return
	}
	r.gaugesAt = r.now.Add(gaugeInterval)
	if r.gauging.CompareAndSwap(false, true) {
		r.spawn(r.emitGauges)
	}
}

// emitGauges reports what can only be looked at: how far the disk is behind (L3), and,
// on the leader, how old the log is.
func (r *Raft) emitGauges() {
	defer r.gauging.Store(false)
	r.emitDisk()
	if r.State() == Leader {
		metrics.SetGauge([]string{"raft", "leader", "oldestLogAge"}, r.oldestLogAge())
	}
}

func (r *Raft) emitDisk() {
	s := r.status()
	metrics.SetGauge([]string{"raft", "store", "behind"}, float32(s.last.index-min(s.durable, s.last.index)))
	age := time.Duration(0)
	if !s.writing.IsZero() {
		age = time.Since(s.writing)
	}
	metrics.SetGauge([]string{"raft", "store", "writeAge"}, float32(age.Milliseconds()))
}

// oldestLogAge is the age of the first entry in the store in milliseconds, 0 if it is
// not known.
func (r *Raft) oldestLogAge() float32 {
	first, err := r.logs.FirstIndex()
	if err != nil || first == 0 {
		return 0
	}
	var e Log
	if r.logs.GetLog(first, &e) != nil || e.AppendedAt.IsZero() {
		return 0
	}
	return float32(time.Since(e.AppendedAt).Milliseconds())
}
