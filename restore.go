package raft

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// userRestore is a call of Restore (see there): the user replaces the state of the whole
// cluster by a snapshot from outside.
//
//	waiting for the writer ──► writing ──► closing ──► FSM restoring ──► no-op
//	                            given up    forking: there is no way back
//
// A snapshot that is visible in the store is what this node starts from next time. So it
// is closed only when main, still leading, says so. From then until it is the log's base
// the node accepts no entries, grants no votes and does not stand: what it promised would
// be forgotten.
// The FSM comes before the log: if it does not take the snapshot the log is still there.
type userRestore struct {
	meta    *SnapshotMeta
	reader  io.Reader
	future  future // done when the state is restored here
	noop    *logFuture
	writing bool
	since   time.Time
	id      entryID
	config  configEntry
}

// restoreWritten is the event of a user's snapshot that was written and not closed.
type restoreWritten struct {
	restore *userRestore
	sink    SnapshotSink
	err     error
}

// restoreClosed is the event of a user's snapshot that is visible, or could not be made so.
type restoreClosed struct {
	restore  *userRestore
	lead     *leadership
	snapshot string
	err      error
}

// errForking is why a node promises nothing while a user's snapshot becomes its base.
var errForking = errors.New("a user's snapshot is being restored")

// beginRestore accepts a user's snapshot, unless the leader is busy with something
// that it would contradict.
func (r *Raft) beginRestore(u *userRestore) {
	latest := r.configs.latest()
	switch {
	case r.lead.transfer != nil:
		u.future.respond(ErrLeadershipTransferInProgress)
	case r.lead.restore != nil:
		u.future.respond(fmt.Errorf("cannot restore snapshot now, another one is being restored"))
	case u.meta.Version < SnapshotVersionMin || u.meta.Version > SnapshotVersionMax:
		u.future.respond(fmt.Errorf("unsupported snapshot version %d", u.meta.Version))
	case latest.index > r.commit:
		u.future.respond(fmt.Errorf("cannot restore snapshot now, wait until the configuration entry at %v has been applied (have applied %v)",
			latest.index, r.applied()))
	default:
		u.since = r.now
		r.lead.restore = u
	}
}

// advanceRestore starts to write the snapshot once the writer is idle. What is not
// committed by then is overtaken. The snapshot's index lies beyond everything that
// this cluster has used, so no entry can be taken for one of the new history.
func (r *Raft) advanceRestore() {
	l := r.lead
	u := l.restore
	if u == nil || u.writing || r.writer.flying != nil || !r.writer.pending.empty() {
		return
	}
	u.writing = true
	for _, f := range l.futures {
		f.respond(ErrAbortedByRestore)
	}
	l.futures, l.backlog = nil, backlog{}
	u.id = entryID{max(r.log.last.index, u.meta.Index) + 1, l.term}
	u.config = r.configs.latest()
	over := l.over
	r.spawn(func() {
		sink, err := r.writeRestore(u, over)
		r.deliver(restoreWritten{u, sink, err})
	})
}

// writeRestore writes the user's snapshot and leaves it open.
func (r *Raft) writeRestore(u *userRestore, over <-chan struct{}) (SnapshotSink, error) {
	sink, err := r.snaps.Create(u.meta.Version, u.id.index, u.id.term, u.config.config, u.config.index, r.trans)
	if err != nil {
		return nil, fmt.Errorf("failed to create snapshot: %w", err)
	}
	n, err := io.Copy(sink, &cancelReader{u.reader, over, r.stopping})
	if err != nil {
		err = fmt.Errorf("failed to write snapshot: %w", err)
	} else if n != u.meta.Size {
		err = fmt.Errorf("failed to write snapshot, size didn't match (%d != %d)", n, u.meta.Size)
	}
	if err != nil {
		_ = sink.Cancel() // the first error is the one to report
		return nil, err
	}
	return sink, nil
}

// handleRestoreWritten closes the user's snapshot, unless the leadership that wanted it is
// over.
func (r *Raft) handleRestoreWritten(e restoreWritten) {
	l, u := r.lead, e.restore
	switch {
	case l == nil || l.restore != u: // its future has failed
		if e.sink != nil {
			r.spawn(func() { _ = e.sink.Cancel() })
		}
	case e.err != nil:
		l.restore = nil
		u.future.respond(e.err)
	default:
		r.forking = true
		r.spawn(func() { r.deliver(restoreClosed{u, l, e.sink.ID(), e.sink.Close()}) })
	}
}

// handleRestoreClosed has the FSM restored from a snapshot that is visible now.
func (r *Raft) handleRestoreClosed(e restoreClosed) {
	if e.err != nil {
		r.forking = false
		if r.lead == e.lead {
			r.lead.restore = nil
		}
		e.restore.future.respond(fmt.Errorf("failed to close snapshot: %w", e.err))
		return
	}
	job := &restoreJob{snapshot: e.snapshot, id: e.restore.id}
	job.done = func(err error) { r.finishRestore(e.lead, e.restore, err) }
	r.work.restoreFrom(job)
}

// finishRestore makes the snapshot the log's base, on this node and, because nobody has an
// entry at its index, on all others. A no-op opens the new history: when that is
// committed, a majority has the state.
func (r *Raft) finishRestore(l *leadership, u *userRestore, err error) {
	r.forking = false
	if err != nil {
		u.future.respond(err)
		r.stopWith(fmt.Errorf("the FSM refused a user's snapshot and is of no use; start again to go on from the log: %w", err))
		return
	}
	r.rebase(u.id, u.config)
	if r.lead != l {
		return // the next leader's state will replace it
	}
	l.restore = nil
	for _, p := range l.peers {
		p.progress.install()
	}
	u.noop = newLogFuture(Log{Type: LogNoop})
	r.appendLocal([]*logFuture{u.noop})
	r.note.userRestored(r.log.snap.index, u.since)
	u.future.respond(nil)
}
