package main

import (
	"testing"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

func TestWedged(t *testing.T) {
	const send = "goroutine 7 [select]:\ngithub.com/hashicorp/raft.(*netPipeline).AppendEntries(0x1)\n" +
		"github.com/hashicorp/raft.(*Raft).pipelineSend(0x1)\n"
	const wait = "goroutine 8 [select]:\ngithub.com/hashicorp/raft.(*Raft).pipelineReplicate(0x1)\n"
	for _, tt := range []struct {
		name, stacks string
		want         bool
	}{
		{"sends", send + "\n" + wait, true},
		{"waits", wait + "\n" + wait, false},
		{"two that are not one", "raft.(*netPipeline).AppendEntries(\n\nraft.(*Raft).pipelineSend(", false},
	} {
		if got := wedged(tt.stacks); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A leader of this library is never suspected, and a peer only after a follower that
// hears it has got nothing for long.
func TestStall(t *testing.T) {
	for _, tt := range []struct {
		name    string
		library string
		moves   bool // the follower
		want    bool
	}{
		{"ours", ours, false, false},
		{"peer", peerPrefix + "1.0.0", false, true},
		{"peer, slow", peerPrefix + "1.0.0", true, false},
	} {
		lead, follower := &process{id: "a", lib: library{name: tt.library}}, &process{id: "b"}
		lead.live, follower.live = &incarnation{}, &incarnation{}
		c := &cluster{procs: []*process{lead, follower}, view: map[string]seen{
			"a": {Status: control.Status{ID: "a", Leader: "a", Commit: 9}, run: lead.live},
			"b": {Status: control.Status{ID: "b", Leader: "a", Last: 5}, run: follower.live},
		}}
		var s stall
		if s.see(c, lead) {
			t.Errorf("%s: suspected at once", tt.name)
		}
		for p, l := range s.behind {
			s.behind[p] = lack{l.run, l.last, l.since.Add(-stallPatience - time.Second)}
		}
		if tt.moves {
			c.view["b"] = seen{Status: control.Status{ID: "b", Leader: "a", Last: 6}, run: follower.live}
		}
		if got := s.see(c, lead); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
