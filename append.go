package raft

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// This file is the receiving side: what requests from other servers do to this
// node, but for votes (election.go) and snapshots (intake.go).

var (
	errNoHeader       = errors.New("RPC does not have a header")
	errNoSnapshotData = errors.New("InstallSnapshot without a snapshot")
)

// handleRPC hands a request to its handler.
func (r *Raft) handleRPC(rpc RPC) {
	if err := r.checkHeader(rpc); err != nil {
		r.refuse(rpc, err)
		return
	}
	start := time.Now()
	switch req := rpc.Command.(type) {
	case *AppendEntriesRequest:
		defer r.note.since(metricAppendEntries, start)
		r.handleAppend(rpc, req)
	case *RequestVoteRequest:
		defer r.note.since([]string{"raft", "rpc", "requestVote"}, start)
		r.note.observe(*req)
		r.handleVote(rpc, req)
	case *RequestPreVoteRequest:
		defer r.note.since([]string{"raft", "rpc", "requestPreVote"}, start)
		r.note.observe(*req)
		r.handlePreVote(rpc, req)
	case *InstallSnapshotRequest:
		if rpc.Reader == nil {
			r.refuse(rpc, errNoSnapshotData)
			return
		}
		defer r.note.since([]string{"raft", "rpc", "installSnapshot"}, start)
		r.handleInstall(rpc, req)
	case *TimeoutNowRequest:
		r.handleTimeoutNow(rpc, req)
	default:
		r.logger.Error("got unexpected command", "command", fmt.Sprintf("%T", rpc.Command))
		r.refuse(rpc, errors.New("unexpected command"))
	}
}

// checkHeader refuses versions of the protocol that this node does not speak.
func (r *Raft) checkHeader(rpc RPC) error {
	msg, ok := rpc.Command.(WithRPCHeader)
	if !ok {
		return errNoHeader
	}
	v := msg.GetRPCHeader().ProtocolVersion
	if v < ProtocolVersionMin || v > ProtocolVersionMax || v < r.protocol-1 {
		return ErrUnsupportedProtocol
	}
	if term := messageTerm(rpc.Command); term > maxTerm {
		return fmt.Errorf("no cluster reaches term %d", term)
	}
	return nil
}

// maxTerm bounds the terms and indexes that are believed of others: one message must not
// take a node to where counting on overflows (R17).
const maxTerm = 1 << 62

func messageTerm(cmd interface{}) uint64 {
	switch m := cmd.(type) {
	case *AppendEntriesRequest:
		return m.Term
	case *RequestVoteRequest:
		return m.Term
	case *RequestPreVoteRequest:
		return m.Term
	case *InstallSnapshotRequest:
		return max(m.Term, m.LastLogIndex)
	default:
		return 0
	}
}

// refuse answers with an error. A snapshot that comes with the request is read to
// its end first, on a goroutine of its own (H24).
func (r *Raft) refuse(rpc RPC, err error) {
	if rpc.Reader == nil {
		rpc.Respond(nil, err)
		return
	}
	r.drain(rpc, nil, err)
}

// drain reads the rest of a snapshot that is of no use, and answers then.
func (r *Raft) drain(rpc RPC, resp interface{}, err error) {
	r.spawn(func() {
		_, _ = io.Copy(io.Discard, rpc.Reader) // the answer does not depend on it
		rpc.Respond(resp, err)
	})
}

// handleAppend obeys an AppendEntries request (§5.3).
func (r *Raft) handleAppend(rpc RPC, req *AppendEntriesRequest) {
	from := sender(req.RPCHeader, req.Leader)
	if req.Term < r.hard.term {
		r.refuseAppend(rpc)
		return
	}
	if err := r.checkAppend(req, from); err != nil {
		r.note.badRequest("AppendEntries", from, err)
		rpc.Respond(r.appendResponse(false), err)
		return
	}
	r.follow(req.Term, from)
	if isHeartbeat(req) {
		resp := r.appendResponse(true)
		resp.Lease = r.promise(req.Lease)
		r.replyHardSynced(rpc, resp)
		return
	}
	if r.forked == r.hard.term {
		r.refuseAppend(rpc)
		return
	}
	plan := planAppend(&r.log, r.commit, req)
	if plan.verdict != fits {
		if plan.verdict == contradiction {
			r.forked = r.hard.term
			r.note.contradicted(from, req, r.log.snap, r.commit)
		}
		r.note.mismatch(req, r.log.last)
		r.refuseAppend(rpc)
		return
	}
	if err := r.unfit(); err != nil && len(plan.entries) > 0 {
		rpc.Respond(r.appendResponse(false), err)
		return
	}
	if plan.truncate > 0 {
		r.truncate(plan.truncate)
	}
	if len(plan.entries) > 0 {
		r.accept(plan.entries)
	}
	r.commitTo(plan.commit)
	r.replyAppended(rpc, req.Term)
}

// checkAppend refuses what no leader of this term sends (R17).
func (r *Raft) checkAppend(req *AppendEntriesRequest, from candidate) error {
	if err := r.checkLeader(req.Term, from); err != nil {
		return err
	}
	if err := checkAppend(req); err != nil {
		return err
	}
	for _, e := range req.Entries {
		if _, _, err := entryConfiguration(e, r.trans); err != nil {
			return err
		}
	}
	return nil
}

// checkLeader refuses a second leader of one term.
func (r *Raft) checkLeader(term uint64, from candidate) error {
	if term == r.hard.term && r.leader != (candidate{}) && !r.leader.is(from) {
		return fmt.Errorf("%v and %v both claim to lead term %d", r.leader.id, from.id, term)
	}
	return nil
}

// follow makes the sender of a request our leader and takes note of the contact.
func (r *Raft) follow(term uint64, from candidate) {
	if term > r.hard.term || r.state != Follower {
		r.become(Follower, term)
	}
	r.setLeader(from)
	r.heard = r.now
}

func (r *Raft) appendResponse(success bool) *AppendEntriesResponse {
	return &AppendEntriesResponse{
		RPCHeader: r.header, Term: r.hard.term, LastLog: r.log.last.index, Success: success,
	}
}

// refuseAppend tells the leader where to look next. It does not wait for the disk:
// it promises nothing.
func (r *Raft) refuseAppend(rpc RPC) {
	resp := r.appendResponse(false)
	resp.NoRetryBackoff = true
	rpc.Respond(resp, nil)
}

// replyAppended acknowledges a request of a term once everything accepted so far is
// durable (R4). If the term has moved on by then, what was accepted may be gone.
func (r *Raft) replyAppended(rpc RPC, term uint64) {
	r.writer.whenSynced(func(err error) {
		if err != nil || r.hard.term != term {
			rpc.Respond(r.appendResponse(false), err)
			return
		}
		rpc.Respond(r.appendResponse(true), nil)
	})
}

// replyHardSynced answers when term and vote, and the length of a promise, are durable, which
// those of a heartbeat nearly always are: neither it nor a vote waits behind entries.
func (r *Raft) replyHardSynced(rpc RPC, resp interface{}) {
	r.writer.whenHardSynced(func(err error) { rpc.Respond(resp, err) })
}
