package raft

import (
	"slices"
	"time"
)

// reads confirms that this node still leads, for linearizable reads (§6.4 of the
// dissertation). Every request to a follower belongs to a numbered round; a read
// that arrives is confirmed by a majority of the voters that answered a request of
// a later round (R14). All reads that wait share the next round.
//
// A read is complete when its round is confirmed and the FSM has applied the index
// that was committed when it arrived, and the entry that opened this leader's term.
type reads struct {
	round     uint64  // of the requests that go out now
	confirmed uint64  // the last round that a majority answered
	waiting   []*read // in order of round
}

type read struct {
	round uint64 // the first one that counts
	index uint64
	done  func(index uint64, err error)
}

// add queues a read of what is committed through index.
func (s *reads) add(index uint64, done func(uint64, error)) {
	s.waiting = append(s.waiting, &read{s.round + 1, index, done})
}

// wantsRound reports whether a round must be started for the reads that wait: not
// while one of them is under way, whose end is better waited for.
func (s *reads) wantsRound() bool {
	n := len(s.waiting)
	return n > 0 && s.waiting[n-1].round > s.round && s.round == s.confirmed
}

// confirm records the last round that a majority answered.
func (s *reads) confirm(round uint64) { s.confirmed = max(s.confirmed, round) }

// complete ends the reads that may see the state at applied.
func (s *reads) complete(applied uint64) {
	s.waiting = slices.DeleteFunc(s.waiting, func(r *read) bool {
		if r.round > s.confirmed || r.index > applied {
			return false
		}
		r.done(r.index, nil)
		return true
	})
}

// fail ends all reads.
func (s *reads) fail(err error) {
	for _, r := range s.waiting {
		r.done(0, err)
	}
	s.waiting = nil
}

// quorumContact returns the time at which a majority of the voters last proved that
// they follow this leader: when the request was sent that the slowest of the best
// majority answered (R6). self counts as always in contact, if it is a voter.
func quorumContact(voters []ServerID, self ServerID, now time.Time, contact func(ServerID) time.Time) time.Time {
	silence := quorumValue(voters, func(id ServerID) time.Duration {
		if id == self {
			return 0
		}
		return -now.Sub(contact(id))
	})
	return now.Add(silence)
}
