package raft

import "time"

// This file says what main makes of the writer's reports: what is durable, what to
// do when a store fails (R16), and when a store takes too long (L1).

// sickness is the state of a node whose log store has failed a write, in a way that
// may pass, like a full disk. It does not stand, grant votes or accept entries until a
// probe has succeeded; then it goes on without a restart.
type sickness struct {
	err     error
	reset   *entryID // the store still has to be emptied for this snapshot
	probe   *Log     // the first entry that was not stored: writing it shows whether it works again
	retryAt time.Time
	wait    time.Duration
}

const (
	firstProbe = 100 * time.Millisecond
	lastProbe  = 5 * time.Second
)

// handleWritten deals with a batch that the writer has finished or failed.
func (r *Raft) handleWritten(b *batch) {
	r.writer.finish(&r.log)
	r.note.written(r.lead != nil, r.writer.since, len(b.entries))
	switch {
	case b.fatal:
		for _, p := range b.promises {
			p.f(b.err)
		}
		r.stopWith(b.err)
	case b.err != nil:
		r.handleLogFailure(b)
	default:
		if r.sickness != nil && r.sickness.probes(b) {
			r.recovered()
		}
		for _, p := range b.promises {
			p.f(nil)
		}
		if r.lead != nil && len(b.entries) > 0 {
			r.lead.pace.written(r.now, r.now.Sub(r.writer.since), r.uncommitted(), r.proposals.len())
		}
	}
}

// handleLogFailure takes everything that the store did not acknowledge out of the
// log view. Reading back would prove nothing.
func (r *Raft) handleLogFailure(b *batch) {
	r.note.storeFailed(b.err)
	durable := r.log.durable
	if b.truncate > 0 {
		durable = min(durable, b.truncate-1)
	}
	if b.reset != nil {
		durable = b.reset.index
	}
	if p := r.writer.pending; p.reset != nil {
		durable = p.reset.index
	}
	r.fallSick(b)
	promises := append(b.promises, r.writer.fail()...)
	r.dropAbove(durable)
	if r.lead != nil || r.campaign != nil {
		r.become(Follower, r.hard.term) // it neither leads nor stands
	}
	for _, p := range promises {
		p.f(b.err)
	}
}

// dropAbove takes what is not durable out of the log view. If that is what a snapshot
// joined, the snapshot alone is left, and the store has to begin anew behind it.
func (r *Raft) dropAbove(durable uint64) {
	for n := len(r.settled); n > 0 && r.settled[n-1].log.Index > durable; n-- {
		// Committed by others, but nobody knows whether this node will apply it.
		r.settled[n-1].respond(ErrLeadershipLost)
		r.settled = r.settled[:n-1]
	}
	switch snap := r.log.snap; {
	case durable < snap.index:
		r.log.reset(snap)
		r.configs.truncate(snap.index + 1)
		r.sickness.reset = &snap
	case r.log.last.index > durable:
		r.log.truncate(durable + 1)
		r.configs.truncate(durable + 1)
	}
}

func (r *Raft) fallSick(b *batch) {
	if r.sickness == nil {
		r.sickness = &sickness{wait: firstProbe}
	}
	s := r.sickness
	s.err = b.err
	if p := r.writer.pending; p.reset != nil {
		s.reset, s.probe = p.reset, nil
	} else {
		if b.reset != nil {
			s.reset = b.reset
		}
		if len(b.entries) > 0 {
			s.probe = b.entries[0]
		}
	}
	s.retryAt = r.now.Add(s.wait)
	s.wait = min(2*s.wait, lastProbe)
}

// probes reports whether a batch is the probe.
func (s *sickness) probes(b *batch) bool { return b.truncate > 0 && s.retryAt.IsZero() }

// probeStore tries whether the log store works again: what is not known to be
// durable is deleted, then an entry stored and deleted once more. The entry is a
// real one, so it does no harm if a crash leaves it behind.
func (r *Raft) probeStore() {
	s := r.sickness
	s.retryAt = time.Time{}
	r.writer.pending.reset = s.reset
	r.writer.pending.truncate = r.log.durable + 1
	if s.probe != nil && s.probe.Index == r.log.durable+1 {
		r.writer.pending.probe = s.probe
	}
}

func (r *Raft) recovered() {
	r.sickness = nil
	r.note.storeRecovered()
}

// minHung is the least time after which a write counts as hung.
const minHung = 2 * time.Second

// hungAfter is how long a write may take before the disk counts as hung.
func (r *Raft) hungAfter() time.Duration { return max(5*r.conf().ElectionTimeout, minHung) }

// storeDoubtful reports whether this node should not promise much: its log store
// fails, or a write has hung for long.
func (r *Raft) storeDoubtful() bool {
	return r.unfit() != nil || r.writer.age(r.now) >= r.hungAfter()
}

// unfit is why this node must not promise anything new at all, nil if it may.
func (r *Raft) unfit() error {
	switch {
	case r.sickness != nil:
		return r.sickness.err
	case r.forking:
		return errForking
	default:
		return nil
	}
}

// checkStore probes a store that failed, and makes a leader step down whose disk
// hangs: its heartbeats would keep the others from electing one that can write (L1).
func (r *Raft) checkStore() {
	if s := r.sickness; s != nil && !s.retryAt.IsZero() && !r.now.Before(s.retryAt) {
		r.probeStore()
	}
	if r.lead != nil && r.writer.age(r.now) >= r.hungAfter() {
		r.note.storeHung(r.writer.age(r.now))
		r.become(Follower, r.hard.term)
	}
}

// storeDeadline is when checkStore is due, zero if it is not.
func (r *Raft) storeDeadline() time.Time {
	if r.sickness != nil && !r.sickness.retryAt.IsZero() {
		return r.sickness.retryAt
	}
	if r.lead != nil && r.writer.flying != nil {
		return r.writer.since.Add(r.hungAfter())
	}
	return time.Time{}
}

// handleCompactFailed reports a prefix delete that did not work. Nothing is lost by
// it; the next snapshot tries again.
func (r *Raft) handleCompactFailed(e compactFailed) {
	if isIOError(e.err) {
		r.stopWith(e.err)
		return
	}
	r.logger.Error("log compaction failed, will try again after the next snapshot", "error", e.err)
}

// compactLog lets go of the entries that a snapshot covers, but for TrailingLogs of
// them and for what followers need that are receiving a snapshot.
func (r *Raft) compactLog() {
	last, trailing := r.log.last.index, r.conf().TrailingLogs
	if last <= trailing {
		return
	}
	to := min(r.log.snap.index, r.log.durable, last-trailing, r.logPin())
	if to <= r.log.floor.index {
		return
	}
	r.note.compacting(r.log.floor.index, to)
	r.log.compact(to)
	r.configs.compact(to)
	r.writer.raiseCompact(to)
}
