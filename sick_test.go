package raft

import (
	"syscall"
	"testing"
	"time"
)

// A node whose log store fails while it asks for pre-votes does not stand any more (R16).
func TestSickNodeIsNotElected(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("option", "prevote=on")
	do("cluster", "3")
	do("lead", "n1")
	do("cut", "n3")
	do("hold", "n2")
	s.node("n1").apply("a") // accepted by n2, on its way to its disk
	s.run(nil)
	do("heal")
	do("cut", "n1") // the leader is gone
	s.now = s.now.Add(3e9)
	s.slow[link{"n3", "n2"}] = time.Millisecond
	s.delay = func(from, to ServerID) time.Duration { return s.slow[link{from, to}] }
	n2 := s.node("n2")
	s.timeout(n2) // the pre-vote request is out, the answer under way
	failures := 0
	n2.disk.fail = func(op string) error {
		if op == "store" && failures == 0 {
			failures++
			return syscall.ENOSPC
		}
		return nil
	}
	do("release", "n2") // the batch in flight fails
	if n2.raft.sickness == nil {
		t.Fatal("the store did not fail")
	}
	for range 20 {
		s.now = s.now.Add(time.Millisecond)
		s.run(nil)
	}
	if n2.raft.state == Leader && n2.raft.sickness != nil {
		t.Errorf("a node whose store fails is %v of term %d", n2.raft.state, n2.raft.hard.term)
	}
	if n2.raft.state != Leader {
		return
	}
	// It gets worse: the probe deletes what a batch in flight has stored.
	n2.holdDisk = true
	n2.apply("p") // in flight
	s.now = s.now.Add(90 * time.Millisecond)
	n2.step(timeout{}) // the probe is due
	do("release", "n2")
	s.run(nil)
	n2.apply("q")
	for range 3 {
		s.now = s.now.Add(time.Millisecond)
		s.run(nil)
	}
	for i := uint64(1); i <= n2.raft.log.durable; i++ {
		if n2.disk.entry(i) == nil {
			t.Errorf("entry %d counts as durable (through %d), but is not on the disk", i, n2.raft.log.durable)
		}
	}
	if _, err := openLog(n2.disk, entryID{}, false, simTransport{n2}); err != nil {
		t.Errorf("after a crash: %v", err)
	}
}

// A full disk behind a snapshot that joined what was not durable yet: the log never ends
// before its snapshot (R16).
func TestSnapshotAboveDurableThenDiskFails(t *testing.T) {
	for _, trailing := range []string{"0", "100"} {
		t.Run("trailing="+trailing, func(t *testing.T) {
			defer func() {
				if e := recover(); e != nil {
					t.Errorf("a full disk crashed the node: %v", e)
				}
			}()
			s := newStage(t)
			do := func(args ...string) { s.do(args) }
			do("option", "trailing="+trailing)
			do("cluster", "3")
			do("lead", "n1")
			do("hold", "n3")
			for range 10 {
				s.node("n1").apply("x")
				s.run(nil)
			}
			n3 := s.node("n3")
			last := n3.raft.log.last
			// The leader has taken a snapshot and compacted; n3, whose disk is slow, needs it.
			do("deliver", "n1", "n3", "snapshot", "term=2", "last="+last.String(), "x,x,x,x,x,x,x,x,x,x")
			s.run(nil)
			n3.disk.fail = func(op string) error {
				if op == "store" {
					return syscall.ENOSPC
				}
				return nil
			}
			do("release", "n3")
			s.run(nil)
			l := &n3.raft.log
			if l.last.index < l.snap.index {
				t.Errorf("the log ends with %v before its snapshot %v", l.last, l.snap)
			}
		})
	}
}

// Nothing above what is durable is compacted: a truncation may still be pending (S8).
func TestCompactionStaysBelowDurable(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("option", "trailing=0")
	do("cluster", "3")
	do("lead", "n1")
	n3 := s.node("n3")
	do("deliver", "n1", "n3", "append", "term=5", "prev=2@2", "3@5,4@5,5@5,6@5,7@5,8@5,9@5") // a dead leader's tail
	s.run(nil)
	do("hold", "n3")
	do("deliver", "n2", "n3", "beat", "term=6") // in flight: the term
	s.run(nil)
	do("deliver", "n2", "n3", "append", "term=6", "prev=2@2", "3@4,4@4,5@6", "commit=4") // pending: truncate 3, 3..5
	s.run(nil)
	do("deliver", "n2", "n3", "snapshot", "term=6", "last=4@4", "a,b")
	s.run(nil)
	if n3.raft.log.snap.index != 4 || n3.raft.work.restore != nil {
		t.Fatal(n3.raft.log.snap, n3.raft.work.restore)
	}
	if target := n3.raft.writer.compact.Load(); target > n3.raft.log.durable {
		t.Errorf("the writer may delete up to %d, durable is %d", target, n3.raft.log.durable)
	}
	// What the writer goroutine does between the end of a batch and the next one.
	if _, err := n3.raft.writer.compactChunk(); err != nil {
		t.Fatal(err)
	}
	n3.crash()
	must(t, n3.start())
	for i := uint64(5); i <= n3.raft.log.last.index; i++ {
		if term, _ := n3.raft.log.term(i); term == 5 {
			t.Fatalf("after a crash the dead entry %d@%d lies behind the snapshot %v", i, term, n3.raft.log.snap)
		}
	}
}
