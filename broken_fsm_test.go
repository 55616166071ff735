package raft

import (
	"errors"
	"io"
	"testing"
)

// An FSM that failed to restore is tried again, and does not lead meanwhile.
type flakyFSM struct {
	journal
	failures int
}

func (f *flakyFSM) Restore(rc io.ReadCloser) error {
	if f.failures > 0 {
		f.failures--
		return errors.New("flaky")
	}
	return f.journal.Restore(rc)
}

func TestBrokenFSMDoesNotLead(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	n1, n3 := s.node("n1"), s.node("n3")
	do("cut", "n3")
	for range 4 {
		n1.apply("x")
		s.run(nil)
	}
	n1.snapshot()
	s.run(nil)
	do("heal")
	n3.raft.fsm.fsm = &flakyFSM{failures: 1}
	for n3.raft.log.snap.index == 0 || n3.raft.work.busy || n3.raft.work.restore != nil {
		s.now = s.now.Add(1e7)
		n1.step(timeout{})
		s.run(nil)
	}
	if !n3.raft.work.broken {
		t.Fatal("the restore did not fail")
	}
	do("lead", "n2") // before n1 tries again
	for range 100 {
		s.now = s.now.Add(1e8)
		s.node("n2").step(timeout{})
		n3.step(timeout{})
		s.run(nil)
	}
	if n3.raft.work.broken {
		t.Error("10s after the change of leader the FSM is still not restored")
	}
	do("lead", "n3")
	if n3.raft.state != Leader {
		return
	}
	f := n3.apply("y")
	for range 20 {
		s.now = s.now.Add(1e8)
		n3.step(timeout{})
		s.run(nil)
	}
	if done, _ := f.completed(); !done {
		t.Errorf("a node without FSM leads (%v); Apply is pending, commit %d", n3.raft.state, n3.raft.commit)
	}
}
