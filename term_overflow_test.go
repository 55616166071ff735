package raft

import (
	"math"
	"testing"
)

// One message with an absurd term does not take a node to where terms overflow (R17).
func TestTermOverflow(t *testing.T) {
	for _, msg := range [][]string{
		{"beat", "term=18446744073709551615"},
		{"vote", "term=18446744073709551615", "last=9@9"},
	} {
		t.Run(msg[0], func(t *testing.T) {
			s := newStage(t)
			s.do([]string{"cluster", "3"})
			defer func() {
				if e := recover(); e != nil {
					t.Errorf("a peer's message crashed the node: %v", e)
				}
			}()
			s.do(append([]string{"deliver", "n2", "n1"}, msg...))
			s.run(nil)
			s.now = s.now.Add(1e11)
			s.timeout(s.node("n1"))
			s.run(nil)
			if term := s.node("n1").raft.hard.term; term > math.MaxUint64/2 {
				t.Errorf("the term %d was believed", term)
			}
		})
	}
}
