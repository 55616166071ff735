package raft

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// status is a consistent view of a node at one moment: what others may see of main's
// state. Main publishes it at the end of each step, before the futures that depend on
// it complete.
type status struct {
	state     RaftState
	term      uint64
	leader    candidate
	last      entryID
	durable   uint64
	commit    uint64
	snap      entryID
	latest    configEntry
	pending   uint64    // entries that the FSM may get
	writing   time.Time // when the write in flight began; zero if there is none
	readLease time.Time // until then nobody else leads; zero: not known
	sick      error     // why the log store is not used, or the node has stopped
}

// publish makes main's present state visible.
func (r *Raft) publish() {
	s := status{
		state: r.state, term: r.hard.term, leader: r.leader,
		last: r.log.last, durable: r.log.durable, commit: r.commit, snap: r.log.snap,
	}
	s.pending = max(min(r.commit, r.log.durable), r.work.applying) - r.work.applying
	if r.writer.flying != nil {
		s.writing = r.writer.since
	}
	if r.lead != nil {
		s.readLease = r.lead.readLease
	}
	switch {
	case r.failure != nil:
		s.sick = r.failure
	case r.sickness != nil:
		s.sick = r.sickness.err
	}
	r.contact.set(r.heard)
	old := r.published.Load()
	if s.latest = r.configs.latest(); old != nil && s.same(old) {
		return
	}
	changed := s // s itself would be on the heap in every step
	r.published.Store(&changed)
}

// same reports whether nothing has changed. The configuration is known by its index
// and its list of servers, which is never changed in place.
func (s *status) same(o *status) bool {
	if s.latest.index != o.latest.index || len(s.latest.config.Servers) != len(o.latest.config.Servers) ||
		len(s.latest.config.Servers) > 0 && &s.latest.config.Servers[0] != &o.latest.config.Servers[0] {
		return false
	}
	return s.state == o.state && s.term == o.term && s.leader == o.leader &&
		s.last == o.last && s.durable == o.durable && s.commit == o.commit && s.snap == o.snap &&
		s.pending == o.pending && s.writing.Equal(o.writing) && s.readLease.Equal(o.readLease) && s.sick == o.sick
}

func (r *Raft) status() *status { return r.published.Load() }

// Stats returns facts about this node as text, for operators. It works in any state,
// also after Shutdown. The keys are those of hashicorp/raft, and:
//
//   - durable_index: the last entry that is on this node's disk;
//   - write_age: how long the present write to disk has taken, 0 if there is none;
//   - store_error: why the log store is not used at the moment, or why the node stopped by
//     itself; absent otherwise.
func (r *Raft) Stats() map[string]string {
	s := r.status()
	num := func(n uint64) string { return strconv.FormatUint(n, 10) }
	stats := map[string]string{
		"state":                      s.state.String(),
		"term":                       num(s.term),
		"last_log_index":             num(s.last.index),
		"last_log_term":              num(s.last.term),
		"commit_index":               num(s.commit),
		"applied_index":              num(r.applied()),
		"fsm_pending":                num(s.pending),
		"last_snapshot_index":        num(s.snap.index),
		"last_snapshot_term":         num(s.snap.term),
		"protocol_version":           num(uint64(r.protocol)),
		"protocol_version_min":       num(uint64(ProtocolVersionMin)),
		"protocol_version_max":       num(uint64(ProtocolVersionMax)),
		"snapshot_version_min":       num(uint64(SnapshotVersionMin)),
		"snapshot_version_max":       num(uint64(SnapshotVersionMax)),
		"latest_configuration_index": num(s.latest.index),
		"latest_configuration":       fmt.Sprintf("%+v", s.latest.config.Servers),
		"num_peers":                  num(s.otherVoters(r.localID)),
		"last_contact":               s.lastContact(r.contact.get()),
		"durable_index":              num(s.durable),
		"write_age":                  s.writeAge(),
	}
	if s.sick != nil {
		stats["store_error"] = s.sick.Error()
	}
	return stats
}

// otherVoters counts the other voters, 0 if this node is none itself.
func (s *status) otherVoters(self ServerID) uint64 {
	if !s.latest.config.isVoter(self) {
		return 0
	}
	return uint64(len(s.latest.config.voters()) - 1)
}

func (s *status) lastContact(contact time.Time) string {
	switch {
	case s.state == Leader:
		return "0"
	case contact.IsZero():
		return "never"
	default:
		return time.Since(contact).String()
	}
}

// contactTime is when this node last heard of a leader. It is kept apart from status,
// because it changes with every heartbeat and most often alone. Whoever holds mu sets it.
type contactTime struct {
	first atomic.Pointer[time.Time] // nil: never
	since atomic.Int64              // the last time, as the duration since the first
}

func (c *contactTime) set(t time.Time) {
	switch first := c.first.Load(); {
	case t.IsZero():
	case first == nil:
		since := t // t itself would be on the heap each time
		c.first.Store(&since)
	default:
		c.since.Store(int64(t.Sub(*first)))
	}
}

func (c *contactTime) get() time.Time {
	first := c.first.Load()
	if first == nil {
		return time.Time{}
	}
	return first.Add(time.Duration(c.since.Load()))
}

func (s *status) writeAge() string {
	if s.writing.IsZero() {
		return "0"
	}
	return time.Since(s.writing).String()
}
