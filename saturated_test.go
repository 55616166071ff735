package raft

import (
	"strings"
	"testing"
	"time"
)

// Proposals that wait in the queue of a saturated leader complete when it is deposed
// (R15, L14).
func TestSaturatedLeaderDeposed(t *testing.T) {
	w := newWorld(t, 1)
	w.timers = true
	w.delay = func(from, to ServerID) time.Duration { return time.Millisecond }
	w.bootstrap("n1", "n2", "n3")
	for _, id := range w.ids {
		must(t, w.nodes[id].start())
	}
	var lead *simNode
	for lead == nil && w.tick() {
		for _, n := range w.nodes {
			if n.raft.state == Leader && n.raft.commit > 1 {
				lead = n
			}
		}
	}
	w.timers = false
	for id := range w.nodes {
		w.cut[link{lead.id, id}], w.cut[link{id, lead.id}] = true, true
	}
	cmd := string(make([]byte, 4<<20))
	var futures []*logFuture
	for range 18 {
		futures = append(futures, lead.apply(cmd))
	}
	lead.receive(&AppendEntriesRequest{
		RPCHeader: RPCHeader{3, []byte("nx"), []byte("addr-nx")}, Term: lead.raft.hard.term + 1, Leader: []byte("addr-nx"),
	}, nil, func(interface{}, error) {})
	if lead.raft.state != Follower {
		t.Fatalf("still %v", lead.raft.state)
	}
	// What main does when it is woken, if it is.
	select {
	case <-lead.raft.proposals.wake:
		lead.step(proposed{})
	default:
	}
	for i, f := range futures {
		if done, _ := f.completed(); !done {
			t.Errorf("proposal %d hangs", i)
		}
	}
}

// A leader takes no more than it may hold, whether its disk or its FSM is slow.
func TestLeaderBoundsWhatItHolds(t *testing.T) {
	for _, hold := range []string{"hold", "holdfsm"} {
		t.Run(hold, func(t *testing.T) {
			s := newStage(t)
			s.do([]string{"cluster", "3"})
			s.do([]string{"lead", "n1"})
			s.do([]string{hold, "n1"})
			n1 := s.node("n1")
			cmd := strings.Repeat("x", 8<<20)
			for range 30 { // 240 MiB
				f := newLogFuture(Log{Data: []byte(cmd)})
				n1.raft.proposals.put(f, 1) // fails when the queue is full, as it should
				for len(n1.raft.proposals.wake) > 0 {
					<-n1.raft.proposals.wake
					n1.step(proposed{})
				}
				s.run(nil)
				s.log.Reset()
			}
			held := 0
			for _, e := range n1.raft.writer.pending.entries {
				held += logSize(e)
			}
			for _, f := range n1.raft.settled {
				held += logSize(f.log)
			}
			if held > 2*maxUnapplied {
				t.Errorf("the leader holds %d MiB", held>>20)
			}
		})
	}
}
