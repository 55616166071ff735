package raft

import "testing"

// The successor is the other voter with the longest log.
func TestBestSuccessor(t *testing.T) {
	voter := func(id ServerID, match uint64) *peer {
		return &peer{server: Server{Voter, id, "addr"}, progress: progress{match: match}}
	}
	nonvoter := voter("n", 99)
	nonvoter.server.Suffrage = Nonvoter
	removed := voter("r", 99)
	removed.removed = true
	for _, tt := range []struct {
		name  string
		peers []*peer
		want  ServerID // "" for none
	}{
		{"the longest log", []*peer{voter("a", 3), voter("b", 7), voter("c", 5)}, "b"},
		{"the first of equals", []*peer{voter("a", 3), voter("b", 3)}, "a"},
		{"one that has nothing yet", []*peer{voter("a", 0)}, "a"},
		{"no nonvoter", []*peer{nonvoter, voter("b", 7)}, "b"},
		{"no removed server", []*peer{removed, voter("b", 7)}, "b"},
		{"nobody fits", []*peer{nonvoter, removed}, ""},
		{"nobody there", nil, ""},
	} {
		got := ServerID("")
		if p := (&leadership{peers: tt.peers}).bestSuccessor(); p != nil {
			got = p.server.ID
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
