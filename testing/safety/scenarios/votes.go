package scenarios

import (
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// This file: terms, votes and who stands for election.
var votes = []scenario{
	{"S3", "while a vote request of term 5 is written to disk, a heartbeat of term 9 arrives", termGoesBack},
	{"S7b", "a candidate crashed, lost part of its log, and asks for the same vote again", repeatedVote},
	{"S9", "a voter has voted; in the same term another candidate asks from the first one's recycled address", recycledAddress},
	{"S10", "the power fails at each write of a vote; then another candidate with a shorter log asks", tornVote},
	{"S14a", "TimeoutNow is sent to a non-voter", nonvoterStands},
	{"S14b", "TimeoutNow is sent to the leader, by a server that does not lead", leaderIsDisturbed},
	{"S14c", "leadership is to be transferred to a non-voter", transferToNonvoter},
	{"L7", "a candidate with a newer log is not in the voter's own, stale configuration", unknownCandidate},
}

// S3. The first write of the term is held until the heartbeat was answered, or for a
// while where it has to wait for its turn.
func termGoesBack(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	var busy gate
	busy.shut()
	var first atomic.Bool
	n.disk.stable.before(func(op operation) error {
		if op.key == "CurrentTerm" && first.CompareAndSwap(false, true) {
			busy.pass()
		}
		return nil
	})
	voted := make(chan error, 1)
	go func() {
		voted <- b.RequestVote(n.id, n.addr, b.voteRequest(5, 1, 1), new(raft.RequestVoteResponse))
	}()
	s.await("the write of the term", busy.held)
	beaten := make(chan error, 1)
	go func() {
		_, err := c.tryAppend(n, 9, 0, 0, 0)
		beaten <- err
	}()
	within(settle, func() bool { return len(beaten) > 0 })
	busy.open()
	s.must(<-voted)
	s.must(<-beaten)
	if n.CurrentTerm() < 9 {
		s.violated("its term went back from 9 to %d", n.CurrentTerm())
	}
	if term := n.disk.stable.term(); term < 9 {
		s.violated("the term on disk went back from 9 to %d", term)
	}
}

// S7b. The repeated request must be judged like the first one: what the candidate had
// when it was first asked says nothing about what it has now.
func repeatedVote(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"), commandsOf(2, 10, 1, "x")...)...).start()
	b := s.peer("b")
	if !b.asksVote(n, 5, 10, 1) {
		s.violated("a candidate with an equal log got no vote")
	}
	if b.asksVote(n, 5, 3, 1) {
		s.violated("it voted for a log that ends at entry 3; its own ends at 10")
	}
}

// S9. c has moved to the address that b had; the configuration does not say so yet.
func recycledAddress(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b := s.peer("b")
	if !b.asksVote(n, 5, 1, 1) {
		s.violated("a candidate with an equal log got no vote")
	}
	c := s.peer("c")
	c.addr = b.addr
	if c.asksVote(n, 5, 1, 1) {
		s.violated("it voted for b and for c in term 5")
	}
}

// S10. The node has voted for b in term 4. Its next vote, for c in term 7, is several
// writes. Whichever was the last before the power failed, b's log is too short for a
// vote in term 7.
func tornVote(s *stage) {
	for writes := 0; ; writes++ {
		n := s.server("n").holds(logOf(voters("n", "b", "c"), commandsOf(2, 10, 3, "x")...)...).start()
		b, c := s.peer("b"), s.peer("c")
		if !b.asksVote(n, 4, 10, 3) {
			s.violated("a candidate with an equal log got no vote")
		}
		power := make(chan struct{}) // closed when it fails
		left := writes
		n.disk.stable.before(func(operation) error {
			if left == 0 {
				close(power)
				select {} // for ever
			}
			left--
			return nil
		})
		voted := make(chan error, 1)
		go func() {
			voted <- c.RequestVote(n.id, n.addr, c.voteRequest(7, 10, 3), new(raft.RequestVoteResponse))
		}()
		select {
		case <-power:
		case err := <-voted:
			s.must(err)
			return // all writes are done
		}
		again := n.restarted(n.disk.copy()).start()
		if b.asksVote(again, 7, 3, 1) {
			s.violated("power failure after write %d: it voted for a log that ends at entry 3 of term 1; its own ends at 10 of term 3", writes)
		}
	}
}

// S14. Whatever a non-voter is told, it must not raise the term, let alone lead.
func nonvoterStands(s *stage) {
	n := s.server("n").holds(logOf(withNonvoters(voters("b", "c"), "n"))...).start()
	b, c := s.peer("b"), s.peer("c")
	b.heartbeat(n, 2)
	c.timeoutNow(n)
	if resp, err := b.tryAppend(n, 2, 1, 1, 1); err != nil || !resp.Success || resp.Term != 2 {
		s.violated("it stood for election in term %d", n.CurrentTerm())
	}
}

// S14. The message carries no term; a late one must not depose a leader.
func leaderIsDisturbed(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	term := n.CurrentTerm()
	c.timeoutNow(n)
	n.Apply([]byte("x"), patience).Error()
	if n.CurrentTerm() != term {
		s.violated("it gave up a sound leadership")
	}
}

// S14. The future must say that this cannot be.
func transferToNonvoter(s *stage) {
	n := s.server("n").holds(logOf(withNonvoters(voters("n", "b", "c"), "d"))...).start()
	b := s.peer("b")
	s.peer("c")
	d := s.peer("d")
	n.leads(b)
	n.settled()
	done := make(chan error, 1)
	go func() { done <- n.LeadershipTransferToServer(d.id, d.addr).Error() }()
	s.await("the transfer's end", func() bool { return len(done) > 0 || d.seen.count(isHandover) > 0 })
	switch {
	case d.seen.count(isHandover) > 0:
		s.violated("it told a non-voter to stand for election")
	case <-done == nil:
		s.violated("the transfer reports success")
	}
}

// L7. d was added by entries that this voter has not got. With another server down, d is
// the only one who can lead.
func unknownCandidate(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	d := s.peer("d")
	var pre raft.RequestPreVoteResponse
	s.must(d.RequestPreVote(n.id, n.addr, &raft.RequestPreVoteRequest{RPCHeader: d.header(), Term: 3, LastLogIndex: 5, LastLogTerm: 2}, &pre))
	if !pre.Granted {
		s.violated("it refused the pre-vote for the newer log")
	}
	if !d.asksVote(n, 3, 5, 2) {
		s.violated("it refused the vote for the newer log")
	}
}
