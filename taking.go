package raft

import (
	"fmt"
	"io"
	"time"
)

// snapshotTaking is main's side of taking snapshots of this node's own FSM.
type snapshotTaking struct {
	due     time.Time // when to look whether one is due
	wanted  bool      // one is
	busy    bool      // one is being taken
	since   time.Time
	waiting []*snapshotCall
	served  []*snapshotCall // by the one being taken
}

// snapshotCall is a call of Snapshot.
type snapshotCall struct {
	future *snapshotFuture
}

// snapshotDone is the event of a snapshot that was stored, or could not be.
type snapshotDone struct {
	id       entryID
	snapshot string // its ID in the store
	err      error
}

// checkSnapshotDue asks for a snapshot when the log has grown enough.
func (r *Raft) checkSnapshotDue() {
	t := &r.taking
	if r.now.Before(t.due) {
		return
	}
	t.due = r.now.Add(r.random(r.conf().SnapshotInterval))
	// A log that ends before its snapshot has not grown (H16).
	grown := r.log.last.index - min(r.log.snap.index, r.log.last.index)
	t.wanted = t.wanted || grown > 0 && grown >= r.conf().SnapshotThreshold
}

// flushTaking starts a snapshot when one is wanted and none under way. Calls that
// come while one is being taken wait for the next: it may not have what they want.
func (r *Raft) flushTaking() {
	t := &r.taking
	if t.busy || !t.wanted && len(t.waiting) == 0 {
		return
	}
	t.busy, t.wanted, t.since = true, false, r.now
	t.served, t.waiting = t.waiting, nil
	r.work.snapshot = true
}

// handleFSMSnapshot stores the state that the FSM has handed out. The configuration
// in the snapshot is the one in force at its index.
func (r *Raft) handleFSMSnapshot(e fsmSnapshot) {
	r.work.busy = false
	if e.err == nil && e.id.index < r.log.snap.index {
		e.err = errSuperseded // the configurations below it are gone
		e.state.Release()
	}
	if e.err != nil {
		r.handleSnapshotDone(snapshotDone{err: e.err})
		return
	}
	config := r.configs.at(e.id.index)
	r.note.snapshotStarted(e.id.index)
	r.spawn(func() {
		snapshot, err := r.persist(e.state, e.id, config)
		r.deliver(snapshotDone{e.id, snapshot, err})
	})
}

// persist stores a state. It runs beside main, and beside the FSM.
func (r *Raft) persist(state FSMSnapshot, id entryID, config configEntry) (snapshot string, err error) {
	defer state.Release()
	start := time.Now()
	sink, err := r.snaps.Create(1, id.index, id.term, config.config, config.index, r.trans)
	if err != nil {
		return "", fmt.Errorf("failed to create snapshot: %w", err)
	}
	r.note.since([]string{"raft", "snapshot", "create"}, start)
	start = time.Now()
	if err := state.Persist(sink); err != nil {
		_ = sink.Cancel() // the first error is the one to report
		return "", fmt.Errorf("failed to persist snapshot: %w", err)
	}
	r.note.since([]string{"raft", "snapshot", "persist"}, start)
	if err := sink.Close(); err != nil {
		return "", fmt.Errorf("failed to close snapshot: %w", err)
	}
	return sink.ID(), nil
}

// handleSnapshotDone makes a stored snapshot the base of compaction.
func (r *Raft) handleSnapshotDone(e snapshotDone) {
	t := &r.taking
	t.busy = false
	switch {
	case e.err != nil:
		r.note.snapshotFailed(e.err)
	default:
		r.note.snapshotComplete(e.id.index)
		r.note.since([]string{"raft", "snapshot", "takeSnapshot"}, t.since)
		if e.id.index > r.log.snap.index && r.log.contains(e.id) {
			r.log.snap = e.id
			r.compactLog()
		}
	}
	for _, c := range t.served {
		c.future.complete(r.snaps, e.snapshot, e.err)
	}
	t.served = nil
}

// snapshotFuture is the future of Snapshot.
type snapshotFuture struct {
	future
	open func() (*SnapshotMeta, io.ReadCloser, error)
}

func (f *snapshotFuture) complete(snaps SnapshotStore, id string, err error) {
	if err == nil {
		f.open = func() (*SnapshotMeta, io.ReadCloser, error) { return snaps.Open(id) }
	}
	f.respond(err)
}

// Open returns the snapshot. It works once.
func (f *snapshotFuture) Open() (*SnapshotMeta, io.ReadCloser, error) {
	if f.Error() != nil || f.open == nil {
		return nil, nil, errNoSnapshot
	}
	open := f.open
	f.open = nil
	return open()
}
