package rafttest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// logProbe is the run of a check on a log store, and what the store should have.
type logProbe struct {
	*openStore[raft.LogStore]
	monotonic bool

	operations []string
	model      map[uint64]*raft.Log
	touched    map[uint64]bool // indexes to look at, whether they are in the model or not
	highest    uint64          // index ever stored
}

// record adds to the operations that a message tells of.
func (l *logProbe) record(format string, args ...any) {
	l.operations = append(l.operations, fmt.Sprintf(format, args...))
}

func (l *logProbe) history() string {
	const enough = 8
	if n := len(l.operations); n > enough {
		return "..., " + strings.Join(l.operations[n-enough:], ", ")
	}
	return strings.Join(l.operations, ", ")
}

func (l *logProbe) touch(indexes ...uint64) {
	for _, i := range indexes {
		l.touched[i] = true
	}
}

// remember puts a copy of an entry into the model.
func (l *logProbe) remember(e *raft.Log) {
	kept := *e
	l.model[e.Index] = &kept
	l.highest = max(l.highest, e.Index)
	l.touch(e.Index-1, e.Index, e.Index+1)
}

// put stores the entries first to last, of one term.
func (l *logProbe) put(first, last, term uint64) { l.storeBatch(logEntries(first, last, term)) }

func (l *logProbe) storeBatch(batch []*raft.Log) {
	l.record("StoreLogs %d to %d", batch[0].Index, batch[len(batch)-1].Index)
	for _, e := range batch {
		l.remember(e)
	}
	l.must(l.store.StoreLogs(batch), "after %s", l.history())
}

func (l *logProbe) remove(min, max uint64) {
	l.record("DeleteRange(%d, %d)", min, max)
	maps.DeleteFunc(l.model, func(i uint64, _ *raft.Log) bool { return min <= i && i <= max })
	l.must(l.store.DeleteRange(min, max), "after %s", l.history())
}

func (l *logProbe) reopen() {
	l.record("reopened")
	l.openStore.reopen()
}

// ends returns the first and the last index that there should be.
func (l *logProbe) ends() (first, last uint64) {
	for i := range l.model {
		if first == 0 || i < first {
			first = i
		}
		last = max(last, i)
	}
	return first, last
}

// verifyEnds compares FirstIndex and LastIndex with the model.
func (l *logProbe) verifyEnds() {
	first, last := l.ends()
	if got, err := l.store.FirstIndex(); got != first || err != nil {
		l.errorf("after %s: FirstIndex is %d, error %v, want %d", l.history(), got, err, first)
	}
	if got, err := l.store.LastIndex(); got != last || err != nil {
		l.errorf("after %s: LastIndex is %d, error %v, want %d", l.history(), got, err, last)
	}
}

// verify compares all of the store with the model.
func (l *logProbe) verify() {
	l.verifyEnds()
	for _, i := range slices.Sorted(maps.Keys(l.touched)) {
		var got raft.Log
		err := l.store.GetLog(i, &got)
		want := l.model[i]
		switch {
		case want == nil && err == nil:
			l.errorf("after %s: GetLog(%d) returns an entry that should not be there", l.history(), i)
		case want == nil && err != raft.ErrLogNotFound:
			l.errorf("after %s: GetLog(%d) returns error %q (%T) for a missing entry, want exactly ErrLogNotFound", l.history(), i, err, err)
		case want != nil && err != nil:
			l.errorf("after %s: GetLog(%d): %v", l.history(), i, err)
		case want != nil:
			if diff := diffLog(&got, want); diff != "" {
				l.errorf("after %s: GetLog(%d): %s", l.history(), i, diff)
			}
		}
		if _, ok := readsRanges(l.store); ok && want != nil && l.model[i-1] == nil {
			l.verifyRange(i, math.MaxUint64, math.MaxInt)
		}
	}
}

// ranges returns the store as one that reads ranges, or ends the check.
func (l *logProbe) ranges() raft.RangeLogStore {
	ranges, ok := readsRanges(l.store)
	if !ok {
		l.skipf("the store is no RangeLogStore")
	}
	return ranges
}

// readsRanges returns a store as one that reads ranges, if it is one.
func readsRanges(store raft.LogStore) (raft.RangeLogStore, bool) {
	ranges, ok := store.(raft.RangeLogStore)
	if !ok || ranges.ReadsLogsOf() != store {
		return nil, false
	}
	return ranges, true
}

// verifyRange reads a range, as far as so many entries, and compares it with the model.
func (l *logProbe) verifyRange(first, last uint64, enough int) {
	what := fmt.Sprintf("after %s: ReadLogs(%d, %d) for %d entries", l.history(), first, last, enough)
	next, more := first, true
	err := l.ranges().ReadLogs(first, last, func(got *raft.Log) bool {
		switch want := l.model[next]; {
		case !more:
			l.errorf("%s goes on with entry %d though visit has returned false", what, got.Index)
		case next > last || want == nil:
			l.errorf("%s returns entry %d, which should not be there", what, got.Index)
		default:
			if diff := diffLog(got, want); diff != "" {
				l.errorf("%s, at entry %d: %s", what, next, diff)
			}
		}
		next++
		more = next-first < uint64(enough)
		return more
	})
	missing := more && next <= last && l.model[next] == nil
	switch {
	case missing && err != raft.ErrLogNotFound:
		l.errorf("%s returns error %v (%T) at the missing entry %d, want exactly ErrLogNotFound", what, err, err, next)
	case !missing && err != nil:
		l.errorf("%s fails at entry %d: %v", what, next, err)
	case !missing && more && next <= last:
		l.errorf("%s ends without an error before entry %d", what, next)
	}
}

func (l *logProbe) verifyAndReopen() {
	l.verify()
	l.reopen()
	l.verify()
}

func (l *logProbe) tracker() raft.CommitTrackingLogStore {
	tracker, ok := l.store.(raft.CommitTrackingLogStore)
	if !ok {
		l.skipf("the store is no CommitTrackingLogStore")
	}
	return tracker
}

func (l *logProbe) verifyCommitIndex(want uint64) {
	if got, err := l.tracker().GetCommitIndex(); got != want || err != nil {
		l.errorf("after %s: GetCommitIndex is %d, error %v, want %d", l.history(), got, err, want)
	}
}
