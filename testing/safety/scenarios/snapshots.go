package scenarios

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// This file: snapshots that are received, and what becomes of the log.
var snapshots = []scenario{
	{"S7a", "a late InstallSnapshot of entry 10 reaches a server that has applied 50", olderSnapshot},
	{"S8a", "a snapshot is installed below a tail that conflicts with it", snapshotBelowStaleTail},
	{"S8b", "a snapshot is installed over a conflicting log; then this server leads a follower that is behind", staleLogReplicated},
	{"L16a", "a vote is asked for while a snapshot is being received", voteDuringIntake},
	{"L16b", "a vote is asked for while the FSM restores a snapshot", voteDuringRestore},
	{"H38", "the FSM fails to restore a received snapshot; entries come that would have followed before it", appliedToBrokenState},
	{"H16", "a snapshot was installed on a blank server and nothing happens afterwards: no snapshots", snapshotLoop},
}

// S7. The FSM and the applied index must not go back.
func olderSnapshot(s *stage) {
	conf := voters("n", "lead", "c")
	n := s.server("n").holds(logOf(conf, commandsOf(2, 50, 1, "x")...)...).start()
	lead := s.peer("lead")
	lead.append(n, 2, 50, 1, 50)
	s.await("49 commands in the FSM", func() bool { return len(n.machine.commands()) == 49 })
	lead.sendSnapshot(n, 2, 10, 1, conf, "x-2", "x-3", "…")
	if got := len(n.machine.commands()); got != 49 {
		s.violated("the FSM went back from 49 commands to %d", got)
	}
	if got := n.AppliedIndex(); got < 50 {
		s.violated("the applied index went back from 50 to %d", got)
	}
}

// S8. The leader goes on above the snapshot that it has just sent. A follower that
// refuses gets the same snapshot again, for ever.
func snapshotBelowStaleTail(s *stage) {
	conf := voters("n", "lead", "c")
	n := s.server("n").holds(logOf(conf, commandsOf(2, 50, 3, "stale")...)...).start()
	lead := s.peer("lead")
	lead.sendSnapshot(n, 5, 40, 5, conf, "good")
	if resp := lead.append(n, 5, 40, 5, 41, command(41, 5, "next")); !resp.Success {
		s.violated("right after the snapshot of entry 40 it refuses entry 41: the leader has to send the snapshot again, for ever")
	}
	n.shown("good", "next")
}

// S8. The log that the snapshot replaced is a dead leader's; nobody may get it from here.
func staleLogReplicated(s *stage) {
	conf := voters("n", "lead", "behind")
	good, old := commandsOf(2, 44, 1, "good"), commandsOf(45, 150, 3, "stale")
	n := s.server("n").holds(logOf(conf, append(good, old...)...)...).start()
	lead, behind := s.peer("lead"), s.peer("behind")
	lead.sendSnapshot(n, 5, 300, 5, conf, "state")
	lead.append(n, 5, 300, 5, 301, command(301, 5, "next"))

	// The follower has the same 44 entries, and needs what comes next.
	var reached atomic.Bool
	behind.behave(func(req any) (any, error) {
		switch req := req.(type) {
		case *raft.AppendEntriesRequest:
			if !reached.Load() && (req.PrevLogEntry > 44 || req.PrevLogTerm > 1) {
				return behind.refuse(req, 44), nil
			}
		case *raft.InstallSnapshotRequest:
			reached.Store(true)
		}
		return nil, nil
	})
	n.leads(lead)
	fromDead := carries(func(entry *raft.Log) bool { return stale(string(entry.Data)) })
	s.await("the follower to be sent something of use", func() bool {
		return behind.seen.count(isSnapshot) > 0 || behind.seen.count(fromDead) > 0
	})
	if got := behind.seen.count(fromDead); got > 0 {
		s.violated("it sent entries that were never committed, and that its own snapshot contradicts")
	}
}

// L16. The stream of the snapshot stands still. Meanwhile another candidate asks.
func voteDuringIntake(s *stage) {
	conf := voters("n", "lead", "c")
	n := s.server("n").holds(logOf(conf)...).start()
	lead, c := s.peer("lead"), s.peer("c")
	body, sender := io.Pipe()
	go lead.trySnapshot(n, lead.snapshotRequest(2, 100, 2, conf, 1000), body)
	_, err := sender.Write(make([]byte, 10)) // returns when it was read
	s.must(err)
	s.must(s.mustEnd(func() error { return c.asksAsTarget(n, 3, 100, 2) }, "a vote request while a snapshot stands still"))
}

// L16. The FSM takes its time. Meanwhile another candidate asks.
func voteDuringRestore(s *stage) {
	conf := voters("n", "lead", "c")
	n := s.server("n").holds(logOf(conf)...).start()
	lead, c := s.peer("lead"), s.peer("c")
	n.machine.restoring.shut()
	state := encodeState("x")
	go lead.trySnapshot(n, lead.snapshotRequest(2, 100, 2, conf, len(state)), bytes.NewReader(state))
	s.await("the restore", n.machine.restoring.held)
	s.must(s.mustEnd(func() error { return c.asksAsTarget(n, 3, 100, 2) }, "a vote request while the FSM restores"))
}

// asksAsTarget asks for a vote as one who was told to stand by the leader does: that
// the voter knows a leader is no reason to refuse.
func (p *peer) asksAsTarget(to *server, term, last, lastTerm uint64) error {
	req := p.voteRequest(term, last, lastTerm)
	req.LeadershipTransfer = true
	return p.RequestVote(to.id, to.addr, req, new(raft.RequestVoteResponse))
}

// H16. The log ends before the snapshot: that is no growth.
func snapshotLoop(s *stage) {
	conf := voters("n", "lead", "c")
	n := s.server("n")
	n.conf.SnapshotInterval = settle / 10
	made := &countingSnapshots{SnapshotStore: n.disk.snaps}
	n.disk.snaps = made
	n.start()
	lead := s.peer("lead")
	lead.sendSnapshot(n, 2, 100, 2, conf, "x")
	before := made.created.Load()
	if within(5*settle, func() bool { return made.created.Load() > before+2 }) {
		s.violated("it takes one snapshot after the other")
	}
}

// H38. The FSM has lost its state, and says so. Nothing may be applied to what is left.
func appliedToBrokenState(s *stage) {
	conf := voters("n", "lead", "c")
	n := s.server("n").holds(logOf(conf, commandsOf(2, 5, 1, "x")...)...).start()
	lead := s.peer("lead")
	lead.append(n, 2, 5, 1, 5)
	n.shown("x-2", "x-3", "x-4", "x-5")
	n.machine.failRestore(errors.New("out of memory"))
	state := encodeState("x-2", "x-3", "x-4", "x-5", "…")
	go lead.trySnapshot(n, lead.snapshotRequest(2, 10, 2, conf, len(state)), bytes.NewReader(state))
	s.await("the restore", func() bool { return len(n.machine.commands()) == 0 })
	go lead.tryAppend(n, 2, 5, 1, 7, commandsOf(6, 7, 2, "x")...)
	if within(5*settle, func() bool { return len(n.machine.commands()) > 0 }) {
		s.violated("the FSM has lost its state, and is given %q", n.machine.commands()[0])
	}
}
