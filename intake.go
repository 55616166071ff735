package raft

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// This file is the follower's side of installing a snapshot.

// intake is a snapshot that is being received, by a goroutine of its own: elections
// and heartbeats go on all the while (L16). The newest request wins.
type intake struct {
	rpc    RPC
	req    *InstallSnapshotRequest
	id     entryID
	config configEntry

	cancelled atomic.Bool
}

func (in *intake) cancel() { in.cancelled.Store(true) }

// intakeDone is the event of a snapshot that was received, or could not be.
type intakeDone struct {
	intake   *intake
	snapshot string // its ID in the store
	err      error
}

var errSuperseded = errors.New("another snapshot took its place")

// handleInstall begins to receive a snapshot, if it is of use.
func (r *Raft) handleInstall(rpc RPC, req *InstallSnapshotRequest) {
	from := sender(req.RPCHeader, req.Leader)
	if req.Term < r.hard.term {
		r.drain(rpc, &InstallSnapshotResponse{Term: r.hard.term}, nil)
		return
	}
	config, err := r.checkInstall(req, from)
	if err != nil {
		r.note.badRequest("InstallSnapshot", from, err)
		r.drain(rpc, &InstallSnapshotResponse{Term: r.hard.term}, err)
		return
	}
	r.follow(req.Term, from)
	in := &intake{rpc: rpc, req: req, id: entryID{req.LastLogIndex, req.LastLogTerm}, config: config}
	if wanted, has := r.judgeSnapshot(in.id); !wanted {
		r.note.snapshotNotWanted(in.id, r.log.snap, r.applied())
		r.drain(rpc, &InstallSnapshotResponse{Term: r.hard.term, Success: has}, nil)
		return
	}
	if err := r.unfit(); err != nil {
		r.drain(rpc, &InstallSnapshotResponse{Term: r.hard.term}, err)
		return
	}
	if r.intake != nil {
		r.intake.cancel()
	}
	r.intake = in
	r.spawn(func() {
		snapshot, err := r.receiveSnapshot(in)
		r.deliver(intakeDone{in, snapshot, err})
	})
}

// checkInstall refuses what no leader sends (R17), and decodes the configuration.
func (r *Raft) checkInstall(req *InstallSnapshotRequest, from candidate) (configEntry, error) {
	if req.SnapshotVersion < SnapshotVersionMin || req.SnapshotVersion > SnapshotVersionMax {
		return configEntry{}, fmt.Errorf("unsupported snapshot version %d", req.SnapshotVersion)
	}
	if err := r.checkLeader(req.Term, from); err != nil {
		return configEntry{}, err
	}
	if req.LastLogIndex == 0 || req.LastLogTerm > req.Term || req.Size < 0 || req.ConfigurationIndex > req.LastLogIndex {
		return configEntry{}, fmt.Errorf("snapshot of %d bytes at %v with configuration %d in a request of term %d",
			req.Size, entryID{req.LastLogIndex, req.LastLogTerm}, req.ConfigurationIndex, req.Term)
	}
	config, err := installConfiguration(req, r.trans)
	if err != nil {
		return configEntry{}, err
	}
	return config, checkReceived(config.config)
}

func installConfiguration(req *InstallSnapshotRequest, trans Transport) (configEntry, error) {
	if req.SnapshotVersion == 0 {
		c, err := decodePeers(req.Peers, trans)
		return configEntry{req.LastLogIndex, c}, err
	}
	c, err := decodeConfiguration(req.Configuration)
	return configEntry{req.ConfigurationIndex, c}, err
}

// judgeSnapshot applies R11: a snapshot at or below our base or what is applied, or that
// the durable log contains, changes nothing; has is true then. A node whose FSM failed to
// restore takes any that does not take it back.
//
// A node whose history has been forked by hand takes any of the leader that contradicts
// it, but for one that its own sorts before: at the next start it would come back with
// its own. It waits for a newer one, of the leader's term.
func (r *Raft) judgeSnapshot(id entryID) (wanted, has bool) {
	snap := r.log.snap
	switch {
	case r.forked == r.hard.term && r.forked != 0:
		return id != snap && id.atLeast(snap), false
	case r.work.broken:
		return id.index >= snap.index, false
	case id.index <= max(r.applied(), snap.index):
		return false, true
	default:
		has = id.index <= r.log.durable && r.log.contains(id)
		return !has, has
	}
}

// receiveSnapshot stores the stream of an InstallSnapshot and reads it to its end in
// any case.
func (r *Raft) receiveSnapshot(in *intake) (snapshot string, err error) {
	defer func() { _, _ = io.Copy(io.Discard, in.rpc.Reader) }()
	sink, err := r.snaps.Create(1, in.id.index, in.id.term, in.config.config, in.config.index, r.trans)
	if err != nil {
		return "", fmt.Errorf("failed to create snapshot: %w", err)
	}
	source := newCountingReadCloser(io.NopCloser(&intakeReader{in}))
	defer logProgress(r.logger, "snapshot network transfer progress", source, in.req.Size)()
	n, err := io.Copy(sink, source) // a file sink reads into buffers of its own
	if err == nil && n != in.req.Size {
		err = errShortRead
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

var errShortRead = errors.New("short read")

// intakeReader is the stream of an intake until that is cancelled.
type intakeReader struct{ *intake }

func (r *intakeReader) Read(b []byte) (int, error) {
	if r.cancelled.Load() {
		return 0, errSuperseded
	}
	return r.rpc.Reader.Read(b)
}

// handleIntakeDone installs a snapshot that has been received, if it is still of
// use, even if the term has moved on (R11).
func (r *Raft) handleIntakeDone(e intakeDone) {
	in := e.intake
	if r.intake != in && e.err == nil {
		e.err = errSuperseded
	}
	if r.intake == in {
		r.intake = nil
	}
	if e.err == nil {
		e.err = r.unfit()
	}
	if e.err != nil {
		r.note.intakeFailed(in.id, e.err)
		r.answerInstall(in, e.err)
		return
	}
	if wanted, _ := r.judgeSnapshot(in.id); !wanted || r.state == Leader {
		r.answerInstall(in, nil)
		return
	}
	r.logger.Info("copied to local snapshot", "id", e.snapshot, "index", in.id.index)
	if r.state == Candidate {
		r.become(Follower, r.hard.term) // the log that it claimed may go
	}
	both := join(2, func(err error) {
		if err == nil {
			r.heard = r.now
			r.logger.Info("Installed remote snapshot")
		}
		r.answerInstall(in, err)
	})
	r.rebase(in.id, in.config)
	r.work.restoreFrom(&restoreJob{snapshot: e.snapshot, id: in.id, done: both})
	r.writer.whenSynced(both)
}

// answerInstall answers with success only in the term of the request.
func (r *Raft) answerInstall(in *intake, err error) {
	ok := err == nil && r.hard.term == in.req.Term
	in.rpc.Respond(&InstallSnapshotResponse{Term: r.hard.term, Success: ok}, err)
}

// rebase makes a snapshot the base of the log at once; the FSM has its state already, or
// gets it next. What the log has above stays only if it has the snapshot's last entry: else
// it may be a dead leader's, and goes whole (R10, S8).
func (r *Raft) rebase(id entryID, config configEntry) {
	if r.log.contains(id) {
		r.log.snap = id
		r.configs.reset(id.index, config)
	} else {
		r.log.reset(id)
		r.configs = newConfigurations(config)
		r.writer.resetTo(id)
	}
	r.note.configuration(config.index, config.config)
	if r.forked != 0 {
		r.commit = id.index // the history it was about is gone
	}
	r.commit = max(r.commit, id.index)
	r.forked = 0
	r.dropSettled(id.index)
}

// dropSettled ends the futures of entries that are in a snapshot now: they are
// committed, but nobody knows what the FSM said to them.
func (r *Raft) dropSettled(index uint64) {
	n := 0
	for n < len(r.settled) && r.settled[n].log.Index <= index {
		r.settled[n].respond(ErrLeadershipLost)
		n++
	}
	r.settled = r.settled[n:]
}

// join returns a function that calls done when it has been called n times, with the
// first error.
func join(n int, done func(error)) func(error) {
	var first error
	return func(err error) {
		if first == nil {
			first = err
		}
		if n--; n == 0 {
			done(first)
		}
	}
}
