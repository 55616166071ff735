package raft

import (
	"math"
	"time"
)

// This file is about reads that cost no round of heartbeats (Config.LeaseReads, R20).
//
// A leader asks, with its heartbeats, for promises: that a voter neither votes nor stands
// for a while. As long as the promises of a majority of the voters last, counted from
// when they were asked for and with a margin for clocks, nobody else can be elected, so
// what this leader has committed is all there is. Voters of hashicorp/raft, and those
// without LeaseReads, promise nothing and do not count.
//
//   - A promise is made when its length is on disk: a voter that restarts keeps whatever
//     it may have promised (R1).
//   - A request for a transferred leadership does not override it: a late TimeoutNow
//     could be behind it. A leader that transfers its leadership asks no more in this
//     term, which releases the voters, and uses no lease again (R12).

const (
	// maxPromise bounds what is believed of the StableStore: a node that reads more has
	// read nonsense, and would never stand.
	maxPromise = 24 * time.Hour

	// clockMargin is the part of a promise that a leader leaves alone: 1/clockMargin.
	// So much may the clock of a voter be faster than the leader's.
	clockMargin = 10

	// unlimited is how long a lease lasts that no other voter has to grant.
	unlimited = 100 * 365 * 24 * time.Hour
)

// promise answers a heartbeat that asks this voter for a promise, or releases it. It
// returns how long the promise lasts, 0 if there is none. The answer has to wait for
// the writer.
func (r *Raft) promise(asked bool) time.Duration {
	length := r.conf().HeartbeatTimeout
	switch {
	case !asked:
		r.released, r.promised = true, time.Time{}
		return 0
	case r.released || !r.conf().LeaseReads:
		return 0
	case length > r.longest, length < r.longest && !r.promised.After(r.now.Add(length)):
		r.longest = length // a longer one is over by the time that this one is
		r.writer.setLongest(length)
	}
	if end := r.now.Add(length); end.After(r.promised) {
		r.promised = end
	}
	return length
}

// promising reports whether this voter has promised a leader not to vote and not to stand.
func (r *Raft) promising() bool { return r.now.Before(r.promised) }

// asksPromises reports whether this leader wants to read by a lease.
func (l *leadership) asksPromises(c *Config) bool { return c.LeaseReads && l.release == 0 }

// promisedBy takes note of the promise in a peer's answer. A peer can't lengthen the lease
// beyond this leader's own patience (R17).
func (r *Raft) promisedBy(p *peer, sent time.Time, length time.Duration) {
	length = min(length, r.conf().HeartbeatTimeout)
	if length <= 0 {
		return
	}
	if end := sent.Add(length - length/clockMargin); end.After(p.promised) {
		p.promised = end
	}
	r.updateLease()
}

// updateLease works out how long the promises of a majority last. There is no lease before
// an entry of this term is committed: the commit index says nothing until then (R5).
func (r *Raft) updateLease() {
	l := r.lead
	l.readLease = time.Time{}
	if !l.asksPromises(r.conf()) || r.commit < l.start {
		return
	}
	left := quorumValue(l.voters, func(id ServerID) time.Duration {
		if id == r.localID {
			return unlimited // it gives no vote while it leads
		}
		if p := l.peer(id); p != nil {
			return p.promised.Sub(r.now)
		}
		return math.MinInt64
	})
	if left > 0 {
		l.readLease = r.now.Add(left)
	}
}

// giveUpLease ends the lease for the rest of the term and begins to release the voters.
func (r *Raft) giveUpLease() {
	l := r.lead
	if !l.asksPromises(r.conf()) {
		return
	}
	l.release, l.readLease = l.reads.round+1, time.Time{}
	r.publish() // before anyone is released
	r.beat()
}

// hasReleased reports whether a peer and a majority of the voters know that their promises
// are over. Only heartbeats tell them.
func (r *Raft) hasReleased(p *peer) bool {
	l := r.lead
	if l.release == 0 {
		return true
	}
	heard := quorumValue(l.voters, func(id ServerID) uint64 {
		if id == r.localID {
			return l.release
		}
		if p := l.peer(id); p != nil {
			return p.beatRound
		}
		return 0
	})
	return min(p.beatRound, heard) >= l.release
}

// leasedIndex returns what a read that begins now has to see, if this node leads by a
// lease. It may be called from any goroutine. The time is looked at last: if the lease is
// not over then, it was not when the commit index was read.
func (r *Raft) leasedIndex(now func() time.Time) (index uint64, ok bool) {
	s := r.status()
	return s.commit, !s.readLease.IsZero() && now().Before(s.readLease)
}
