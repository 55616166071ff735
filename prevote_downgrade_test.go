package raft

import (
	"io"
	"strings"
	"testing"
)

// A server that was taken back to a version without pre-vote closes the connection on
// one. That counts as a grant again once it stands without asking first: else neither is
// elected when one needs the other's vote (L9).
func TestServerForgetsPreVote(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []string // messages from n2
		want   bool     // closing the connection counts as a grant
	}{
		{"nothing is known of it", nil, true},
		{"it asks", []string{"prevote term=5 last=1@1"}, false},
		{"it asks, then stands", []string{"prevote term=5 last=1@1", "vote term=5 last=1@1"}, false},
		{"it stands without asking", []string{"prevote term=5 last=1@1", "vote term=6 last=1@1"}, true},
		{"it stands without asking, then asks", []string{"prevote term=5 last=1@1", "vote term=6 last=1@1", "prevote term=7 last=1@1"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.do([]string{"option", "prevote=on"})
			s.do([]string{"cluster", "3"})
			for _, e := range tt.events {
				s.deliver("n2", "n1", strings.Fields(e))
				s.run(nil)
			}
			r := s.node("n1").raft
			if got := r.isPreVoteUnknown(preVoteResult{from: "n2", err: io.EOF}); got != tt.want {
				t.Errorf("a closed connection counts as a grant: %v, want %v", got, tt.want)
			}
		})
	}
}

// An answer shows it as well as a request.
func TestAnswerShowsPreVote(t *testing.T) {
	s := newStage(t)
	s.do([]string{"option", "prevote=on"})
	s.do([]string{"cluster", "3"})
	s.timeout(s.node("n1"))
	s.run(nil)
	if r := s.node("n1").raft; r.isPreVoteUnknown(preVoteResult{from: "n2", err: io.EOF}) {
		t.Error("n2 has answered a pre-vote, and is taken for a server that can't")
	}
}
