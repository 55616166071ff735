package raft

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"testing"
	"time"

	"github.com/hashicorp/raft/internal/msgpack"
)

// No request can end a node (R17), whoever sends it: a follower, a candidate and a
// leader get what the fuzzer makes up, one request after the other as they stand on
// a connection, and time to deal with it.
func FuzzNode(f *testing.F) {
	for _, e := range goldenExchanges(f) {
		if len(e.request) < 4096 {
			f.Add(e.request)
		}
	}
	for _, session := range hostileSessions() {
		f.Add(session)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, role := range []RaftState{Follower, Candidate, Leader} {
			n := nodeAs(t, role)
			r := bufio.NewReader(bytes.NewReader(b))
			for range 20 { // requests, and no more is found with more
				cmd, payload := nextRequest(r)
				if cmd == nil {
					break
				}
				n.receive(cmd, payload, func(interface{}, error) {})
				settle(n)
			}
			n.w.now = n.w.now.Add(time.Hour)
			n.step(timeout{})
			settle(n)
			if n.raft == nil {
				t.Errorf("a %v has been ended by %x", role, b)
			}
		}
	})
}

// nodeAs returns a node of a cluster of three that has just got a role. The other
// two are there.
func nodeAs(t *testing.T, role RaftState) *simNode {
	s := newStage(t)
	s.do([]string{"option", "shutdownonremove=off"})
	s.do([]string{"cluster", "3"})
	n := s.node("n1")
	switch role {
	case Follower:
		s.lead(s.node("n2"))
	case Candidate:
		s.timeout(n)
	case Leader:
		s.lead(n)
	}
	if n.raft.state != role {
		t.Fatalf("a %v, want a %v", n.raft.state, role)
	}
	return n
}

// settle lets everything happen that takes no time, unless it goes on for ever.
func settle(n *simNode) {
	for i := 0; i < 1000 && n.w.tick(); i++ {
	}
}

// nextRequest reads a request with what follows it of its snapshot; cmd is nil at the
// end and for what is no request.
func nextRequest(r *bufio.Reader) (cmd incoming, payload []byte) {
	typ, err := r.ReadByte()
	if err != nil {
		return nil, nil
	}
	cmd, err = readRequest(msgpack.NewStream(r), rpcType(typ))
	if err != nil {
		return nil, nil
	}
	if s, ok := cmd.(*InstallSnapshotRequest); ok {
		payload, _ = io.ReadAll(io.LimitReader(r, s.Size)) // memory does not fail
	}
	return cmd, payload
}

// hostileSessions returns requests that a node can take seriously, with numbers that
// it should not: seeds from which a fuzzer gets further than from nothing.
func hostileSessions() (sessions [][]byte) {
	for _, from := range []ServerID{"n2", "n3", "stranger"} {
		h := RPCHeader{ProtocolVersion: 3, ID: []byte(from), Addr: []byte(addrOf(from))}
		for _, term := range []uint64{1, 2, 3, 1 << 63, math.MaxUint64} {
			var session []byte
			for _, req := range hostileRequests(h, term) {
				frame := append([]byte{byte(req.typ)}, encodeRequest(req.typ, req.message, false)...)
				if _, ok := req.message.(*InstallSnapshotRequest); ok {
					frame = append(frame, "a\nb"...)
				}
				sessions = append(sessions, frame)
				session = append(session, frame...)
			}
			sessions = append(sessions, session)
		}
	}
	return sessions
}

func hostileRequests(h RPCHeader, term uint64) (all []typedMessage) {
	config := EncodeConfiguration(Configuration{Servers: []Server{{Voter, "n1", addrOf("n1")}, {Voter, "n2", addrOf("n2")}, {99, "", ""}}})
	for _, at := range []uint64{0, 1, 2, 3, 1 << 40, math.MaxUint64 - 1, math.MaxUint64} {
		good := &Log{Index: at + 1, Term: term, Data: []byte("x")}
		for _, entries := range [][]*Log{
			{}, {good}, {nil}, {good, nil}, {good, good},
			{good, {Index: at + 2, Term: term, Type: LogConfiguration, Data: config}},
			{{Index: at + 1, Term: term, Type: LogRemovePeerDeprecated, Data: []byte{0x91, 0xa1, 'a'}}, nil},
			{{Index: at + 1, Term: term, Type: LogConfiguration, Data: []byte{0xc1}}},
			{{Index: at + 1, Term: term, Type: 200}},
		} {
			all = append(all, typedMessage{rpcAppendEntries, &AppendEntriesRequest{RPCHeader: h, Term: term, Leader: h.Addr,
				PrevLogEntry: at, PrevLogTerm: min(term, at, 2), Entries: entries, LeaderCommitIndex: math.MaxUint64}})
		}
		all = append(all,
			typedMessage{rpcInstallSnapshot, &InstallSnapshotRequest{RPCHeader: h, SnapshotVersion: 1, Term: term, Leader: h.Addr,
				LastLogIndex: at, LastLogTerm: term, Configuration: config, ConfigurationIndex: min(at, 1), Size: 3}},
			typedMessage{rpcRequestVote, &RequestVoteRequest{RPCHeader: h, Term: term, Candidate: h.Addr, LastLogIndex: at,
				LastLogTerm: term, LeadershipTransfer: at > 2}},
			typedMessage{rpcRequestPreVote, &RequestPreVoteRequest{RPCHeader: h, Term: term, LastLogIndex: at, LastLogTerm: term}})
	}
	return append(all, typedMessage{rpcTimeoutNow, &TimeoutNowRequest{RPCHeader: h}})
}
