package raft

import (
	"testing"
	"time"
)

// A vote counts for the campaign in which it was asked for, and for no later one.
func TestVoteOfAnEarlierCampaign(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "3"})
	s.connect([]string{"cut", "n1"})
	n := s.node("n1")
	stand := func() *campaign {
		s.now = s.now.Add(5 * time.Second)
		s.timeout(n)
		s.run(nil)
		return n.raft.campaign
	}
	first := stand()
	term := n.raft.hard.term
	if second := stand(); second == first || n.raft.hard.term != term+1 {
		t.Fatalf("the same campaign, or in term %d after %d", n.raft.hard.term, term)
	}
	n.step(voteResult{first, "n2", &RequestVoteResponse{Term: term, Granted: true}, nil})
	if n.raft.state != Candidate {
		t.Fatalf("%v of term %d by a vote of term %d", n.raft.state, n.raft.hard.term, term)
	}
	if n.raft.campaign.granted["n2"] {
		t.Error("the vote counts in the later campaign")
	}
}
