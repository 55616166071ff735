package raft

import (
	"testing"
)

// A leader that has appended its own removal and crashed may have the only log from which the
// others can go on: it stands (§4.2.2 of the dissertation), without counting its own vote.
func TestLeaderThatRemovesItselfStillStands(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "2")
	do("lead", "n1")
	n1 := s.node("n1")
	n1.apply("x")
	s.run(nil)
	do("cut", "n1")
	n1.change(RemoveServer, "n1", 0)
	s.run(nil)
	n1.crash()
	must(t, n1.start())
	do("heal")
	for range 100 {
		s.now = s.now.Add(1e9)
		for _, id := range s.ids {
			s.timeout(s.nodes[id])
			s.run(nil)
			if n := s.nodes[id]; n.raft != nil && n.raft.state == Leader {
				return
			}
		}
	}
	t.Error("a hundred elections, and no leader")
}
