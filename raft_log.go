package raft

import (
	"errors"
	"fmt"
	"sort"
)

// raftLog is main's view of the log: everything accepted, durable or not, without
// ever asking the disk. Terms only grow along a log, so the first index of each
// term tells the term of every index.
//
//	        floor          snap            durable       last
//	──────────●──────────────●────────────────●────────────●
//	unusable  │ term known   │ may be compacted            │
//	          └─ runs ───────┴──────────────── tail ───────┘
//
// Invariants: floor ≤ snap ≤ last and floor ≤ durable ≤ last by index, and snap ≤
// durable but for a snapshot that joins entries which are still on their way to the
// disk. Runs are in order of index and of term; tail, if not empty, ends with last.
// If a log store lost entries which a snapshot has, the snapshot is the log.
type raftLog struct {
	snap    entryID   // the last snapshot
	floor   entryID   // lowest entry whose term is known; those above it can be read
	runs    []termRun // where each term starts above floor
	last    entryID
	durable uint64 // everything up to here is on disk: in a snapshot, or synced in the store

	tail      []*Log // recent entries
	tailBytes int

	// The encodings of tail, parallel to it, while this node leads; and the lock of
	// those who make some. Both are nil otherwise.
	wires    []*entryWire
	encoding *encoder
}

// termRun says that entries from first on, up to the next run, have this term.
type termRun struct{ first, term uint64 }

// tailBudget bounds the recent entries kept in memory, in bytes. Entries that
// are not durable yet are kept beyond it.
const tailBudget = 8 << 20

// term returns the term of an entry, if it is the floor or above it in the log.
func (l *raftLog) term(index uint64) (uint64, bool) {
	if index < l.floor.index || index > l.last.index {
		return 0, false
	}
	i := sort.Search(len(l.runs), func(i int) bool { return l.runs[i].first > index })
	if i == 0 {
		return l.floor.term, true
	}
	return l.runs[i-1].term, true
}

// contains reports whether the log has an entry, or is known to have had it.
func (l *raftLog) contains(id entryID) bool {
	term, ok := l.term(id.index)
	return ok && term == id.term
}

// append adds accepted entries, which must follow last.
func (l *raftLog) append(entries []*Log) {
	l.tail = withRoom(l.tail, len(entries))
	for _, e := range entries {
		l.extend(idOf(e))
		l.tail = append(l.tail, e)
		l.tailBytes += logSize(e)
	}
	if l.encoding != nil {
		l.addWires(len(entries))
	}
	l.trim()
}

// keepEncodings begins to keep the encodings of recent entries.
func (l *raftLog) keepEncodings() {
	l.encoding = new(encoder)
	l.addWires(len(l.tail))
}

// dropEncodings ends that.
func (l *raftLog) dropEncodings() { l.wires, l.encoding = nil, nil }

// addWires makes places for the encodings of n more entries.
func (l *raftLog) addWires(n int) {
	l.wires = withRoom(l.wires, n)
	places := make([]entryWire, n)
	for i := range places {
		l.wires = append(l.wires, &places[i])
	}
}

// withRoom returns s with room for n more. A slice that loses at its beginning what it
// gets at its end is moved now and then: the more room it has then the less often, but
// what it has lost stays in memory until then.
func withRoom[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return append(make([]T, 0, len(s)+n+len(s)/2), s...)
}

// extend makes an entry the last one.
func (l *raftLog) extend(id entryID) {
	if id.index != l.last.index+1 || id.term < l.last.term { // seldom: the arguments would be allocated each time
		assert(false, "entry %v appended to a log that ends with %v", id, l.last)
	}
	if id.term != l.last.term {
		l.runs = append(l.runs, termRun{id.index, id.term})
	}
	l.last = id
}

// trim drops the oldest entries of the tail beyond its budget.
func (l *raftLog) trim() { l.trimTo(tailBudget) }

func (l *raftLog) trimTo(budget int) {
	n := 0
	for n < len(l.tail) && l.tailBytes > budget && l.tail[n].Index <= l.durable {
		l.tailBytes -= logSize(l.tail[n])
		n++
	}
	if n > 0 {
		l.tail = l.tail[n:]
		l.wires = l.wires[min(n, len(l.wires)):]
	}
}

// truncate removes the entries from an index on. The slices that requests hold
// stay as they are: the next append makes new ones.
func (l *raftLog) truncate(from uint64) {
	assert(from > l.floor.index, "truncating from %d at or below the floor %v", from, l.floor)
	if from > l.last.index {
		return
	}
	term, _ := l.term(from - 1)
	l.last = entryID{from - 1, term}
	l.durable = min(l.durable, from-1)
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].first >= from {
		l.runs = l.runs[:len(l.runs)-1]
	}
	n := len(l.tail)
	for n > 0 && l.tail[n-1].Index >= from {
		l.tailBytes -= logSize(l.tail[n-1])
		n--
	}
	l.tail = l.tail[:n:n]
	if l.encoding != nil {
		l.wires = l.wires[:n:n]
	}
}

// reset makes a snapshot the whole log.
func (l *raftLog) reset(snap entryID) {
	*l = raftLog{snap: snap, floor: snap, last: snap, durable: snap.index, encoding: l.encoding}
}

// compact makes the entries up to an index unusable, but none above the snapshot.
func (l *raftLog) compact(to uint64) {
	to = min(to, l.snap.index)
	term, ok := l.term(to)
	if !ok || to <= l.floor.index {
		return
	}
	l.floor = entryID{to, term}
	n := 0
	for n < len(l.runs) && l.runs[n].first <= to {
		n++
	}
	l.runs = l.runs[n:]
}

// recent returns entries from lo on that are in memory, within the bounds but one
// at least, and their encodings while these are kept; none if lo is not in memory.
func (l *raftLog) recent(lo, hi uint64, maxEntries, maxBytes int) ([]*Log, entryWires) {
	if len(l.tail) == 0 || lo < l.tail[0].Index || lo > l.last.index {
		return nil, entryWires{}
	}
	i := int(lo - l.tail[0].Index)
	end := min(len(l.tail), i+maxEntries, i+int(hi-lo)+1)
	n, size := i, 0
	for n < end {
		size += logSize(l.tail[n])
		if n > i && size > maxBytes {
			break
		}
		n++
	}
	if l.encoding == nil {
		return l.tail[i:n:n], entryWires{}
	}
	return l.tail[i:n:n], entryWires{l.wires[i:n:n], l.encoding}
}

// inMemory reports whether entry lo is in the tail.
func (l *raftLog) inMemory(lo uint64) bool {
	return len(l.tail) > 0 && lo >= l.tail[0].Index && lo <= l.last.index
}

// loadedLog is what openLog found.
type loadedLog struct {
	raftLog
	configs []configEntry // set by the entries above the snapshot
	stale   bool          // the store holds entries that must go before it is written
}

// errLogGap reports a log that does not join its snapshot.
var errLogGap = errors.New("log does not join the snapshot")

// openLog reads what the store holds above snap, and finds the terms below it by
// bisection. It changes nothing.
//
// Entries at or below the snapshot are usable only if the entry at its index has
// its term: otherwise they may be a dead leader's (R10, H1). The same goes for
// what follows: it counts only if it was written on top of the snapshot.
func openLog(store LogStore, snap entryID, monotonic bool, trans Transport) (*loadedLog, error) {
	first, err := store.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("failed to find first log: %w", err)
	}
	last, err := store.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("failed to find last log: %w", err)
	}
	l := &loadedLog{}
	l.reset(snap)
	if last == 0 {
		return l, nil
	}
	joined := snap.index == 0
	if first <= snap.index && snap.index <= last {
		if joined, err = l.joinBelow(store, first, snap); err != nil || l.stale {
			return l, err
		}
	}
	if last <= snap.index {
		l.stale = monotonic && last < snap.index
		return l, nil
	}
	return l, l.joinAbove(store, joined, last, trans)
}

// joinBelow looks whether the entry at the snapshot's index is the snapshot's last, and
// if so makes those below it usable.
func (l *loadedLog) joinBelow(store LogStore, first uint64, snap entryID) (joined bool, err error) {
	at, err := getLog(store, snap.index)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if at.Term != snap.term {
		l.stale = true
		return false, nil
	}
	return true, l.findRuns(store, first, snap)
}

// findRuns finds where terms change between first and snap.
func (l *loadedLog) findRuns(store LogStore, first uint64, snap entryID) error {
	e, err := getLog(store, first)
	if err != nil {
		return err
	}
	l.floor = idOf(e)
	return l.bisect(store, l.floor, snap)
}

// bisect adds the runs that start above lo and at or below hi.
func (l *loadedLog) bisect(store LogStore, lo, hi entryID) error {
	if lo.term == hi.term || lo.index >= hi.index {
		return nil
	}
	if lo.index+1 == hi.index {
		l.runs = append(l.runs, termRun{hi.index, hi.term})
		return nil
	}
	e, err := getLog(store, lo.index+(hi.index-lo.index)/2)
	if isNotFound(err) { // a gap: what is below it is of no use
		l.floor, l.runs = hi, nil
		return nil
	}
	if err != nil {
		return err
	}
	mid := idOf(e)
	if err := l.bisect(store, lo, mid); err != nil {
		return err
	}
	return l.bisect(store, mid, hi)
}

// joinAbove visits every entry above the snapshot: configurations are among them. What
// has to be applied or sent is read again, when it is; much of it never is. If the
// entry at the snapshot's index is gone, what follows counts only if it can have been
// written on top of the snapshot: terms do not go back.
func (l *loadedLog) joinAbove(store LogStore, joined bool, last uint64, trans Transport) error {
	err := readAbove(store, l.snap, last, func(e *Log) error {
		c, ok, err := entryConfiguration(e, trans)
		if ok {
			l.configs = append(l.configs, configEntry{e.Index, c})
		}
		if err == nil {
			l.extend(idOf(e))
			l.durable = e.Index
		}
		return err
	})
	switch {
	case errors.Is(err, errTermWentBack) && !joined && l.last == l.snap:
		l.stale = true
		return nil
	case isNotFound(err):
		return fmt.Errorf("%w: entry %d is missing between the snapshot at %d and the last entry %d; "+
			"restore an older copy of the log or remove this server and add it again empty", errLogGap, l.last.index+1, l.snap.index, last)
	default:
		return err
	}
}

// errTermWentBack reports a log that no leader can have written.
var errTermWentBack = errors.New("no leader writes such a log")

// readAbove calls visit with the entries above base up to last, in order. They are valid
// only meanwhile. A missing entry is an error, and so is a term that goes back.
func readAbove(logs LogStore, base entryID, last uint64, visit func(*Log) error) error {
	var refused error
	err := ReadLogs(logs, base.index+1, last, func(e *Log) bool {
		switch {
		case e.Index != base.index+1:
			refused = fmt.Errorf("failed to get log at index %d: the store returned entry %v", base.index+1, idOf(e))
		case e.Term < base.term:
			refused = fmt.Errorf("log at index %d has term %d after term %d: %w", e.Index, e.Term, base.term, errTermWentBack)
		default:
			refused = visit(e)
			base = idOf(e)
		}
		return refused == nil
	})
	switch {
	case refused != nil:
		return refused
	case err == nil && base.index < last:
		err = errOutOfOrder
	}
	if err != nil {
		return fmt.Errorf("failed to get log at index %d: %w", base.index+1, err)
	}
	return nil
}

// getLog reads an entry into memory of its own.
func getLog(logs LogStore, index uint64) (*Log, error) {
	e := new(Log)
	if err := logs.GetLog(index, e); err != nil {
		return nil, fmt.Errorf("failed to get log at index %d: %w", index, err)
	}
	if e.Index != index {
		return nil, fmt.Errorf("failed to get log at index %d: the store returned entry %v", index, idOf(e))
	}
	return e, nil
}
