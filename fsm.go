package raft

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// FSM is the replicated state machine: the part that the user writes. It must be
// deterministic: the same entries lead to the same state on every server.
//
// All methods are called from one goroutine of the node, never two at a time, and
// must not wait for a future of the same node. The one exception is Restore during
// [NewRaft], which runs on its caller's goroutine before that goroutine exists.
type FSM interface {
	// Apply applies a committed command. Its result is what the future's
	// Response returns on the leader. The entry must not be changed, and what is
	// kept of it must be a copy.
	Apply(*Log) interface{}

	// Snapshot returns a handle on the present state. It should return quickly,
	// for instance with a persistent data structure: no command is applied
	// meanwhile. The handle's Persist runs beside later calls of Apply.
	Snapshot() (FSMSnapshot, error)

	// Restore replaces the state by that of a snapshot. It must close the reader.
	// After an error the state counts as unknown: nothing is applied to it until
	// another Restore has succeeded. The node tries again, with an older snapshot
	// during NewRaft, later with the same or a newer one; it stops if the
	// snapshot is one that a user gave to [Raft.Restore].
	Restore(snapshot io.ReadCloser) error
}

// BatchingFSM is an optional extension of [FSM] that takes several entries at
// once.
type BatchingFSM interface {
	FSM

	// ApplyBatch is called instead of Apply. It applies entries of type LogCommand
	// and, with protocol version 3, LogConfiguration, up to Config.MaxAppendEntries
	// of them, and returns a result for each, in the same order. If the number of
	// results differs the entries count as applied and their futures fail.
	ApplyBatch([]*Log) []interface{}
}

// ConfigurationStore is an optional extension of [FSM] that is told of committed
// configurations, in order with the commands, with protocol version 3. It has no
// effect on a [BatchingFSM], which gets them by ApplyBatch.
type ConfigurationStore interface {
	FSM

	// StoreConfiguration is told of the configuration that the entry at index set.
	StoreConfiguration(index uint64, configuration Configuration)
}

// FSMSnapshot is a handle on one state of the FSM.
type FSMSnapshot interface {
	// Persist writes the state to sink and closes it, or cancels it and returns
	// the error.
	Persist(sink SnapshotSink) error

	// Release is called once, when the handle is no longer needed: after Persist, or
	// instead of it.
	Release()
}

// fsmWork is main's side of the FSM runner: what it does, and what it has to do.
type fsmWork struct {
	busy     bool        // the runner has a task
	applying uint64      // handed over through here
	restore  *restoreJob // comes before anything else
	snapshot bool        // asked for
	broken   bool        // a restore failed: apply nothing more until one succeeds

	// Not zero while the log cannot be read: apply nothing before resumeAt.
	unreadable, resumeAt time.Time

	// What failed is tried again: whatever was wrong may pass, and the leader that sent
	// the snapshot may not come back.
	retry   *restoreJob
	retryAt time.Time
}

// restoreRetry is how long a failed restore waits before it is tried again.
const restoreRetry = 5 * time.Second

// applyRetry is how long the FSM waits when the log store fails to read. After
// applyPatience of that the node stops.
const (
	applyRetry    = 100 * time.Millisecond
	applyPatience = 10 * time.Second
)

// restoreJob replaces the FSM's state by a snapshot.
type restoreJob struct {
	snapshot string // its ID in the store
	id       entryID
	done     func(error) // runs on main
	begun    bool
}

// restoreFrom makes a restore the next task. One that has not begun is given up.
func (w *fsmWork) restoreFrom(job *restoreJob) {
	if w.restore != nil && !w.restore.begun {
		w.restore.done(errSuperseded)
	}
	w.restore, w.applying = job, job.id.index
	w.retry, w.retryAt = nil, time.Time{}
}

// retryRestore tries a restore that failed once more.
func (r *Raft) retryRestore() {
	if w := &r.work; w.retry != nil && !r.now.Before(w.retryAt) {
		w.restoreFrom(w.retry)
	}
}

// applyRange is a task: apply the entries lo to hi. They are in entries, or to be
// read from the store.
type applyRange struct {
	lo, hi  uint64
	entries []*Log
	futures []*logFuture // of some of them, in order
}

// takeSnapshot is a task: get a handle on the FSM's state.
type takeSnapshot struct{}

// fsmDone is the event of a finished applyRange or restoreJob.
type fsmDone struct {
	restore *restoreJob // nil: it was an applyRange
	err     error
}

// fsmSnapshot is the event of a finished takeSnapshot.
type fsmSnapshot struct {
	state FSMSnapshot
	id    entryID // the last entry in it
	err   error
}

// maxApplyRange bounds the entries of one applyRange, so that a snapshot that was
// asked for does not wait behind a long replay.
const maxApplyRange = 1024

// errBrokenFSM is why there is no snapshot of an FSM in an unknown state.
var errBrokenFSM = errors.New("the FSM failed to restore a snapshot, its state is unknown")

// flushFSM hands the FSM runner its next task, if it is idle. It gets committed
// entries that are durable here (R19): an FSM that is durable itself never gets
// ahead of its own log.
func (r *Raft) flushFSM() {
	w := &r.work
	if w.busy {
		return
	}
	switch limit := min(r.commit, r.log.durable); {
	case w.restore != nil:
		w.restore.begun = true
		r.fsm.tasks <- w.restore // has room: the runner is idle
	case w.snapshot && w.broken:
		w.snapshot = false
		r.handleSnapshotDone(snapshotDone{err: errBrokenFSM})
		return
	case w.snapshot:
		w.snapshot = false
		r.fsm.tasks <- takeSnapshot{}
	case !w.broken && w.resumeAt.IsZero() && w.applying < limit:
		r.fsm.tasks <- r.nextRange(limit)
	default:
		return
	}
	w.busy = true
}

// nextRange cuts the next entries to apply, from memory if they are there.
func (r *Raft) nextRange(limit uint64) applyRange {
	lo := r.work.applying + 1
	t := applyRange{lo: lo, hi: min(limit, r.work.applying+maxApplyRange)}
	if r.log.inMemory(lo) {
		t.entries, _ = r.log.recent(lo, t.hi, maxApplyRange, maxBatchBytes)
		t.hi = lo + uint64(len(t.entries)) - 1
	}
	n := 0
	for n < len(r.settled) && r.settled[n].log.Index <= t.hi {
		n++
	}
	t.futures, r.settled = r.settled[:n:n], r.settled[n:]
	r.work.applying = t.hi
	return t
}

// handleFSMDone deals with what the runner has finished.
func (r *Raft) handleFSMDone(e fsmDone) {
	w := &r.work
	w.busy = false
	if e.restore == nil {
		r.handleApplied(e.err)
		return
	}
	if w.restore == e.restore {
		w.restore = nil
		w.broken = e.err != nil
	}
	e.restore.done(e.err)
	if e.err == nil {
		r.compactLog()
		return
	}
	r.note.restoreFailed(e.restore.id, e.err)
	if w.restore == nil {
		w.retry = &restoreJob{snapshot: e.restore.snapshot, id: e.restore.id, done: func(error) {}}
		w.retryAt = r.now.Add(restoreRetry)
	}
}

// handleApplied deals with the end of an applyRange. An entry that is missing stops the
// node, unless a snapshot that is to be restored next has taken its place. One that
// cannot be read is tried again, for a while.
func (r *Raft) handleApplied(err error) {
	w := &r.work
	switch {
	case err == nil:
		w.unreadable = time.Time{}
		if r.leaving > 0 && r.applied() >= r.leaving {
			r.become(Shutdown, r.hard.term)
		}
	case err == ErrRaftShutdown:
	case isNotFound(err) && w.restore != nil:
	case isUnreadable(err) && (w.unreadable.IsZero() || r.now.Sub(w.unreadable) < applyPatience):
		r.note.unreadable(err, w.unreadable.IsZero())
		if w.unreadable.IsZero() {
			w.unreadable = r.now
		}
		if w.restore == nil {
			w.applying, w.resumeAt = r.applied(), r.now.Add(applyRetry)
		}
	default:
		r.stopWith(err)
	}
}

// isUnreadable reports whether a log store failed to read what it may well have.
func isUnreadable(err error) bool {
	var failure *StoreError
	return errors.As(err, &failure) && !isNotFound(err) && !isIOError(err)
}

// resumeApplying ends the pause after a failure to read.
func (r *Raft) resumeApplying() {
	if w := &r.work; !w.resumeAt.IsZero() && !r.now.Before(w.resumeAt) {
		w.resumeAt = time.Time{}
	}
}

// fsmRunner calls the FSM, on one goroutine. It owns the last applied index and
// term of every type of entry.
type fsmRunner struct {
	fsm       FSM
	batching  BatchingFSM        // nil if it is none
	observing ConfigurationStore // nil if it is none
	logs      LogStore
	snaps     SnapshotStore
	trans     Transport
	logger    hclog.Logger
	note      *notes
	maxBatch  int
	protocol  ProtocolVersion

	tasks    chan interface{} // one slot; main sends only when idle
	stopping <-chan struct{}

	applied atomic.Uint64 // stored before futures complete
	waiters appliedWaiters

	// Owned by the goroutine.
	last    entryID // applied
	handled bool    // anything since the start

	mu     sync.Mutex
	inHand []*logFuture // of the present task, so that a hung FSM can't keep them
}

func newFSMRunner(fsm FSM, logs LogStore, snaps SnapshotStore) *fsmRunner {
	f := &fsmRunner{fsm: fsm, logs: logs, snaps: snaps, tasks: make(chan interface{}, 1)}
	f.batching, _ = fsm.(BatchingFSM)
	if f.batching == nil {
		f.observing, _ = fsm.(ConfigurationStore)
	}
	return f
}

// run is the FSM goroutine.
func (f *fsmRunner) run(report func(interface{}) bool) {
	busy := saturation{name: "fsm"}
	for {
		start := time.Now()
		select {
		case t := <-f.tasks:
			busy.waited(start, time.Now())
			e := f.do(t)
			if s, ok := e.(fsmSnapshot); !report(e) && ok && s.state != nil {
				s.state.Release() // nobody is left to store it
			}
		case <-f.stopping:
			f.abandon()
			return
		}
	}
}

// do carries out one task and returns its event.
func (f *fsmRunner) do(task interface{}) interface{} {
	switch t := task.(type) {
	case applyRange:
		f.hold(t.futures)
		err := f.apply(t)
		f.release(err)
		return fsmDone{err: err}
	case *restoreJob:
		return fsmDone{t, f.restore(t)}
	default:
		return f.snapshot()
	}
}

func (f *fsmRunner) hold(futures []*logFuture) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inHand = futures
}

// release completes what a task has left behind, if anything.
func (f *fsmRunner) release(err error) {
	f.mu.Lock()
	futures := f.inHand
	f.inHand = nil
	f.mu.Unlock()
	if err == nil {
		return
	}
	for _, fu := range futures {
		fu.respond(err)
	}
}

// abandon completes the futures of a task that will not finish, or was never
// started, because the node ends. Their entries are committed and may have been
// applied.
func (f *fsmRunner) abandon() {
	f.release(ErrRaftShutdown)
	select {
	case t := <-f.tasks:
		if t, ok := t.(applyRange); ok {
			for _, fu := range t.futures {
				fu.respond(ErrRaftShutdown)
			}
		}
	default:
	}
}

// apply applies a range, in chunks of what ApplyBatch may get.
func (f *fsmRunner) apply(t applyRange) error {
	futures := t.futures
	for lo := t.lo; lo <= t.hi; {
		if len(t.entries) == 0 {
			var err error
			if t.entries, err = readEntries(f.logs, lo, int(t.hi-lo)+1, maxBatchBytes); err != nil {
				return err
			}
		}
		if f.stopped() {
			return ErrRaftShutdown
		}
		n := min(f.maxBatch, len(t.entries))
		if err := f.applyChunk(t.entries[:n], &futures); err != nil {
			return err
		}
		t.entries = t.entries[n:]
		lo += uint64(n)
	}
	return nil
}

func (f *fsmRunner) applyChunk(chunk []*Log, futures *[]*logFuture) error {
	for _, e := range chunk {
		if e.Type > LogConfiguration {
			return fmt.Errorf("committed entry %v has unknown type %v: it was written by a version that this one does not know; upgrade this server", idOf(e), e.Type)
		}
	}
	if f.batching != nil {
		return f.applyBatch(chunk, futures)
	}
	for _, e := range chunk {
		resp, err := f.applyOne(e)
		if err != nil {
			return err
		}
		f.advance(idOf(e))
		completeFuture(futures, e.Index, resp, nil)
		if f.stopped() {
			return ErrRaftShutdown
		}
	}
	return nil
}

func (f *fsmRunner) stopped() bool {
	select {
	case <-f.stopping:
		return true
	default:
		return false
	}
}

// applyOne shows an entry to an FSM that is no BatchingFSM, if it is for it.
func (f *fsmRunner) applyOne(e *Log) (resp interface{}, err error) {
	switch {
	case e.Type == LogCommand:
		defer f.note.since(metricFSMApply, time.Now())
		return f.fsm.Apply(e), nil
	case e.Type == LogConfiguration && f.observing != nil && f.protocol >= 3:
		c, err := decodeConfiguration(e.Data)
		if err != nil {
			return nil, fmt.Errorf("committed entry %v: %w", idOf(e), err)
		}
		defer f.note.since([]string{"raft", "fsm", "store_config"}, time.Now())
		f.observing.StoreConfiguration(e.Index, c)
	}
	return nil, nil
}

// applyBatch shows entries to a BatchingFSM.
func (f *fsmRunner) applyBatch(chunk []*Log, futures *[]*logFuture) error {
	var shown []*Log
	for _, e := range chunk {
		if e.Type == LogCommand || e.Type == LogConfiguration && f.protocol >= 3 {
			shown = append(shown, e)
		}
	}
	responses, err := f.callApplyBatch(shown)
	f.advance(idOf(chunk[len(chunk)-1]))
	next := 0
	for _, e := range chunk {
		var resp interface{}
		if next < len(shown) && shown[next] == e {
			if err == nil {
				resp = responses[next]
			}
			next++
			completeFuture(futures, e.Index, resp, err)
			continue
		}
		completeFuture(futures, e.Index, nil, nil)
	}
	return nil
}

// callApplyBatch calls the FSM. If it returns too few or too many results, nobody
// can say whose they are: the entries are applied, but their futures fail.
func (f *fsmRunner) callApplyBatch(shown []*Log) ([]interface{}, error) {
	if len(shown) == 0 {
		return nil, nil
	}
	start := time.Now()
	responses := f.batching.ApplyBatch(shown)
	f.note.applyBatch(start, len(shown))
	if len(responses) != len(shown) {
		err := fmt.Errorf("the entry was applied, but ApplyBatch returned %d responses for %d entries", len(responses), len(shown))
		f.logger.Error("invalid number of responses from the FSM", "error", err)
		return nil, err
	}
	return responses, nil
}

// completeFuture completes the first future if it is that of an entry.
func completeFuture(futures *[]*logFuture, index uint64, resp interface{}, err error) {
	if len(*futures) > 0 && (*futures)[0].log.Index == index {
		(*futures)[0].applied(resp, err)
		*futures = (*futures)[1:]
	}
}

func (f *fsmRunner) advance(id entryID) {
	f.last, f.handled = id, true
	f.applied.Store(id.index)
	f.waiters.advance(id.index)
}

// restore opens a snapshot and gives it to the FSM. If it proves to be damaged only when
// the FSM has most of it, the FSM's state is unknown, as after any restore that fails.
func (f *fsmRunner) restore(t *restoreJob) error {
	meta, source, err := openStream(f.snaps, t.snapshot)
	if err != nil {
		return fmt.Errorf("failed to open snapshot %v: %w", t.snapshot, err)
	}
	if err := restoreFSM(f.fsm, meta, source, f.logger); err != nil {
		return fmt.Errorf("failed to restore snapshot %v: %w", t.snapshot, err)
	}
	if err := verifyStream(f.snaps, t.snapshot, source); err != nil {
		return fmt.Errorf("restored a damaged snapshot %v: %w", t.snapshot, err)
	}
	f.advance(t.id)
	return nil
}

// snapshot gets a handle on the FSM's state.
func (f *fsmRunner) snapshot() fsmSnapshot {
	if !f.handled {
		return fsmSnapshot{err: ErrNothingNewToSnapshot}
	}
	defer f.note.since([]string{"raft", "fsm", "snapshot"}, time.Now())
	state, err := f.fsm.Snapshot()
	if err != nil {
		return fsmSnapshot{err: fmt.Errorf("failed to start snapshot: %w", err)}
	}
	return fsmSnapshot{state: state, id: f.last}
}

// appliedWaiters are the callers of WaitApplied.
type appliedWaiters struct {
	mu      sync.Mutex
	waiting map[chan error]uint64
	closed  error
}

// add returns a channel that receives nil once index has been applied.
func (w *appliedWaiters) add(index uint64, applied *atomic.Uint64) chan error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan error, 1)
	switch {
	case applied.Load() >= index:
		c <- nil
	case w.closed != nil:
		c <- w.closed
	default:
		if w.waiting == nil {
			w.waiting = map[chan error]uint64{}
		}
		w.waiting[c] = index
	}
	return c
}

func (w *appliedWaiters) remove(c chan error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, c)
}

func (w *appliedWaiters) advance(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, want := range w.waiting {
		if want <= index {
			c <- nil
			delete(w.waiting, c)
		}
	}
}

func (w *appliedWaiters) close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = err
	for c := range w.waiting {
		c <- err
	}
	w.waiting = nil
}
