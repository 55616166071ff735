package raft

import (
	"fmt"
	"io"
	"time"
)

// userRestore is a call of Restore (see there): the user replaces the state of the
// whole cluster by a snapshot from outside.
//
//	waiting for the writer ──► writing the snapshot ──► FSM restoring ──► no-op
type userRestore struct {
	meta    *SnapshotMeta
	reader  io.Reader
	future  future // done when the state is restored here
	noop    *logFuture
	writing bool
	since   time.Time
}

// restoreWritten is the event of a user's snapshot that was stored.
type restoreWritten struct {
	restore  *userRestore
	id       entryID
	config   configEntry
	snapshot string
	err      error
}

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
	e := restoreWritten{
		restore: u,
		id:      entryID{max(r.log.last.index, u.meta.Index) + 1, l.term},
		config:  r.configs.latest(),
	}
	over := l.over
	r.spawn(func() {
		e.snapshot, e.err = r.writeRestore(u, e.id, e.config, over)
		r.deliver(e)
	})
}

// writeRestore stores the user's snapshot. It is not finished if the leadership ends
// before: this server would come back with a state that no other has.
func (r *Raft) writeRestore(u *userRestore, id entryID, config configEntry, over <-chan struct{}) (string, error) {
	sink, err := r.snaps.Create(u.meta.Version, id.index, id.term, config.config, config.index, r.trans)
	if err != nil {
		return "", fmt.Errorf("failed to create snapshot: %w", err)
	}
	n, err := io.Copy(sink, &cancelReader{u.reader, over, r.stopping})
	switch {
	case err != nil:
		err = fmt.Errorf("failed to write snapshot: %w", err)
	case n != u.meta.Size:
		err = fmt.Errorf("failed to write snapshot, size didn't match (%d != %d)", n, u.meta.Size)
	default:
		select {
		case <-over:
			err = ErrLeadershipLost
		default:
		}
	}
	if err != nil {
		_ = sink.Cancel() // the first error is the one to report
		return "", err
	}
	if err := sink.Close(); err != nil {
		return "", fmt.Errorf("failed to close snapshot: %w", err)
	}
	return sink.ID(), nil
}

// handleRestoreWritten makes the user's snapshot the log's base, on this node and,
// because nobody has an entry at its index, on all others.
func (r *Raft) handleRestoreWritten(e restoreWritten) {
	l, u := r.lead, e.restore
	if l.restore != u {
		return // of an earlier leadership; its future has failed
	}
	if e.err != nil {
		l.restore = nil
		u.future.respond(e.err)
		return
	}
	job := &restoreJob{snapshot: e.snapshot, id: e.id}
	job.done = func(err error) { r.finishRestore(l, u, err) }
	r.rebase(e.id, e.config, job)
	for _, p := range l.peers {
		p.progress.install()
	}
}

// finishRestore opens the new history with a no-op: when that is committed, a
// majority has the state.
func (r *Raft) finishRestore(l *leadership, u *userRestore, err error) {
	if r.lead != l {
		return // its future has failed
	}
	l.restore = nil
	if err != nil {
		u.future.respond(err)
		r.become(Follower, r.hard.term) // with an FSM that is of no use
		return
	}
	u.noop = newLogFuture(Log{Type: LogNoop})
	r.appendLocal([]*logFuture{u.noop})
	r.note.userRestored(r.log.snap.index, u.since)
	u.future.respond(nil)
}
