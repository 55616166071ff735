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
	round     uint64 // of the requests that go out now
	confirmed uint64 // the last round that a majority answered
	waiting   []read // in order of round
}

type read struct {
	round uint64 // the first one that counts
	index uint64
	reader
}

// add adds a read of what is committed through index, for the next round.
func (s *reads) add(index uint64, r reader) {
	s.waiting = append(s.waiting, read{s.round + 1, index, r})
}

// underWay reports whether a round waits for answers. Its end is better waited for
// before the next one begins.
func (s *reads) underWay() bool { return s.round > s.confirmed }

// confirm records the last round that a majority answered.
func (s *reads) confirm(round uint64) { s.confirmed = max(s.confirmed, round) }

// complete ends the reads that may see the state at applied, and returns how many.
func (s *reads) complete(applied uint64) (n int) {
	before := len(s.waiting)
	s.waiting = slices.DeleteFunc(s.waiting, func(r read) bool {
		if r.round > s.confirmed || r.index > applied {
			return false
		}
		r.done(r.index, nil)
		return true
	})
	return before - len(s.waiting)
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
