package raft

import (
	"strings"
	"testing"
)

// A follower that lost its disk is found out and repaired, with and without a snapshot, and
// a snapshot that does not help is not sent again and again.
func countInstalls(s *stage) int { return strings.Count(s.log.String(), "→n3 snapshot term") }

func TestWipedFollowerIsRepaired(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		s := newStage(t)
		do := func(args ...string) { s.do(args) }
		do("option", "trailing=0")
		do("cluster", "3")
		do("lead", "n1")
		n1 := s.node("n1")
		for i := range 6 {
			if i == 3 && snapshot {
				n1.snapshot()
				s.run(nil)
			}
			n1.apply("x")
			s.run(nil)
		}
		do("wipe", "n3")
		n1.apply("y") // the lane notices that n3 is gone
		s.run(nil)
		s.node("n3").start()
		s.log.Reset()
		for range 200 {
			s.now = s.now.Add(1e8)
			n1.step(timeout{})
			s.run([]string{"500"})
		}
		t.Logf("snapshot=%v: %d snapshots sent", snapshot, countInstalls(s))
		if got := len(s.node("n3").fsm.cmds); got != 7 {
			t.Errorf("snapshot=%v: n3 has applied %d of 7 commands after 20s and %d snapshots", snapshot, got, countInstalls(s))
		}
	}
}

func TestOldSnapshotBelowFloor(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("option", "trailing=0")
	do("cluster", "3")
	do("lead", "n1")
	do("cut", "n3")
	n1 := s.node("n1")
	for i := range 8 {
		n1.apply("x")
		s.run(nil)
		if i == 3 || i == 6 {
			n1.snapshot()
			s.run(nil)
		}
	}
	snaps := n1.disk.snaps
	if len(snaps) != 2 {
		t.Fatal(len(snaps))
	}
	n1.disk.snaps = snaps[:1] // as if the newest could not be opened
	do("heal")
	s.log.Reset()
	for range 3 {
		s.now = s.now.Add(1e8)
		n1.step(timeout{})
		s.run([]string{"1000"})
	}
	if got := countInstalls(s); got > 5 {
		t.Errorf("%d snapshots sent without a pause", got)
	}
}
