package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// The checks are functions of what was recorded, so that each can be shown to
// fail.

// write is a command that a client sent. Start and End are on the driver's
// clock; End is when the outcome was known.
type write struct {
	Client, Seq uint32
	Sum         uint64
	Node        string
	Start, End  time.Duration
	control.Result
}

func (w write) String() string {
	return fmt.Sprintf("write %d/%d by %s at %v..%v: %s index %d term %d %s",
		w.Client, w.Seq, w.Node, w.Start.Round(time.Millisecond), w.End.Round(time.Millisecond),
		w.Outcome, w.Index, w.Term, w.Error)
}

type writeID struct{ client, seq uint32 }

// faults collects what is wrong, up to a bound: one cause often has thousands of
// effects.
type faults []error

const maxFaults = 20

func (f *faults) add(format string, args ...any) {
	if len(*f) < maxFaults {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

func (f faults) err() error { return errors.Join(f...) }

// checkHistory compares what clients were told with what was applied: an
// acknowledged write is where it was said to be, a refused one nowhere, every
// other at most once, and what was asked for after an acknowledgement comes
// after what was acknowledged.
func checkHistory(writes []write, applied []control.Record) error {
	var wrong faults
	at := map[writeID]control.Record{}
	for _, rec := range applied {
		id := writeID{rec.Client, rec.Seq}
		if first, twice := at[id]; twice {
			wrong.add("applied twice: %+v and %+v", first, rec)
		}
		at[id] = rec
	}
	for _, w := range writes {
		id := writeID{w.Client, w.Seq}
		rec, found := at[id]
		delete(at, id)
		switch {
		case w.Outcome == control.Acked && w.Error != "":
			wrong.add("odd success: %v", w)
		case w.Outcome == control.Acked && !found:
			wrong.add("acknowledged and lost: %v", w)
		case w.Outcome == control.Acked && (rec.Index != w.Index || rec.Term != w.Term):
			wrong.add("acknowledged elsewhere: %v, applied as %+v", w, rec)
		case w.Outcome == control.Refused && found:
			wrong.add("refused and applied: %v, applied as %+v", w, rec)
		case found && rec.Sum != w.Sum:
			wrong.add("changed on the way: %v, applied as %+v, sent %x", w, rec, w.Sum)
		}
	}
	for _, rec := range at {
		wrong.add("applied and never sent: %+v", rec)
	}
	checkRealTime(&wrong, writes, applied)
	return wrong.err()
}

// checkRealTime holds that a write has a larger index than every write that was
// acknowledged before it was sent.
func checkRealTime(wrong *faults, writes []write, applied []control.Record) {
	at := map[writeID]uint64{}
	for _, rec := range applied {
		at[writeID{rec.Client, rec.Seq}] = rec.Index
	}
	var acked []write
	for _, w := range writes {
		if w.Outcome == control.Acked {
			acked = append(acked, w)
		}
	}
	byStart := slices.Clone(writes)
	slices.SortFunc(byStart, func(a, b write) int { return cmp.Compare(a.Start, b.Start) })
	slices.SortFunc(acked, func(a, b write) int { return cmp.Compare(a.End, b.End) })
	var before write // of those acknowledged so far, the one with the largest index
	for _, w := range byStart {
		for len(acked) > 0 && acked[0].End < w.Start {
			if acked[0].Index > before.Index {
				before = acked[0]
			}
			acked = acked[1:]
		}
		if index, found := at[writeID{w.Client, w.Seq}]; found && index <= before.Index {
			wrong.add("order: %v has index %d, after %v", w, index, before)
		}
	}
}

// checkSame compares what two nodes applied.
func checkSame(a, b string, x, y []control.Record) error {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return fmt.Errorf("%s and %s differ at command %d: %+v and %+v", a, b, i, x[i], y[i])
		}
	}
	if len(x) != len(y) {
		return fmt.Errorf("%s applied %d commands, %s %d", a, len(x), b, len(y))
	}
	return nil
}

// checkPrefix holds that an old server had applied nothing else than what a present
// one has.
func checkPrefix(old, present string, x, y []control.Record) error {
	return checkSame(old, present, x, y[:min(len(x), len(y))])
}

// checkSequence holds that indexes rise and terms do not fall along what one node
// applied.
func checkSequence(name string, recs []control.Record) error {
	for i := 1; i < len(recs); i++ {
		if recs[i].Index <= recs[i-1].Index || recs[i].Term < recs[i-1].Term {
			return fmt.Errorf("%s applied %+v and then %+v", name, recs[i-1], recs[i])
		}
	}
	return nil
}

// dump is the log store of a node at rest.
type dump struct {
	node     string
	snapshot uint64 // index of its newest snapshot
	entries  []control.Entry
}

// checkLogs compares two logs where both have entries: two entries of the same
// index are the same entry, for everything is committed by now. Entries that lie
// below a node's own snapshot are left out: hashicorp/raft keeps what was there
// when it installs a snapshot, even of a history that never was. Their number is
// returned.
func checkLogs(a, b dump) (dead int, err error) {
	var wrong faults
	at := map[uint64]control.Entry{}
	for _, e := range a.entries {
		at[e.Index] = e
	}
	for _, e := range b.entries {
		other, both := at[e.Index]
		switch {
		case !both || e == other:
		case e.Index <= max(a.snapshot, b.snapshot):
			dead++
		default:
			wrong.add("%s and %s differ at index %d: %+v and %+v", a.node, b.node, e.Index, other, e)
		}
	}
	return dead, wrong.err()
}

// leaders knows who led which term, from whatever was seen. The zero value knows
// nothing.
type leaders struct {
	of    map[uint64]string
	terms map[string]uint64
}

// errTermFell is what see wraps if a node's term fell.
var errTermFell = errors.New("its term fell")

// see takes in a status: at most one leader a term, and no node's term falls.
// isNew tells that this leader was not known.
func (l *leaders) see(st control.Status) (isNew bool, err error) {
	if l.of == nil {
		l.of, l.terms = map[uint64]string{}, map[string]uint64{}
	}
	before := l.terms[st.ID]
	l.terms[st.ID] = st.Term
	if st.Term < before {
		return false, fmt.Errorf("%w: %s went back from term %d to %d", errTermFell, st.ID, before, st.Term)
	}
	if st.State != "Leader" {
		return false, nil
	}
	switch who, known := l.of[st.Term]; {
	case !known:
		l.of[st.Term] = st.ID
		return true, nil
	case who != st.ID:
		return false, fmt.Errorf("two leaders of term %d: %s and %s", st.Term, who, st.ID)
	}
	return false, nil
}
