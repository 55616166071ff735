package raft

import (
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
		select {
		case <-f.done:
		default:
			t.Errorf("proposal %d hangs", i)
		}
	}
}
