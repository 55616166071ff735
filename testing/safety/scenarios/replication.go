package scenarios

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// This file: how a leader gets its log to followers.
var replication = []scenario{
	{"L10", "a follower was unreachable for a while and is back", backoff},
	{"L11", "a follower has 1,000 entries of a dead leader where the leader has others", divergence},
	{"D1", "the leader's disk is slow", serialDisk},
	{"P1", "a snapshot takes longer to send than the trailing log covers", snapshotTurnover},
	{"F2", "a follower is to get 64 entries of 1 MiB", largeEntries},
}

// L10. The pause until replication goes on is measured in heartbeats that the follower
// has answered by then.
func backoff(s *stage) {
	n := s.server("n").timeouts(300 * time.Millisecond).holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	var attempts atomic.Int64
	c.behave(func(req any) (any, error) {
		if isAppend(req) {
			attempts.Add(1)
		}
		return nil, errRefused
	})
	s.await("enough attempts", func() bool { return attempts.Load() >= 11 })
	c.seen.forget()
	c.behave(nil)
	const many = 50
	s.await("contact", func() bool { return c.seen.count(isAppend) > 0 || c.seen.count(isHeartbeat) > many })
	if c.seen.count(isAppend) == 0 {
		s.violated("more than %d heartbeats are answered before it gets an entry", many)
	}
}

// L11. Both logs have 1,000 entries, the first 100 are the same.
func divergence(s *stage) {
	const common, last = 100, 1000
	log := append(commandsOf(2, common, 1, "x"), commandsOf(common+1, last, 4, "y")...)
	n := s.server("n").holds(logOf(voters("n", "b", "c"), log...)...).start()
	b, c := s.peer("b"), s.peer("c")
	var refused atomic.Int64
	var repaired atomic.Bool
	c.behave(func(req any) (any, error) {
		a, ok := req.(*raft.AppendEntriesRequest)
		if !ok || isHeartbeat(req) || repaired.Load() {
			return nil, nil
		}
		if a.PrevLogEntry > common {
			refused.Add(1)
			return c.refuse(a, last), nil
		}
		if len(a.Entries) > 0 {
			repaired.Store(true)
		}
		return nil, nil
	})
	n.leads(b)
	const many = 50
	s.await("the common entry", func() bool { return repaired.Load() || refused.Load() > many })
	if got := refused.Load(); got > many {
		s.violated("it steps back entry by entry (more than %d round trips)", many)
	}
}

// D1. The followers could have the entry before the leader's disk has it.
func serialDisk(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b := s.peer("b")
	s.peer("c")
	n.leads(b)
	n.settled()
	var busy gate
	busy.shut()
	n.disk.logs.before(func(op operation) error {
		if op.name == "store" {
			busy.pass()
		}
		return nil
	})
	n.Apply([]byte("x"), 0)
	s.await("the write", busy.held)
	if !within(10*settle, func() bool { return b.seen.count(carriesData("x")) > 0 }) {
		s.violated("nothing is sent until the leader's disk is done")
	}
}

// P1. While the follower receives a snapshot the leader goes on, takes the next one and
// compacts its log. The follower then needs entries, and not that next snapshot.
func snapshotTurnover(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...)
	n.conf.TrailingLogs = 5
	n.start()
	b, c := s.peer("b"), s.peer("c")
	c.behave(silent)
	n.leads(b)
	fill := func() {
		for range 20 {
			s.succeed(n.Apply([]byte("x"), 0))
		}
		s.succeed(n.Snapshot())
	}
	fill()

	var have atomic.Uint64 // the last entry that c has
	arrived, goOn := make(chan struct{}), make(chan struct{})
	c.behave(func(req any) (any, error) {
		switch req := req.(type) {
		case *raft.InstallSnapshotRequest:
			arrived <- struct{}{}
			<-goOn
			have.Store(req.LastLogIndex)
		case *raft.AppendEntriesRequest:
			if isHeartbeat(req) {
				return nil, nil
			}
			if req.PrevLogEntry > have.Load() {
				return c.refuse(req, have.Load()), nil
			}
			have.Store(max(have.Load(), req.PrevLogEntry+uint64(len(req.Entries))))
		}
		return nil, nil
	})
	const many = 3
	for range many {
		caughtUp := false
		s.await("a snapshot, or the follower to have everything", func() bool {
			select {
			case <-arrived:
				return true
			default:
				caughtUp = have.Load() >= n.LastIndex()
				return caughtUp
			}
		})
		if caughtUp {
			return
		}
		fill()
		goOn <- struct{}{}
	}
	s.violated("each snapshot is followed by the next, the follower never gets to the log")
}

// F2. One request with all of them takes so long that its deadline passes, and then it is
// sent again.
func largeEntries(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	var slow gate
	slow.shut()
	var largest atomic.Int64
	c.behave(func(req any) (any, error) {
		a, ok := req.(*raft.AppendEntriesRequest)
		if !ok || isHeartbeat(req) {
			return nil, nil
		}
		slow.pass()
		size := 0
		for _, entry := range a.Entries {
			size += len(entry.Data)
		}
		largest.Store(max(largest.Load(), int64(size)))
		return nil, nil
	})
	for range 64 {
		s.succeed(n.Apply(make([]byte, 1<<20), 0))
	}
	slow.open()
	last := carries(func(entry *raft.Log) bool { return entry.Index == n.LastIndex() })
	s.await("the last entry", func() bool { return c.seen.count(last) > 0 })
	if got := largest.Load() >> 20; got > 8 {
		s.violated("one request has %d MiB", got)
	}
}
