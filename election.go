package raft

import (
	"errors"
	"io"
	"strings"
)

// campaign is one attempt to be elected. It begins with a pre-vote unless that is
// disabled or the leader asked this node to stand (§9.6 and §3.10 of the
// dissertation). Answers carry their campaign, so a late one is known for what it is.
type campaign struct {
	pre      bool // asking whether it could win; the term has not changed
	transfer bool // the leader asked for it
	needed   int
	granted  map[ServerID]bool
	refused  int
}

// preVoteResult is the event of an answered or failed pre-vote request.
type preVoteResult struct {
	campaign *campaign
	from     ServerID
	term     uint64 // that was asked for
	resp     *RequestPreVoteResponse
	err      error
}

// voteResult is the event of an answered or failed vote request.
type voteResult struct {
	campaign *campaign
	from     ServerID
	resp     *RequestVoteResponse
	err      error
}

// handleSilence looks whether the leader has been silent for too long, and then
// stands for election if this node may.
func (r *Raft) handleSilence() {
	due := r.heard.Add(r.patience)
	if r.promised.After(due) {
		due = r.promised
	}
	if r.now.Before(due) {
		r.electionAt = due
		return
	}
	r.setPatience()
	r.electionAt = r.now.Add(r.patience)
	if !r.mayStand() {
		r.setLeader(candidate{})
		return
	}
	r.note.heartbeatTimeout(r.leader)
	r.stand()
}

func (r *Raft) setPatience() { r.patience = r.random(r.conf().HeartbeatTimeout) }

// mayStand reports whether this node is fit for an election.
func (r *Raft) mayStand() bool {
	latest := r.configs.latest()
	switch {
	case latest.index == 0:
		r.warnOnce("no known peers, aborting election")
	case !r.isVoter() && latest.index <= r.commit:
		r.warnOnce("not part of stable configuration, aborting election")
	case !r.isVoter() && !r.configs.at(latest.index-1).config.isVoter(r.localID):
		r.warnOnce("heartbeat timeout reached, not part of a stable configuration or a non-voter, not triggering a leader election")
	case r.promising():
		r.warnOnce("a leader may still read by our promise, aborting election")
	case r.storeDoubtful():
		r.warnOnce("the stores do not keep up or fail, aborting election")
	case r.work.broken:
		r.warnOnce("the FSM has failed to restore a snapshot, aborting election")
	default:
		return true
	}
	return false
}

// isVoter reports whether the latest configuration gives this node a vote. One whose
// removal is not committed may stand without: its log may be the only one from which the
// others can go on (§4.2.2 of the dissertation).
func (r *Raft) isVoter() bool { return r.configs.latest().config.isVoter(r.localID) }

// warnOnce logs a reason not to stand, once per stay as follower.
func (r *Raft) warnOnce(msg string) {
	if !r.warned {
		r.warned = true
		r.logger.Warn(msg)
	}
}

// stand begins a campaign, with a pre-vote if that is enabled. A node in pre-vote
// shows itself as Candidate; its term stays, its leader is forgotten.
func (r *Raft) stand() {
	if r.preVoter == nil || r.conf().PreVoteDisabled && r.isVoter() {
		r.elect(false)
		return
	}
	r.become(Candidate, r.hard.term)
	c := r.newCampaign(true)
	req := &RequestPreVoteRequest{
		RPCHeader: r.header, Term: r.hard.term + 1,
		LastLogIndex: r.log.last.index, LastLogTerm: r.log.last.term,
	}
	for _, s := range r.otherVoters() {
		r.out.preVote(s, req, c)
	}
	if r.isVoter() {
		r.grantPreVote(c, r.localID)
	}
}

// standAgain is for a candidate whose time is up.
func (r *Raft) standAgain() {
	if !r.mayStand() {
		r.become(Follower, r.hard.term)
		return
	}
	r.stand()
}

func (r *Raft) newCampaign(pre bool) *campaign {
	r.campaign = &campaign{
		pre:     pre,
		needed:  quorumSize(len(r.configs.latest().config.voters())),
		granted: map[ServerID]bool{},
	}
	return r.campaign
}

func (r *Raft) otherVoters() []Server {
	var others []Server
	for _, s := range r.configs.latest().config.Servers {
		if s.Suffrage == Voter && s.ID != r.localID {
			others = append(others, s)
		}
	}
	return others
}

// countPreVote counts an answer to a pre-vote. Servers that do not know the request
// count as granted.
func (r *Raft) countPreVote(e preVoteResult) {
	if e.err == nil {
		r.notePreVote(e.from, 0)
	}
	if r.latePreVote(e) || e.campaign != r.campaign {
		return
	}
	if e.err == nil && e.resp.Granted || r.isPreVoteUnknown(e) {
		r.grantPreVote(e.campaign, e.from)
		return
	}
	r.note.voteFailed("failed to make requestVote RPC", e.from, e.err)
	e.campaign.refused++
	if e.campaign.refused == e.campaign.needed {
		r.note.preVoteLost(r.hard.term, e.campaign)
	}
}

// isPreVoteUnknown reports whether a server is of a version that has no pre-vote. It
// says so, or closes the connection without an answer (hashicorp/raft before v1.7.0
// does). The latter is believed only of a server that has not shown that it knows
// better: otherwise any proxy that accepts connections for dead servers would defeat
// pre-vote.
func (r *Raft) isPreVoteUnknown(e preVoteResult) bool {
	if e.err == nil {
		return false
	}
	return strings.Contains(e.err.Error(), "unexpected command") ||
		errors.Is(e.err, io.EOF) && !r.hasPreVote(e.from)
}

func (r *Raft) hasPreVote(id ServerID) bool {
	_, known := r.knowsPreVote[id]
	return known
}

// notePreVote notes that a server knows pre-votes, and has asked for one of term.
func (r *Raft) notePreVote(id ServerID, term uint64) {
	r.knowsPreVote[id] = max(r.knowsPreVote[id], term)
}

// forgetPreVote forgets that a server knows pre-votes when it asks for a vote without
// having asked for the pre-vote: it may have been taken back to a version that has
// none, and is not elected without this node's vote, nor this node without its.
func (r *Raft) forgetPreVote(q voteQuestion) {
	if asked, known := r.knowsPreVote[q.from.id]; known && !q.transfer && q.term > asked {
		delete(r.knowsPreVote, q.from.id)
	}
}

// latePreVote adopts a term higher than the one that was asked for (R7).
func (r *Raft) latePreVote(e preVoteResult) (deposed bool) {
	return e.err == nil && e.resp.Term > e.term && r.deposedBy(e.resp.Term)
}

func (r *Raft) grantPreVote(c *campaign, from ServerID) {
	c.granted[from] = true
	if len(c.granted) < c.needed {
		return
	}
	r.note.preVoteWon(r.hard.term, c)
	r.elect(false)
}

// elect stands for election in the next term. Nothing leaves before our own vote,
// and every entry that the request claims, is on our disk (R1). A candidate that
// asked and then forgot would come back and ask again in the same term, with a
// shorter log, and voters that answer a repeat without looking at the log
// (hashicorp/raft's do) would elect it over a committed entry.
func (r *Raft) elect(transfer bool) {
	r.become(Candidate, r.hard.term+1)
	c := r.newCampaign(false)
	c.transfer = transfer
	r.setVote(candidate{r.localID, r.localAddr})
	r.writer.whenSynced(func(err error) {
		if err == nil && r.campaign == c {
			r.askVotes(c)
		}
	})
}

// askVotes sends the vote requests of a campaign.
func (r *Raft) askVotes(c *campaign) {
	r.electionAt = r.now.Add(r.random(r.conf().ElectionTimeout)) // the disk's time is not the voters'
	req := &RequestVoteRequest{
		RPCHeader: r.header, Term: r.hard.term, Candidate: r.header.Addr,
		LastLogIndex: r.log.last.index, LastLogTerm: r.log.last.term,
		LeadershipTransfer: c.transfer,
	}
	for _, s := range r.otherVoters() {
		r.out.vote(s, req, c)
	}
	if r.isVoter() {
		r.grantVote(c, r.localID)
	}
}

// countVote counts an answer to a vote request.
func (r *Raft) countVote(e voteResult) {
	if r.lateVote(e) || e.campaign != r.campaign {
		return
	}
	if e.err != nil || !e.resp.Granted {
		r.note.voteFailed("failed to make requestVote RPC", e.from, e.err)
		e.campaign.refused++
		return
	}
	r.grantVote(e.campaign, e.from)
}

func (r *Raft) lateVote(e voteResult) (deposed bool) {
	return e.err == nil && r.deposedBy(e.resp.Term)
}

func (r *Raft) grantVote(c *campaign, from ServerID) {
	c.granted[from] = true
	if len(c.granted) < c.needed {
		return
	}
	r.note.electionWon(r.hard.term, len(c.granted))
	r.become(Leader, r.hard.term)
}

// handleVote answers a vote request.
func (r *Raft) handleVote(rpc RPC, req *RequestVoteRequest) {
	q := voteQuestion{
		term:     req.Term,
		from:     sender(req.RPCHeader, req.Candidate),
		last:     entryID{req.LastLogIndex, req.LastLogTerm},
		transfer: req.LeadershipTransfer,
	}
	r.forgetPreVote(q)
	b := r.voter().vote(q)
	if b.adopt {
		r.become(Follower, req.Term)
	}
	if b.granted && r.storeDoubtful() {
		b.granted, b.reason = false, "our stores do not keep up or fail"
	}
	resp := &RequestVoteResponse{RPCHeader: r.header, Term: r.hard.term, Granted: b.granted}
	if r.protocol < 2 {
		resp.Peers, _ = encodePeers(r.configs.latest().config, r.trans)
	}
	if !b.granted {
		r.note.voteRefused("vote", q, b.reason)
		rpc.Respond(resp, nil)
		return
	}
	if !r.hard.vote.is(q.from) {
		r.setVote(q.from)
	}
	r.heard = r.now
	r.replyVote(rpc, resp)
}

// replyVote gives a vote when it is on disk (R1). If the term has moved on by then, it never
// will be: what is on disk is the newer term, of which the candidate learns instead.
func (r *Raft) replyVote(rpc RPC, resp *RequestVoteResponse) {
	r.writer.whenHardSynced(func(err error) {
		if r.hard.term != resp.Term {
			resp.Term, resp.Granted = r.hard.term, false
		}
		rpc.Respond(resp, err)
	})
}

// handlePreVote answers a pre-vote request. It changes nothing.
func (r *Raft) handlePreVote(rpc RPC, req *RequestPreVoteRequest) {
	q := voteQuestion{
		term: req.Term,
		from: sender(req.RPCHeader, nil),
		last: entryID{req.LastLogIndex, req.LastLogTerm},
	}
	if _, ok := r.configs.latest().config.find(q.from.id); ok { // others could fill our memory
		r.notePreVote(q.from.id, q.term)
	}
	b := r.voter().preVote(q)
	if b.granted && r.storeDoubtful() {
		b.granted, b.reason = false, "our stores do not keep up or fail"
	}
	if !b.granted {
		r.note.voteRefused("pre-vote", q, b.reason)
	}
	term := r.hard.term
	if b.granted {
		term = req.Term
	}
	rpc.Respond(&RequestPreVoteResponse{RPCHeader: r.header, Term: term, Granted: b.granted}, nil)
}

func (r *Raft) voter() voter {
	return voter{
		hard: r.hard, leader: r.liveLeader(), promising: r.promising(),
		last: r.log.last, config: r.configs.latest().config,
	}
}

// handleTimeoutNow stands for election at once, if the leader that this voter
// follows asks for it (R12). It is refused with an empty answer: the message has no
// better way.
func (r *Raft) handleTimeoutNow(rpc RPC, req *TimeoutNowRequest) {
	from := sender(req.RPCHeader, nil)
	known := r.leader != (candidate{}) && (from == (candidate{}) || r.leader.is(from))
	obey := r.state == Follower && known && r.isVoter() && r.mayStand()
	rpc.Respond(&TimeoutNowResponse{}, nil)
	if !obey {
		r.note.timeoutNowIgnored(from)
		return
	}
	r.logger.Info("received TimeoutNow, standing for election", "from", from.id)
	r.elect(true)
}

// sender is who sent a message: by its header, or by the field of older versions.
func sender(h RPCHeader, legacy []byte) candidate {
	c := candidate{id: ServerID(h.ID), addr: ServerAddress(h.Addr)}
	if len(h.Addr) == 0 {
		c.addr = ServerAddress(legacy)
	}
	return c
}
