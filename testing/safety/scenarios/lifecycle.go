package scenarios

import (
	"time"

	"github.com/hashicorp/raft"
)

// This file: futures, and what surrounds the life of a node.
var lifecycle = []scenario{
	{"L14a", "commands are committed and not yet applied when Shutdown is called", pendingAtShutdown},
	{"L14b", "calls after Shutdown", callsAfterShutdown},
	{"A2", "NewRaft with a Config that was used with the function GetConfiguration", spoiltConfig},
	{"A17", "two goroutines wait for the future of a command that fails", sharedFuture},
}

// L14. The FSM is busy with the first command. Every future must end, either way.
func pendingAtShutdown(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...).start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	n.settled()
	n.machine.applying.shut()
	var futures []raft.Future
	for i := range uint64(10) {
		futures = append(futures, n.Apply([]byte("x"), 0))
		s.await("the commit", func() bool { return n.CommitIndex() >= 4+i })
	}
	s.await("the FSM", n.machine.applying.held)
	down := n.Shutdown()
	time.Sleep(settle)
	n.machine.applying.open()
	_ = s.mustEnd(down.Error, "Shutdown")
	s.allEnd("Apply", futures)
}

// L14. Some of it is left to chance in a faulty library, hence the repetition.
func callsAfterShutdown(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...)
	n.conf.BatchApplyCh = true
	n.start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	s.succeed(n.Shutdown())
	for _, call := range []struct {
		name string
		do   func() raft.Future
	}{
		{"Apply", func() raft.Future { return n.Apply(nil, 0) }},
		{"Barrier", func() raft.Future { return n.Barrier(0) }},
		{"VerifyLeader", n.VerifyLeader},
		{"LeadershipTransfer", n.LeadershipTransfer},
		{"Snapshot", func() raft.Future { return n.Snapshot() }},
		{"AddVoter", func() raft.Future { return n.AddVoter("b", "b", 0, 0) }},
	} {
		var futures []raft.Future
		for range 20 {
			futures = append(futures, call.do())
		}
		s.allEnd(call.name, futures)
	}
}

// allEnd ends the scenario if one of the futures does not end.
func (s *stage) allEnd(call string, futures []raft.Future) {
	hung := make(chan bool, len(futures))
	for _, f := range futures {
		go func() {
			_, ended := ends(prompt/2, f.Error)
			hung <- !ended
		}()
	}
	count := 0
	for range futures {
		if <-hung {
			count++
		}
	}
	if count > 0 {
		s.hangs("%s: futures wait for ever", call)
	}
}

// A2. The function is for looking, and must leave no trace.
func spoiltConfig(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...)
	_, err := raft.GetConfiguration(n.conf, n.fsm, n.disk.logs, n.disk.stable, n.disk.snaps, n.transport)
	s.must(err)
	n.start()
	if !within(prompt, func() bool { return n.State() == raft.Leader }) {
		s.violated("the node never does anything")
	}
}

// A17. Both must get the error.
func sharedFuture(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	b.behave(silent)
	c.behave(silent)
	failing := n.Apply([]byte("x"), 0)
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- failing.Error() }()
	}
	time.Sleep(settle) // let both wait
	c.heartbeat(n, n.CurrentTerm()+1)
	for range 2 {
		if <-results == nil {
			s.violated("one of them is told that it succeeded")
		}
	}
}
