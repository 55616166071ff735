package raft

import "time"

// This file answers heartbeats on the goroutine that received them. A leader's reads wait
// for them, and this saves two hand-overs between goroutines.
//
// The goroutine takes mu, so main is not in a step: it has decided whatever it was going
// to decide, and will see the contact before it decides anything more. An answer that
// confirms a leader is therefore as true as one of main's own (R2, R14).

// handleHeartbeat is the function that a node gives its transport.
func (r *Raft) handleHeartbeat(rpc RPC) {
	start := time.Now()
	defer r.note.since(metricHeartbeat, start)
	if r.answerHeartbeat(rpc, time.Now) {
		r.note.since(metricAppendEntries, start)
		return
	}
	r.submit(rpc, func(err error) { rpc.Respond(nil, err) })
}

// answerHeartbeat answers a heartbeat that changes nothing but the time of the last
// contact, and reports whether it was one. All others are main's (R2).
func (r *Raft) answerHeartbeat(rpc RPC, clock func() time.Time) bool {
	req, ok := rpc.Command.(*AppendEntriesRequest)
	if !ok || !isHeartbeat(req) || r.checkHeader(rpc) != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isUsual(req) {
		return false
	}
	r.heard = clock()
	r.contact.set(r.heard)
	rpc.Respond(r.appendResponse(true), nil)
	return true
}

// isUsual reports whether a heartbeat is of the leader that this node follows already, in
// a term that is durable, and neither asks for a promise nor ends one (R20).
func (r *Raft) isUsual(req *AppendEntriesRequest) bool {
	return r.state == Follower && req.Term == r.hard.term && r.leader != (candidate{}) &&
		sender(req.RPCHeader, req.Leader) == r.leader &&
		r.writer.hardDurable() && !req.Lease && r.released
}
