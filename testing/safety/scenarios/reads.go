package scenarios

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// This file: who may believe to lead, and for how long.
var reads = []scenario{
	{"S4", "a leader that has lost all voters, but not two non-voters, verifies its leadership", nonvotersConfirm},
	{"S5", "heartbeats sent before VerifyLeader was called are answered after it", oldAnswersConfirm},
	{"S6", "VerifyLeader right after an election, with an entry that was acknowledged by the leader before", readBeforeOwnEntry},
	{"S12", "all followers are gone; what was pipelined to them fails", failureIsContact},
	{"S13", "appends get no answer, heartbeats are answered with a newer term", heartbeatAnswers},
}

// S4. The leadership is as good as lost, whoever else may answer.
func nonvotersConfirm(s *stage) {
	n := s.server("n").timeouts(2 * time.Second).holds(logOf(withNonvoters(voters("n", "b", "c"), "x", "y"))...).start()
	b, c := s.peer("b"), s.peer("c")
	s.peer("x")
	s.peer("y")
	n.leads(b)
	n.settled()
	b.behave(silent)
	c.behave(silent)
	if s.mustEnd(func() error { return n.VerifyLeader().Error() }, "VerifyLeader") == nil {
		s.violated("VerifyLeader succeeded without any other voter")
	}
}

// S5. The followers have received a heartbeat each, then the call is made, and only then
// do they answer. In between they may have elected somebody else: that is what they say
// to whatever comes later.
func oldAnswersConfirm(s *stage) {
	n := s.server("n").timeouts(time.Second).holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	newer := n.CurrentTerm() + 1
	var slow gate
	slow.shut()
	held := make(chan struct{}, 2)
	for _, p := range []*peer{b, c} {
		var later atomic.Bool
		p.behave(func(req any) (any, error) {
			a, ok := req.(*raft.AppendEntriesRequest)
			switch {
			case !ok:
				return nil, nil
			case !isHeartbeat(req):
				return nil, errRefused
			case later.Swap(true):
				slow.pass()
				return p.ahead(newer), nil
			default:
				held <- struct{}{}
				slow.pass()
				return p.accept(a), nil
			}
		})
	}
	<-held
	<-held
	verified := n.VerifyLeader()
	time.Sleep(settle) // let the call reach the node's main loop
	slow.open()
	if s.mustEnd(verified.Error, "VerifyLeader") == nil {
		s.violated("VerifyLeader was confirmed by answers to older requests")
	}
}

// S6. Entry 2 was acknowledged by the leader of term 1. The new leader has it, but does
// not know that it is committed before an entry of its own term is; the followers take
// their time with that.
func readBeforeOwnEntry(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"), command(2, 1, "acknowledged"))...).start()
	b, c := s.peer("b"), s.peer("c")
	var slow gate
	slow.shut()
	for _, p := range []*peer{b, c} {
		p.behave(func(req any) (any, error) {
			if isAppend(req) {
				slow.pass()
			}
			return nil, nil
		})
	}
	n.leads(b)
	done := make(chan error, 1)
	go func() { done <- n.VerifyLeader().Error() }()
	within(10*settle, func() bool { return len(done) > 0 })
	if len(done) == 0 {
		slow.open()
	}
	s.must(<-done)
	if len(n.machine.commands()) == 0 {
		s.violated("VerifyLeader succeeded, and a read of the FSM misses an acknowledged entry")
	}
}

// S12. Heartbeats fail at once, the entries that are under way fail later. That is no
// sign of life.
func failureIsContact(s *stage) {
	n := s.server("n").timeouts(2 * time.Second).holds(logOf(voters("n", "b"))...)
	n.end.pipelining = true
	n.start()
	b := s.peer("b")
	n.leads(b)
	n.settled()
	contacts := make(chan raft.Observation, 1000)
	n.RegisterObserver(raft.NewObserver(contacts, false, func(o *raft.Observation) bool {
		_, failed := o.Data.(raft.FailedHeartbeatObservation)
		return failed
	}))
	// Make sure that the pipeline is in use: a second request comes while the first is
	// being answered.
	var slow gate
	b.behave(func(req any) (any, error) {
		if isHeartbeat(req) {
			return nil, nil
		}
		slow.pass()
		return nil, nil
	})
	s.succeed(n.Apply([]byte("x"), 0))
	slow.shut()
	n.Apply([]byte("y"), 0)
	s.await("the entry under way", slow.held)

	b.behave(func(req any) (any, error) {
		if isAppend(req) {
			slow.pass()
		}
		return nil, errRefused
	})
	s.net.cut(n.addr, b.addr)
	last := time.Now() // nothing is answered from here on
	time.Sleep(settle)
	b.Close() // what is under way fails
	for {
		select {
		case o := <-contacts:
			failed := o.Data.(raft.FailedHeartbeatObservation)
			if failed.LastContact.After(last.Add(settle / 2)) {
				s.violated("the failure of a request counted as contact")
			}
		case <-time.After(10 * time.Millisecond):
			if n.State() != raft.Leader {
				return
			}
		}
	}
}

// S13. Appends get no answer, heartbeats do: there is a newer term.
func heartbeatAnswers(s *stage) {
	n := s.server("n").timeouts(time.Second).holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	newer := n.CurrentTerm() + 5
	for _, p := range []*peer{b, c} {
		p.seen.forget()
		p.behave(func(req any) (any, error) {
			if isHeartbeat(req) {
				return p.ahead(newer), nil
			}
			return nil, errRefused
		})
	}
	const enough = 10
	told := func() bool { return b.seen.count(isHeartbeat) > enough && c.seen.count(isHeartbeat) > enough }
	s.await("the answers or the end of the leadership", func() bool { return told() || n.State() != raft.Leader })
	if n.State() == raft.Leader {
		s.violated("it leads on after %d answers from each follower that name a newer term", enough)
	}
}
