package raft

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// A user's snapshot that the FSM rejects costs the leader, not the cluster.
type pickyFSM struct{ journal }

func (p *pickyFSM) Restore(rc io.ReadCloser) error {
	b, err := io.ReadAll(rc)
	if err == nil && strings.Contains(string(b), "bad") {
		return errors.New("picky: unknown format")
	}
	if err != nil {
		return err
	}
	return p.journal.Restore(io.NopCloser(strings.NewReader(string(b))))
}

func TestBadUserRestoreDoesNotKillTheCluster(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	for _, n := range s.nodes {
		n.raft.fsm.fsm = &pickyFSM{}
	}
	do("lead", "n1")
	n1 := s.node("n1")
	n1.apply("a")
	s.run(nil)
	do("restore", "n1", "bad")
	s.run([]string{"2000"})
	do("results")
	for range 100 { // time passes, timers fire
		s.now = s.now.Add(1e8)
		for _, id := range s.ids {
			if n := s.node(string(id)); n.raft != nil {
				n.step(timeout{})
			}
			s.run([]string{"1000"})
		}
	}
	for _, id := range s.ids {
		n := s.nodes[id]
		if n.raft == nil || n.raft.state != Leader {
			continue
		}
		f := n.apply("after")
		s.run([]string{"1000"})
		done, err := f.completed()
		if done && err == nil {
			return // the cluster works
		}
		t.Logf("%s leads; Apply: done %v, error %v", id, done, err)
	}
	for _, n := range s.nodes {
		if n.raft != nil {
			t.Logf("%s: broken FSM %v, log %v", n.id, n.raft.work.broken, n.raft.log.last)
		}
	}
	t.Error("after a Restore of a bad snapshot no write completes any more, on any leader")
}

// A user's snapshot whose leadership ends before it is closed never becomes visible.
func TestAbandonedRestoreIsNotSent(t *testing.T) {
	for _, index := range []uint64{0, 100} { // of the user's snapshot
		t.Run(fmt.Sprint(index), func(t *testing.T) { testAbandonedRestore(t, index) })
	}
}

func testAbandonedRestore(t *testing.T, index uint64) {
	defer func() {
		if e := recover(); e != nil {
			t.Errorf("the leader crashed: %v", e)
		}
	}()
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	n1 := s.node("n1")
	for _, c := range []string{"a", "b", "c"} {
		n1.apply(c)
		s.run(nil)
	}
	n1.snapshot() // and compacts its log
	s.run(nil)
	u := &userRestore{meta: &SnapshotMeta{Version: 1, Index: index, Size: 4}, reader: strings.NewReader("evil")}
	u.future.init()
	n1.step(u)
	s.tick() // the snapshot is written; main does not know it yet
	beat := &AppendEntriesRequest{RPCHeader: RPCHeader{3, []byte("n2"), []byte("addr-n2")}, Term: 3, Leader: []byte("addr-n2")}
	n1.receive(beat, nil, func(interface{}, error) {}) // a newer leader
	s.run(nil)
	if len(n1.fsm.cmds) != 3 {
		t.Fatal("the Restore was carried out")
	}
	do("cut", "n3")
	do("wipe", "n3")
	do("lead", "n1") // n1 leads again
	n1.apply("d")
	s.run(nil)
	do("heal")
	must(t, s.node("n3").start())
	for range 20 {
		s.now = s.now.Add(1e8)
		n1.step(timeout{})
		s.run([]string{"500"})
	}
	if slices.Contains(s.node("n3").fsm.cmds, "evil") {
		t.Errorf("n3 has the state of a Restore that never happened: %v, others have %v", s.node("n3").fsm.cmds, n1.fsm.cmds)
	}
}

// And so it can't shadow what the node has acknowledged since, at its next start.
func TestAbandonedRestoreDoesNotEatTheLog(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	n1 := s.node("n1")
	for _, c := range []string{"a", "b", "c"} {
		n1.apply(c)
		s.run(nil)
	}
	u := &userRestore{meta: &SnapshotMeta{Version: 1, Size: 4}, reader: strings.NewReader("evil")}
	u.future.init()
	n1.step(u)
	s.tick() // the snapshot is written; main does not know it yet
	beat := &AppendEntriesRequest{RPCHeader: RPCHeader{3, []byte("n2"), []byte("addr-n2")}, Term: 3, Leader: []byte("addr-n2")}
	n1.receive(beat, nil, func(interface{}, error) {}) // a newer leader
	s.run(nil)
	do("cut", "n3")
	do("lead", "n2")
	f := s.node("n2").apply("d") // by n1 and n2
	s.run(nil)
	if done, err := f.completed(); !done || err != nil {
		t.Fatal(done, err)
	}
	n1.crash()
	must(t, n1.start())
	if term, ok := n1.raft.log.term(f.log.Index); !ok || term != f.log.Term {
		t.Errorf("n1 acknowledged %v and has forgotten it: its log is %v behind snapshot %v", idOf(f.log), n1.raft.log.last, n1.raft.log.snap)
	}
}

// From the moment a user's snapshot is visible until it is the log's base the node promises
// nothing: what it acknowledged then would be gone with the old log.
func TestForkingNodePromisesNothing(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	do("holdfsm", "n1")
	n1 := s.node("n1")
	do("restore", "n1", "a,b")
	s.run(nil)
	if len(n1.disk.snaps) != 1 || !n1.raft.log.contains(n1.raft.log.last) || n1.raft.log.snap.index != 0 {
		t.Fatalf("%d snapshots, log %v behind %v", len(n1.disk.snaps), n1.raft.log.last, n1.raft.log.snap)
	}
	h := RPCHeader{3, []byte("n2"), []byte("addr-n2")}
	n1.receive(&RequestVoteRequest{RPCHeader: h, Term: 9, Candidate: h.Addr, LastLogIndex: 99, LastLogTerm: 8, LeadershipTransfer: true}, nil,
		func(resp interface{}, err error) {
			if r, ok := resp.(*RequestVoteResponse); ok && r.Granted {
				t.Error("it grants a vote")
			}
		})
	prev := n1.raft.log.last
	n1.receive(&AppendEntriesRequest{RPCHeader: h, Term: 9, Leader: h.Addr, PrevLogEntry: prev.index, PrevLogTerm: prev.term,
		Entries: []*Log{{Index: prev.index + 1, Term: 9}}}, nil,
		func(resp interface{}, err error) {
			if r, ok := resp.(*AppendEntriesResponse); ok && r.Success {
				t.Error("it acknowledges an entry")
			}
		})
	s.run(nil)
	do("release", "n1")
	s.run(nil)
	if n1.raft.forking || n1.raft.log.snap.index == 0 {
		t.Errorf("the snapshot is not the log's base: %v", n1.raft.log.snap)
	}
}
