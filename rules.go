package raft

import (
	"cmp"
	"fmt"
	"slices"
)

// This file holds the protocol's decisions as functions of their arguments: no
// clock, no channel, no store. What the safety proof talks about is here, and is
// table-tested in rules_test.go.

// quorumValue returns the greatest v such that a majority of voters report at
// least v. The commit index, a confirmed read round, the leader's contact with its
// voters and their promises are all instances of it (R13). voters must not be empty.
func quorumValue[T cmp.Ordered](voters []ServerID, value func(ServerID) T) T {
	reported := make([]T, 0, len(voters))
	for _, id := range voters {
		reported = append(reported, value(id))
	}
	slices.Sort(reported)
	return reported[(len(reported)-1)/2]
}

// quorumSize is how many of n voters are a majority.
func quorumSize(n int) int { return n/2 + 1 }

// commitIndex returns the commit index that follows from what the voters have
// stored, given the present one and the first index of the leader's term. Entries
// of earlier terms are committed only along with one of the leader's own term
// (R5, §5.4.2): a majority holding them proves nothing, see Figure 8.
func commitIndex(voters []ServerID, match func(ServerID) uint64, start, commit uint64) uint64 {
	if len(voters) == 0 {
		return commit
	}
	quorum := quorumValue(voters, match)
	if quorum < start {
		return commit
	}
	return max(commit, quorum)
}

// voter is everything a vote depends on.
type voter struct {
	hard      hardState
	leader    candidate // the leader, if it is alive; zero if none is
	promising bool      // not to vote for anyone (R20)
	last      entryID   // of the log, durable or not
	config    Configuration
}

// voteQuestion is a vote or pre-vote request.
type voteQuestion struct {
	term     uint64
	from     candidate
	last     entryID
	transfer bool // the leader asked the candidate to stand
}

// ballot is the answer to a vote request.
type ballot struct {
	granted bool
	adopt   bool   // the request's term is newer and becomes ours, granted or not
	reason  string // why the vote was refused
}

func (b ballot) String() string {
	s := b.reason
	if b.granted {
		s = "granted"
	}
	if b.adopt {
		s += ", term adopted"
	}
	return s
}

// vote applies §5.2, §5.4.1, the leader stickiness of §4.2.3 of the dissertation,
// and R9. A repeated request is judged like the first: a candidate that asks again
// with a shorter log than it claimed before is refused (R1).
func (v voter) vote(q voteQuestion) ballot {
	if q.term < v.hard.term {
		return ballot{reason: "stale term"}
	}
	if v.promising {
		return ballot{reason: "a leader may read by our promise"}
	}
	if v.stuckTo(q) {
		return ballot{reason: "we have a leader"} // its term is not adopted either (R7)
	}
	b := ballot{adopt: q.term > v.hard.term}
	if !b.adopt && v.hard.vote != (candidate{}) && !v.hard.vote.is(q.from) {
		b.reason = "already voted"
		return b
	}
	b.reason = v.objection(q)
	b.granted = b.reason == ""
	return b
}

// preVote says how vote would answer if nobody had voted yet in that term. It
// never changes anything.
func (v voter) preVote(q voteQuestion) ballot {
	if q.term < v.hard.term {
		return ballot{reason: "stale term"}
	}
	if v.promising {
		return ballot{reason: "a leader may read by our promise"}
	}
	if v.stuckTo(q) {
		return ballot{reason: "we have a leader"}
	}
	reason := v.objection(q)
	return ballot{granted: reason == "", reason: reason}
}

// stuckTo reports whether a live leader, other than the candidate, forbids the
// vote. A transfer overrides it.
func (v voter) stuckTo(q voteQuestion) bool {
	return v.leader != (candidate{}) && !v.leader.is(q.from) && !q.transfer
}

// objection says what is wrong with a candidate's log or membership, "" if nothing.
func (v voter) objection(q voteQuestion) string {
	if q.from.addr == "" {
		return "the candidate has no address" // its vote could not be recorded
	}
	if !q.last.atLeast(v.last) {
		if q.last.term < v.last.term {
			return "our last term is greater"
		}
		return "our last index is greater"
	}
	// A candidate that is no voter in our configuration was removed, unless its
	// log is newer than ours: then it may know a configuration that we don't (R9).
	if !v.isVoter(q.from) && q.last == v.last {
		return "node is not a voter"
	}
	return ""
}

// isVoter looks a candidate up in our configuration. A node without any
// configuration takes everyone for a voter.
func (v voter) isVoter(c candidate) bool {
	if len(v.config.Servers) == 0 {
		return true
	}
	var s Server
	var ok bool
	if c.id != "" {
		s, ok = v.config.find(c.id)
	} else {
		s, ok = v.config.findAddr(c.addr)
	}
	return ok && s.Suffrage == Voter
}

// verdict is how a follower's log relates to a request.
type verdict int

const (
	// fits: the log contains the entry that the request builds on.
	fits verdict = iota
	// mismatch: it does not; the leader has to go back.
	mismatch
	// contradiction: the request denies an entry that is committed here. No
	// leader does that as long as histories have not been forked by hand.
	contradiction
)

// appendPlan is what a follower has to do to obey an AppendEntries request.
type appendPlan struct {
	verdict  verdict
	truncate uint64 // delete our entries from here on; 0 for none
	entries  []*Log // then append these
	match    uint64 // our log equals the leader's through here
	commit   uint64 // and is committed through here (R3)
}

func (p appendPlan) String() string {
	switch p.verdict {
	case mismatch:
		return "mismatch"
	case contradiction:
		return "contradiction"
	}
	s := ""
	if p.truncate > 0 {
		s += fmt.Sprintf("truncate %d ", p.truncate)
	}
	if n := len(p.entries); n > 0 {
		s += fmt.Sprintf("append %d..%d ", p.entries[0].Index, p.entries[n-1].Index)
	}
	return s + fmt.Sprintf("match %d commit %d", p.match, p.commit)
}

// planAppend applies the receiver rules of Figure 2 to a log whose entries up to
// commit are known to be committed. It changes nothing. The request must be well
// formed, see checkAppend.
func planAppend(log *raftLog, commit uint64, req *AppendEntriesRequest) appendPlan {
	prev, entries := entryID{req.PrevLogEntry, req.PrevLogTerm}, req.Entries
	match := prev.index + uint64(len(entries))
	plan := appendPlan{match: match, commit: min(req.LeaderCommitIndex, match)}

	// What lies below our floor is committed here and in any leader's log.
	if prev.index < log.floor.index {
		if match < log.floor.index {
			return plan
		}
		skip := log.floor.index - prev.index
		prev, entries = idOf(entries[skip-1]), entries[skip:]
	}
	if term, ok := log.term(prev.index); !ok || term != prev.term {
		return appendPlan{verdict: deny(prev.index, ok, commit)}
	}
	for i, e := range entries {
		term, ok := log.term(e.Index)
		if ok && term == e.Term {
			continue // we have it already
		}
		if ok && e.Index <= commit {
			return appendPlan{verdict: contradiction}
		}
		plan.entries = entries[i:]
		if ok {
			plan.truncate = e.Index
		}
		break
	}
	return plan
}

// deny tells a log that differs at or below what is committed from one that is
// merely behind or has a deposed leader's entries.
func deny(index uint64, present bool, commit uint64) verdict {
	if present && index <= commit {
		return contradiction
	}
	return mismatch
}

// checkAppend refuses a request that no leader sends (R17).
func checkAppend(req *AppendEntriesRequest) error {
	if req.PrevLogTerm > req.Term {
		return fmt.Errorf("previous entry of term %d in a request of term %d", req.PrevLogTerm, req.Term)
	}
	if req.PrevLogEntry == 0 && req.PrevLogTerm != 0 {
		return fmt.Errorf("previous entry 0 of term %d", req.PrevLogTerm)
	}
	index, term := req.PrevLogEntry, req.PrevLogTerm
	for _, e := range req.Entries {
		switch {
		case e == nil:
			return fmt.Errorf("entry after %d is nil", index)
		case e.Index != index+1:
			return fmt.Errorf("entry %d follows entry %d", e.Index, index)
		case e.Term < term || e.Term > req.Term || e.Term == 0:
			return fmt.Errorf("entry %d of term %d follows term %d in a request of term %d", e.Index, e.Term, term, req.Term)
		case e.Type > LogConfiguration:
			return fmt.Errorf("entry %d has unknown type %v", e.Index, e.Type)
		}
		index, term = e.Index, e.Term
	}
	return nil
}
