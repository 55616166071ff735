package raft

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/raft/internal/metrics"
)

// writer is the only goroutine that changes the LogStore and the StableStore.
//
// What main accepts goes to the pending batch. When the writer is idle, flush
// hands pending over and starts a new one, so whatever arrives during one fsync
// shares the next: group commit on leaders and followers alike, without a timer.
// At most one batch is in flight, hence no write can be mistaken for a later one
// of the same index, and what is durable follows from the last batch alone.
//
// Prefix deletes run on the same goroutine when no batch waits, in chunks of a few
// milliseconds, so that they never hold an append up.
type writer struct {
	logs      LogStore
	stable    StableStore
	tracker   CommitTrackingLogStore // nil unless RestoreCommittedLogs
	monotonic bool

	work    chan *batch   // one slot; main sends only when idle
	wake    chan struct{} // one slot: compact has been raised
	compact atomic.Uint64 // delete entries up to here, see compactChunk

	// Owned by main.
	pending *batch
	flying  *batch    // nil: idle
	since   time.Time // when flying was handed over

	// Owned by the goroutine.
	chunk uint64 // how many entries the next prefix delete takes
}

// batch is a set of writes made durable together, in this order (R19): hard
// state, reset, truncation, entries. An entry must not reach the disk before the
// term it was accepted in, nor before what contradicts it is gone.
type batch struct {
	hard     *hardState
	longest  time.Duration // how long promises to leaders are at most, see lease.go; 0 for as before
	reset    *entryID      // the log begins anew behind this snapshot
	truncate uint64        // delete from here on; 0 for nothing
	entries  []*Log
	commit   uint64 // the commit index to store with entries
	probe    *Log   // stored and deleted again, to see whether the store works

	promises []promise
	err      *StoreError
	fatal    bool // the node cannot go on, see R16
}

// promise is an answer that must wait for the disk.
type promise struct {
	entries int // how many of the batch's entries it waits for
	f       func(error)
}

// maxBatchBytes bounds the entries of one batch, so that a vote waits for two such
// batches at most: the one in flight and its own.
const maxBatchBytes = 4 << 20

func newWriter(logs LogStore, stable StableStore, tracker CommitTrackingLogStore) writer {
	m, ok := logs.(MonotonicLogStore)
	return writer{
		logs: logs, stable: stable, tracker: tracker,
		monotonic: ok && m.IsMonotonic(),
		work:      make(chan *batch, 1),
		wake:      make(chan struct{}, 1),
		pending:   &batch{},
		chunk:     minChunk,
	}
}

func (b *batch) empty() bool {
	return !b.urgent() && b.reset == nil && b.truncate == 0 && len(b.entries) == 0 && b.probe == nil
}

// urgent reports whether it has something for the StableStore.
func (b *batch) urgent() bool { return b.hard != nil || b.longest > 0 }

// last is the last entry that the batch stores, 0 if it stores none.
func (b *batch) last() uint64 {
	if b.probe != nil {
		return b.probe.Index
	}
	if n := len(b.entries); n > 0 {
		return b.entries[n-1].Index
	}
	return 0
}

// setHard makes h the hard state to write next.
func (w *writer) setHard(h hardState) { w.pending.hard = &h }

// setLongest notes how long a promise to a leader may be.
func (w *writer) setLongest(d time.Duration) { w.pending.longest = d }

// hardDurable reports whether the last hard state given is on disk.
func (w *writer) hardDurable() bool {
	return w.pending.hard == nil && (w.flying == nil || w.flying.hard == nil)
}

func (w *writer) append(entries []*Log) {
	if b := w.pending; len(b.entries) == 0 {
		b.entries = slices.Clip(entries)
	} else {
		b.entries = append(b.entries, entries...)
	}
}

// truncateFrom drops the entries from an index on. Those that are still pending
// never leave memory.
func (w *writer) truncateFrom(index uint64) {
	b := w.pending
	if n := len(b.entries); n > 0 && b.entries[0].Index < index {
		keep := min(uint64(n), index-b.entries[0].Index)
		b.entries = b.entries[:keep:keep]
		b.clampPromises()
		return
	}
	b.entries = nil
	b.clampPromises()
	if b.truncate == 0 || index < b.truncate {
		b.truncate = index
	}
}

// resetTo begins the log anew behind a snapshot.
func (w *writer) resetTo(snap entryID) {
	b := w.pending
	b.reset, b.truncate, b.entries = &snap, 0, nil
	b.clampPromises()
	// An earlier target may lie in the new log. A later one has to wait for the reset:
	// see there what a crash may leave.
	w.compact.Store(min(w.compact.Load(), snap.index))
}

func (b *batch) clampPromises() {
	for i := range b.promises {
		b.promises[i].entries = min(b.promises[i].entries, len(b.entries))
	}
}

// whenSynced calls f once everything accepted so far is durable, or with the error
// that prevents it. f runs on main.
func (w *writer) whenSynced(f func(error)) {
	switch {
	case !w.pending.empty():
		w.pending.promises = append(w.pending.promises, promise{len(w.pending.entries), f})
	case w.flying != nil:
		w.flying.promises = append(w.flying.promises, promise{f: f})
	default:
		f(nil)
	}
}

// whenHardSynced calls f once what the StableStore was given last is durable. It does not wait
// behind entries that go with a later batch.
func (w *writer) whenHardSynced(f func(error)) {
	switch {
	case w.pending.urgent():
		w.pending.promises = append(w.pending.promises, promise{f: f})
	case w.flying != nil && w.flying.urgent():
		w.flying.promises = append(w.flying.promises, promise{f: f})
	default:
		f(nil)
	}
}

// flush hands the pending batch over if the writer is idle.
func (w *writer) flush(now time.Time, commit uint64) {
	if w.flying != nil || w.pending.empty() {
		return
	}
	w.flying, w.pending = w.pending.split()
	w.since = now
	w.flying.commit = min(commit, w.flying.last())
	w.work <- w.flying // has room: the writer is idle
}

// split returns a batch within the bound and the rest.
func (b *batch) split() (first, rest *batch) {
	n, size := 0, 0
	for n < len(b.entries) {
		size += logSize(b.entries[n])
		if n > 0 && size > maxBatchBytes {
			break
		}
		n++
	}
	if n == len(b.entries) {
		return b, &batch{}
	}
	rest = &batch{entries: b.entries[n:]}
	first = &batch{
		hard: b.hard, longest: b.longest,
		reset: b.reset, truncate: b.truncate, probe: b.probe, entries: b.entries[:n:n],
	}
	for _, p := range b.promises {
		if p.entries <= n {
			first.promises = append(first.promises, p)
		} else {
			rest.promises = append(rest.promises, promise{p.entries - n, p.f})
		}
	}
	return first, rest
}

// finish takes the batch in flight back and tells log what is durable by it. Nothing
// is while a reset is pending, which deletes it; what is pending truncation does not
// count either.
func (w *writer) finish(log *raftLog) *batch {
	b := w.flying
	w.flying = nil
	if b.err != nil || w.pending.reset != nil {
		return b
	}
	if n := len(b.entries); n > 0 {
		log.durable = b.entries[n-1].Index
	}
	if w.pending.truncate > 0 {
		log.durable = min(log.durable, w.pending.truncate-1)
	}
	log.trim()
	return b
}

// fail drops every write to the log that is still pending, and returns the
// promises that cannot be kept. What is for the other store stays.
func (w *writer) fail() []promise {
	dropped := w.pending.promises
	w.pending = &batch{hard: w.pending.hard, longest: w.pending.longest}
	return dropped
}

// age is how long the batch in flight has taken.
func (w *writer) age(now time.Time) time.Duration {
	if w.flying == nil {
		return 0
	}
	return now.Sub(w.since)
}

// raiseCompact asks for the deletion of a prefix. It never blocks.
func (w *writer) raiseCompact(index uint64) {
	for {
		old := w.compact.Load()
		if index <= old {
			return
		}
		if w.compact.CompareAndSwap(old, index) {
			w.wakeUp()
			return
		}
	}
}

func (w *writer) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// compactFailed is the event of a prefix delete that did not work.
type compactFailed struct{ err *StoreError }

// run is the writer goroutine.
func (w *writer) run(report func(any) bool, stopping <-chan struct{}) {
	for {
		select {
		case b := <-w.work:
			// A flush keeps this processor until the runtime's monitor takes it away.
			// Whoever is ready goes first: main has just woken the lanes to send this.
			runtime.Gosched()
			w.write(b)
			report(b)
			continue
		case <-stopping:
			return
		case <-w.wake:
		}
		if len(w.work) > 0 {
			w.wakeUp() // the batch first
			continue
		}
		more, err := w.compactChunk()
		if err != nil {
			report(compactFailed{err})
		} else if more {
			w.wakeUp()
		}
	}
}

const (
	minChunk    = 64
	maxChunk    = 16384
	chunkTarget = 4 * time.Millisecond
)

// compactChunk deletes a few of the entries that are not needed any more, as many
// as took a few milliseconds last time, and reports whether there are more.
func (w *writer) compactChunk() (more bool, err *StoreError) {
	target := w.compact.Load()
	first, e := w.logs.FirstIndex()
	if e != nil {
		return false, &StoreError{"get", 0, e}
	}
	if first == 0 || first > target {
		return false, nil
	}
	hi := min(target, first+w.chunk-1)
	start := time.Now()
	if e := w.logs.DeleteRange(first, hi); e != nil {
		return false, &StoreError{"delete", first, e}
	}
	metrics.MeasureSince([]string{"raft", "compactLogs"}, start)
	switch took := time.Since(start); {
	case took < chunkTarget/2:
		w.chunk = min(2*w.chunk, maxChunk)
	case took > 2*chunkTarget:
		w.chunk = max(w.chunk/2, minChunk)
	}
	return hi < target, nil
}

// write stores a batch and records in it what went wrong.
func (w *writer) write(b *batch) {
	if err := w.writeStable(b); err != nil {
		b.err, b.fatal = &StoreError{"stable", 0, err}, true
		return
	}
	b.err = w.writeLog(b)
	// After a failed flush nothing is known of what the disk holds.
	b.fatal = b.err != nil && isIOError(b.err)
}

func (w *writer) writeStable(b *batch) error {
	if b.longest > 0 {
		if err := savePromise(w.stable, b.longest); err != nil {
			return err
		}
	}
	if b.hard == nil {
		return nil
	}
	return saveHardState(w.stable, *b.hard)
}

func isIOError(err error) bool { return errors.Is(err, syscall.EIO) }

func (w *writer) writeLog(b *batch) *StoreError {
	if b.reset != nil {
		if err := w.reset(*b.reset); err != nil {
			return err
		}
	}
	if b.truncate > 0 {
		if err := w.deleteFrom(b.truncate); err != nil {
			return err
		}
	}
	if err := w.store(b.entries, b.commit); err != nil {
		return err
	}
	if b.probe == nil {
		return nil
	}
	if err := w.store([]*Log{b.probe}, b.commit); err != nil {
		return err
	}
	return w.deleteFrom(b.probe.Index)
}

func (w *writer) store(entries []*Log, commit uint64) *StoreError {
	if len(entries) == 0 {
		return nil
	}
	if w.tracker != nil {
		if err := w.tracker.StageCommitIndex(commit); err != nil {
			return &StoreError{"store", entries[0].Index, fmt.Errorf("staging the commit index: %w", err)}
		}
	}
	if err := w.logs.StoreLogs(entries); err != nil {
		return &StoreError{"store", entries[0].Index, err}
	}
	return nil
}

// reset deletes what does not belong behind a snapshot. The suffix goes first and
// in one step: a crash in between leaves a prefix, which openLog does not join to
// the snapshot, and never a suffix that looks as if it followed it (S8). The
// prefix is left to compaction, unless the store cannot have the gap.
func (w *writer) reset(snap entryID) *StoreError {
	if err := w.deleteFrom(snap.index); err != nil {
		return err
	}
	if !w.monotonic {
		w.raiseCompact(snap.index)
		return nil
	}
	first, err := w.logs.FirstIndex()
	if err != nil {
		return &StoreError{"get", 0, err}
	}
	if first == 0 {
		return nil
	}
	return w.deleteFrom(first)
}

// deleteFrom deletes a suffix, if there is one.
func (w *writer) deleteFrom(index uint64) *StoreError {
	last, err := w.logs.LastIndex()
	if err != nil {
		return &StoreError{"get", 0, err}
	}
	if last == 0 || last < index {
		return nil
	}
	first, err := w.logs.FirstIndex()
	if err != nil {
		return &StoreError{"get", 0, err}
	}
	index = max(index, first)
	if err := w.logs.DeleteRange(index, last); err != nil {
		return &StoreError{"delete", index, err}
	}
	return nil
}

func (b *batch) String() string {
	var parts []string
	if b.hard != nil {
		s := fmt.Sprintf("term=%d", b.hard.term)
		if b.hard.vote != (candidate{}) {
			s += fmt.Sprintf(" vote=%s", b.hard.vote.id)
		}
		parts = append(parts, s)
	}
	if b.longest > 0 {
		parts = append(parts, fmt.Sprintf("promise=%v", b.longest))
	}
	if b.reset != nil {
		parts = append(parts, fmt.Sprintf("reset %v", *b.reset))
	}
	if b.truncate > 0 {
		parts = append(parts, fmt.Sprintf("truncate %d", b.truncate))
	}
	if len(b.entries) > 0 {
		parts = append(parts, entriesString(b.entries))
	}
	if b.probe != nil {
		parts = append(parts, fmt.Sprintf("probe %v", idOf(b.probe)))
	}
	return strings.Join(parts, ", ")
}

// entriesString lists entries by index and term.
func entriesString(entries []*Log) string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = idOf(e).String()
	}
	return "[" + strings.Join(ids, " ") + "]"
}
