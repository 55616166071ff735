package raft

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A peer that is down does not keep the log from being compacted (P1).
func TestDeadPeerDoesNotPinTheLog(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	do("cut", "n3")
	n1 := s.node("n1")
	for round := range 10 {
		for range 5 {
			n1.apply("x")
			s.run(nil)
			s.now = s.now.Add(1e8)
			n1.step(timeout{})
			s.run(nil)
		}
		n1.snapshot()
		s.run(nil)
		if round > 2 && n1.raft.log.floor.index+20 < n1.raft.log.snap.index {
			t.Fatalf("snapshot %v, but the log is kept from %v on for a peer that is down", n1.raft.log.snap, n1.raft.log.floor)
		}
	}
}

// The lease is looked at twice: after a pause of the process answers wait behind the timer.
func TestLeaseLooksTwice(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	n1 := s.node("n1")
	s.slow[link{"n2", "n1"}] = time.Millisecond
	s.delay = func(from, to ServerID) time.Duration { return s.slow[link{from, to}] }
	do("beat", "n1")
	s.run(nil)
	s.now = s.now.Add(2 * time.Second) // the process stops; n2's answer lies in the socket
	n1.step(timeout{})
	if n1.raft.state != Leader {
		t.Error("stepped down at the first look after a pause, although answers were waiting")
	}
}

// A heartbeat that is refused, or answered for another term, is no contact (R6, S12): it
// neither keeps a leader in office nor confirms its reads.
func TestRefusedBeatIsNoContact(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "3"})
	s.do([]string{"lead", "n1"})
	n1 := s.node("n1")
	lead := n1.raft.lead
	for _, resp := range []*AppendEntriesResponse{
		{Term: lead.term, Success: false},
		{Term: lead.term - 1, Success: true},
	} {
		s.now = s.now.Add(10 * time.Millisecond)
		for _, p := range lead.peers {
			before := *p
			n1.step(beatResult{p.beats, &beat{to: p.server, round: lead.reads.round + 1, sent: s.now}, resp, nil})
			if p.contact != before.contact || p.confirmed != before.confirmed {
				t.Errorf("the answer %+v counts: contact moved by %v, round from %d to %d",
					*resp, p.contact.Sub(before.contact), before.confirmed, p.confirmed)
			}
		}
	}
}

// Which snapshots a follower takes (R11): those that tell it something new and do not
// take it back.
func TestJudgeSnapshot(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "3"})
	r := s.node("n2").raft
	r.log.reset(entryID{10, 2})
	r.log.append(parseEntries(t, "11@2 12@2 13@3 14@3"))
	r.log.durable = 13
	r.fsm.applied.Store(12)
	for _, tt := range []struct {
		id          entryID
		wanted, has bool
	}{
		{entryID{5, 1}, false, true},  // below our own: the log does not know it any more
		{entryID{10, 2}, false, true}, // our own
		{entryID{12, 2}, false, true}, // applied
		{entryID{13, 3}, false, true}, // in the log, on disk
		{entryID{13, 4}, true, false}, // the log has another history
		{entryID{14, 3}, true, false}, // not on disk yet
		{entryID{20, 4}, true, false},
	} {
		if wanted, has := r.judgeSnapshot(tt.id); wanted != tt.wanted || has != tt.has {
			t.Errorf("%v: wanted %v, has %v, want %v, %v", tt.id, wanted, has, tt.wanted, tt.has)
		}
	}
}

// What lies above a leader's own snapshot in its store was received or restored and given
// up since: it is of another history and is not sent.
func TestOpenNewestOfThisLog(t *testing.T) {
	files, err := NewFileSnapshotStoreWithLogger(t.TempDir(), 3, hclog.NewNullLogger())
	must(t, err)
	for _, index := range []uint64{5, 10} {
		sink, err := files.Create(1, index, 1, Configuration{}, 1, addrTransport{})
		must(t, err)
		must(t, sink.Close())
	}
	for upTo, want := range map[uint64]uint64{4: 0, 5: 5, 9: 5, 10: 10, 11: 10} {
		meta, source, err := openNewest(files, upTo, hclog.NewNullLogger())
		if want == 0 {
			if !errors.Is(err, errNoSnapshots) {
				t.Errorf("up to %d: %v, %v", upTo, meta, err)
			}
			continue
		}
		must(t, err)
		must(t, source.Close())
		if meta.Index != want {
			t.Errorf("up to %d: the snapshot at %d, want %d", upTo, meta.Index, want)
		}
	}
}

// A snapshot that is installed when its term is over is not acknowledged to its sender (R11).
func TestInstallAnsweredInLaterTerm(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "3"})
	r := s.node("n2").raft
	for _, tt := range []struct {
		term uint64 // of the request
		err  error
		want InstallSnapshotResponse
	}{
		{r.hard.term, nil, InstallSnapshotResponse{Term: r.hard.term, Success: true}},
		{r.hard.term, io.ErrUnexpectedEOF, InstallSnapshotResponse{Term: r.hard.term}},
		{r.hard.term - 1, nil, InstallSnapshotResponse{Term: r.hard.term}},
	} {
		answer := make(chan RPCResponse, 1)
		r.answerInstall(&intake{rpc: RPC{RespChan: answer}, req: &InstallSnapshotRequest{Term: tt.term}}, tt.err)
		got := <-answer
		if resp := got.Response.(*InstallSnapshotResponse); resp.Success != tt.want.Success || resp.Term != tt.want.Term || got.Error != tt.err {
			t.Errorf("a snapshot of term %d that ended with %v in term %d: %+v, %v", tt.term, tt.err, r.hard.term, *resp, got.Error)
		}
	}
}

// A snapshot of our own that a received one has overtaken is given up: the configurations
// below are gone.
func TestSnapshotOvertakenByInstall(t *testing.T) {
	s := newStage(t)
	do := func(args ...string) { s.do(args) }
	do("cluster", "3")
	do("lead", "n1")
	n1, n3 := s.node("n1"), s.node("n3")
	n1.apply("a")
	s.run(nil)
	s.now = s.now.Add(1e8)
	n1.step(timeout{})
	s.run(nil)
	n3.snapshot()
	task := n3.task // the FSM is about to answer
	n3.task = nil
	answer := n3.raft.fsm.do(task)
	req := &InstallSnapshotRequest{RPCHeader: n1.raft.header, SnapshotVersion: 1, Term: 2, Leader: n1.raft.header.Addr,
		LastLogIndex: 9, LastLogTerm: 2, ConfigurationIndex: 8, Configuration: EncodeConfiguration(n3.raft.configs.latest().config)}
	n3.receive(req, nil, func(interface{}, error) {})
	s.run(nil)
	n3.step(answer)
	s.run(nil)
	for _, snap := range n3.disk.snaps {
		if snap.meta.ConfigurationIndex > snap.meta.Index {
			t.Errorf("snapshot at %d has the configuration of %d", snap.meta.Index, snap.meta.ConfigurationIndex)
		}
	}
}

// What FSM.Snapshot returned is released, also when the node ends meanwhile.
type countingState struct {
	FSMSnapshot
	released *int
}

func (c countingState) Release() { *c.released++ }

type countingFSM struct {
	journal
	taken, released int
	entered, hold   chan struct{}
}

func (f *countingFSM) Snapshot() (FSMSnapshot, error) {
	f.taken++
	close(f.entered)
	<-f.hold
	return countingState{journalState(nil), &f.released}, nil
}

func TestSnapshotIsReleasedAtShutdown(t *testing.T) {
	conf := DefaultConfig()
	conf.LocalID = "a"
	conf.LogOutput = new(strings.Builder)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 20*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
	_, trans := NewInmemTransport("a")
	store, snaps := NewInmemStore(), NewInmemSnapshotStore()
	must(t, BootstrapCluster(conf, store, store, snaps, trans, Configuration{[]Server{{Voter, "a", "a"}}}))
	fsm := &countingFSM{entered: make(chan struct{}), hold: make(chan struct{})}
	r, err := NewRaft(conf, fsm, store, store, snaps, trans)
	must(t, err)
	must(t, r.WaitApplied(context.Background(), 2))
	f := r.Snapshot()
	<-fsm.entered
	down := r.Shutdown()
	<-r.ended
	close(fsm.hold)
	must(t, down.Error())
	_ = f.Error()
	if fsm.taken != fsm.released {
		t.Errorf("%d snapshots taken, %d released", fsm.taken, fsm.released)
	}
}

// Restore refuses arguments that make no sense.
func TestRestoreArguments(t *testing.T) {
	s := newStage(t)
	s.do([]string{"cluster", "1"})
	r := s.node("n1").raft
	for _, tt := range []struct {
		meta   *SnapshotMeta
		reader io.Reader
	}{
		{nil, strings.NewReader("")},
		{&SnapshotMeta{Version: 1}, nil},
		{&SnapshotMeta{Version: 1, Index: 1<<64 - 1}, strings.NewReader("")},
	} {
		if err := r.Restore(tt.meta, tt.reader, 0); err == nil {
			t.Errorf("Restore(%v, %v) is accepted", tt.meta, tt.reader)
		}
	}
}
