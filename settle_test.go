package raft

import "testing"

// A future is settled when its own entry is committed, not when one before it is (R15).
func TestSettlesWhatIsCommitted(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "3"})
	s.do([]string{"lead", "n1"})
	s.connect([]string{"cut", "n1"})
	n := s.node("n1")
	n.applyAll("x", "y")
	s.run(nil)
	r := n.raft
	if len(r.lead.futures) != 2 {
		t.Fatalf("%d futures wait, want 2", len(r.lead.futures))
	}
	r.beginStep(s.now)
	r.commitTo(r.lead.futures[0].log.Index)
	if len(r.lead.futures) != 1 || string(r.lead.futures[0].log.Data) != "y" || len(r.settled) != 1 {
		t.Errorf("%d futures wait and %d are settled, want one each", len(r.lead.futures), len(r.settled))
	}
}
