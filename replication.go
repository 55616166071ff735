package raft

import (
	"errors"
	"runtime"
	"slices"
	"time"
)

// leadership is the state of one term as leader. become creates it and drops it.
//
// Everything a leader sends takes its term from here, never from the node: a node
// that has moved on to another term must not speak for the old leader, nor the old
// leader for the new term (R18).
type leadership struct {
	term   uint64
	start  uint64     // index of the entry that opened this term
	voters []ServerID // of the latest configuration
	peers  []*peer    // the other servers, in the order of the configuration

	futures []*logFuture // of entries that are not committed yet, in order of index
	backlog backlog
	pace    pace

	reads     reads
	transfer  *transfer
	readLease time.Time         // until then nobody else leads, zero: not known; see lease.go
	release   uint64            // the round of heartbeats that releases the voters, 0: they are bound; see lease.go
	changes   []*membershipCall // waiting for their turn, see R8
	restore   *userRestore

	beatAt  time.Time
	leaseAt time.Time
	doubt   time.Time     // when the lease was first found to be over
	over    chan struct{} // closed when the leadership ends
}

// peer is another server, as its leader sees it. Entries and heartbeats travel in
// separate lanes, so that a heartbeat never waits behind a slow disk. A peer that
// is removed and added again is another peer: answers meant for the first one do
// not count for the second (R6, S11).
type peer struct {
	metrics  *peerMetrics
	server   Server
	progress progress
	lane     *lane    // nil: none is open
	beats    *beats   // nil: not begun
	install  *install // nil: no snapshot is under way

	installed uint64 // index of the last snapshot that it took

	contact   time.Time // when the last request that it answered with success was sent
	confirmed uint64    // the last read round that it answered
	beatRound uint64    // the last one whose heartbeat it answered

	failures int       // in a row
	promised time.Time // it gives no vote before this, see lease.go
	retryAt  time.Time // not before this
	silent   bool      // its last heartbeat failed
	commitAt time.Time // when it must be told the commit index
	pinned   bool      // the log is kept for it, see logPin

	// A removed server gets the log up to its removal, so that it learns of it,
	// for a while (L8).
	removed   bool
	removedAt uint64
	dropAt    time.Time
}

const (
	// requestBytes bounds the entries of one request to a follower that keeps up.
	requestBytes = 1 << 20

	// defaultWindow is how many requests may be unanswered if the transport does
	// not say.
	defaultWindow = 4

	// maxUnapplied bounds the entries that are appended but not applied here, in bytes.
	// Past it the leader takes no proposals, whether it is the others, its own disk or
	// its FSM that do not keep up.
	maxUnapplied = 64 << 20
)

// outbound is how main sets its peers talking. Every call returns at once; answers
// come back as events. Tests that step nodes by hand replace it.
type outbound interface {
	preVote(to Server, req *RequestPreVoteRequest, c *campaign)
	vote(to Server, req *RequestVoteRequest, c *campaign)
	openLane(ln *lane)
	beat(b *beats)
	sendSnapshot(in *install)
	timeoutNow(to Server, req *TimeoutNowRequest, term uint64)
}

// beginLeadership sets up a term as leader.
func (r *Raft) beginLeadership() {
	r.lead = &leadership{
		term:    r.hard.term,
		start:   r.log.last.index + 1,
		over:    make(chan struct{}),
		leaseAt: r.now.Add(r.conf().LeaderLeaseTimeout),
	}
	r.log.keepEncodings()
	r.followConfiguration()
	r.appendLocal([]*logFuture{newLogFuture(Log{Type: LogNoop})})
	r.beat()
}

// endLeadership drops what exists only while leading. What is committed is still
// going to be applied and completes then; the outcome of the rest is unknown.
func (r *Raft) endLeadership(l *leadership) {
	close(l.over)
	r.log.dropEncodings()
	for _, p := range l.peers {
		r.closePeer(p)
	}
	for _, f := range l.futures {
		f.respond(ErrLeadershipLost)
	}
	if r.state != Shutdown {
		r.proposals.refuse(ErrNotLeader) // those that a saturated leader has left in the queue
	}
	l.reads.fail(ErrLeadershipLost)
	if r.state != Shutdown {
		r.readers.refuse(ErrLeadershipLost) // those that a round was in the way of
	}
	for _, c := range l.changes {
		c.future.respond(ErrLeadershipLost)
	}
	if l.restore != nil {
		l.restore.future.respond(ErrLeadershipLost)
	}
	r.leaveTransfer(l.transfer)
}

func (l *leadership) peer(id ServerID) *peer {
	i := slices.IndexFunc(l.peers, func(p *peer) bool { return p.server.ID == id && !p.removed })
	if i < 0 {
		return nil
	}
	return l.peers[i]
}

// followConfiguration brings voters and peers in line with the latest
// configuration, which is in force from the moment it is appended.
func (r *Raft) followConfiguration() {
	l, latest := r.lead, r.configs.latest()
	l.voters = latest.config.voters()
	for _, p := range l.peers {
		if _, ok := latest.config.find(p.server.ID); !ok && !p.removed {
			p.removed, p.removedAt = true, latest.index
			p.dropAt = r.now.Add(4 * r.conf().ElectionTimeout)
			r.note.peerRemoved(p.server, r.log.last.index)
		}
	}
	for _, s := range latest.config.Servers {
		if s.ID == r.localID {
			continue
		}
		if p := l.peer(s.ID); p != nil {
			r.readdress(p, s)
			continue
		}
		r.forget(s.ID)
		l.peers = append(l.peers, &peer{
			metrics:  r.note.peerMetrics(s.ID),
			server:   s,
			progress: newProgress(r.log.last.index, r.window),
			contact:  r.now,
		})
		r.note.peerAdded(s)
	}
	r.note.peers(len(latest.config.Servers))
	r.updateLease()
}

// forget ends what is left of a removed peer whose server is added again: its session is
// over (R6).
func (r *Raft) forget(id ServerID) {
	r.lead.peers = slices.DeleteFunc(r.lead.peers, func(p *peer) bool {
		if p.server.ID != id {
			return false
		}
		r.closePeer(p)
		return true
	})
}

// readdress gives a peer its latest suffrage and address.
func (r *Raft) readdress(p *peer, s Server) {
	moved := p.server.Address != s.Address
	p.server = s
	if moved && p.lane != nil {
		r.closeLane(p)
	}
}

// closePeer ends everything that runs for a peer.
func (r *Raft) closePeer(p *peer) {
	if p.lane != nil {
		r.closeLane(p)
	}
	if p.beats != nil {
		p.beats.cancel()
		p.beats = nil
	}
}

func (r *Raft) closeLane(p *peer) {
	close(p.lane.done)
	p.lane = nil
	p.progress.failed()
}

// dropRemoved forgets removed peers that know of it, or had time enough.
func (r *Raft) dropRemoved() {
	r.lead.peers = slices.DeleteFunc(r.lead.peers, func(p *peer) bool {
		told := p.progress.inflight == 0 && min(p.progress.sentCommit, p.progress.match) >= p.removedAt
		if !p.removed || !told && r.now.Before(p.dropAt) {
			return false
		}
		r.closePeer(p)
		return true
	})
}

// enoughProposals is how many proposals must wait for the leader to take them.
func (r *Raft) enoughProposals() int {
	l := r.lead
	switch {
	case l.transfer != nil:
		return 1 // to be refused
	case l.restore != nil || l.backlog.bytes >= maxUnapplied:
		return never
	default:
		return l.pace.enough(r.now, r.uncommitted(), r.writer.flying != nil)
	}
}

// uncommitted is how many entries are under way.
func (r *Raft) uncommitted() int { return int(r.log.last.index - r.commit) }

// takeProposals appends what waits in the queue, as one batch, if that is enough.
func (r *Raft) takeProposals() {
	l := r.lead
	if l.transfer != nil {
		r.proposals.refuse(ErrLeadershipTransferInProgress)
		return
	}
	l.backlog.applied(r.applied())
	if batch := r.proposals.take(r.enoughProposals(), maxBatchBytes); len(batch) > 0 {
		l.pace.took(len(batch))
		r.appendLocal(batch)
	}
}

// appendLocal gives entries their place in the log and sends them on their way: to
// this node's disk, which is one more follower, and to the others.
func (r *Raft) appendLocal(batch []*logFuture) {
	l := r.lead
	entries, bytes := make([]*Log, len(batch)), 0
	for i, f := range batch {
		e := f.log
		e.Index, e.Term, e.AppendedAt = r.log.last.index+1+uint64(i), l.term, r.now
		entries[i] = e
		bytes += logSize(e)
	}
	l.futures = append(l.futures, batch...)
	l.backlog.add(entries[len(entries)-1].Index, bytes)
	r.note.dispatched(len(entries))
	r.accept(entries)
}

// backlog counts the bytes that are appended but not applied, by batch.
type backlog struct {
	batches []backlogBatch
	bytes   int
}

type backlogBatch struct {
	last  uint64
	bytes int
}

func (b *backlog) add(last uint64, bytes int) {
	b.batches = append(b.batches, backlogBatch{last, bytes})
	b.bytes += bytes
}

func (b *backlog) applied(index uint64) {
	for len(b.batches) > 0 && b.batches[0].last <= index {
		b.bytes -= b.batches[0].bytes
		b.batches = b.batches[1:]
	}
}

// advanceCommit applies R4 and R5: this node counts for what is durable on its own
// disk, and only as a voter, like everyone else.
func (r *Raft) advanceCommit() {
	l := r.lead
	r.commitTo(commitIndex(l.voters, r.matchOf, l.start, r.commit))
}

func (r *Raft) matchOf(id ServerID) uint64 {
	if id == r.localID {
		return r.log.durable
	}
	if p := r.lead.peer(id); p != nil {
		return p.progress.match
	}
	return 0
}

// flushLeader hands everything that is ready to the peers.
func (r *Raft) flushLeader() {
	r.takeChanges() // before the commit index moves: a step commits under one configuration
	r.advanceCommit()
	if r.lead == nil {
		return // its own removal was committed
	}
	r.takeProposals()
	r.advanceTransfer()
	r.advanceRestore()
	r.confirmReads()
	if r.lead.asksPromises(r.conf()) {
		r.publish() // whoever has seen an entry applied elsewhere finds it in a read by the lease
	}
	for _, p := range r.lead.peers {
		r.flushPeer(p)
	}
	r.dropRemoved()
}

// flushPeer sends a peer what its progress allows.
func (r *Raft) flushPeer(p *peer) {
	if r.now.Before(p.retryAt) {
		return
	}
	if p.progress.state != installing && p.progress.next <= r.log.floor.index {
		if p.progress.inflight > 0 || p.progress.fetching {
			return // until those are answered
		}
		r.belowFloor(p)
	}
	if p.progress.state == installing {
		r.startInstall(p)
		return
	}
	last := r.log.last.index
	if p.removed {
		last = p.removedAt
	}
	for p.progress.wants(last, r.mustTellCommit(p)) {
		if p.lane == nil {
			p.lane = newLane(p, r.lead)
			r.out.openLane(p.lane)
		}
		p.lane.reqs <- r.nextRequest(p, last) // has room: inflight < window
	}
}

// deadline is when there may be something to send to a peer without any other event,
// zero if never.
func (p *peer) deadline(now time.Time) time.Time {
	switch {
	case now.Before(p.retryAt):
		return p.retryAt
	case p.progress.wants(0, true):
		return p.commitAt
	default:
		return time.Time{}
	}
}

// belowFloor deals with a peer whose next entry has been compacted: the lowest
// previous entry that can be named is tried first, unless that is hopeless.
func (r *Raft) belowFloor(p *peer) {
	if p.progress.match > 0 || p.progress.searching {
		p.progress.install()
		return
	}
	p.progress.restart(r.log.floor.index)
}

// mustTellCommit reports whether a peer has waited long enough for news of the
// commit index alone.
func (r *Raft) mustTellCommit(p *peer) bool {
	if p.progress.sentCommit >= min(r.commit, p.progress.match) {
		p.commitAt = time.Time{}
		return false
	}
	if p.commitAt.IsZero() {
		p.commitAt = r.now.Add(r.conf().CommitTimeout)
	}
	return p.removed || !r.now.Before(p.commitAt)
}

// nextRequest builds the next AppendEntries for a peer. Entries that are no longer
// in memory are left for the lane to read.
func (r *Raft) nextRequest(p *peer, last uint64) *laneRequest {
	prev := p.progress.next - 1
	prevTerm, ok := r.log.term(prev)
	if !ok {
		assert(false, "no term for %d, floor %v, last %v", prev, r.log.floor, r.log.last)
	}
	q := &laneRequest{
		req: &AppendEntriesRequest{
			RPCHeader: r.header, Term: r.lead.term, Leader: r.header.Addr,
			PrevLogEntry: prev, PrevLogTerm: prevTerm,
			Entries: []*Log{},
		},
		epoch: p.progress.epoch,
		round: r.lead.reads.round,
		sent:  r.now,
	}
	maxEntries := int(last - prev)
	if p.progress.state == probing {
		maxEntries = min(maxEntries, r.conf().MaxAppendEntries)
	}
	switch {
	case prev >= last || p.progress.probesEmpty():
	case r.log.inMemory(prev + 1):
		q.req.Entries, q.req.wire = r.log.recent(prev+1, last, maxEntries, requestBytes)
		q.bytes = entriesSize(q.req.Entries)
	default:
		q.fetch = maxEntries
		p.progress.fetching = true
	}
	// Never more than the request vouches for: a follower of hashicorp/raft commits
	// whatever it has up to there (H13).
	q.commit = r.commit
	q.req.LeaderCommitIndex = min(q.commit, q.match())
	p.progress.sent(len(q.req.Entries), q.bytes, q.req.LeaderCommitIndex)
	return q
}

func entriesSize(entries []*Log) (n int) {
	for _, e := range entries {
		n += logSize(e)
	}
	return n
}

// handleLaneRead takes note of what a lane has read from the store.
func (r *Raft) handleLaneRead(e laneRead) {
	p := e.lane.peer
	if r.lead != e.lane.lead || p.lane != e.lane {
		return
	}
	if e.err == nil {
		e.req.bytes = entriesSize(e.req.req.Entries)
		p.progress.fetched(len(e.req.req.Entries), e.req.bytes, e.req.req.LeaderCommitIndex)
		return
	}
	p.progress.fetched(0, 0, 0)
	p.progress.replied(0)
	if isNotFound(e.err) {
		p.progress.install() // compacted meanwhile
		return
	}
	r.laneBroken(p, e.err)
}

// handleLaneResult deals with the answer to an AppendEntries.
func (r *Raft) handleLaneResult(e laneResult) {
	if e.err == nil && r.deposedBy(e.resp.Term) {
		return
	}
	p := e.lane.peer
	if r.lead == nil || r.lead != e.lane.lead || p.lane != e.lane {
		return // of an earlier session (R6)
	}
	switch {
	case e.err != nil:
		r.laneBroken(p, e.err)
	case e.resp.Term != r.lead.term:
		r.laneBroken(p, errOddTerm)
	case e.resp.Success:
		r.heardFrom(p, e.req.sent, e.req.round)
		p.failures = 0
		p.progress.acked(e.req.match(), e.req.bytes, e.req.epoch)
		r.unpin(p)
	default:
		r.note.refused(p, e.req, e.resp)
		if p.progress.rejected(e.req.req.PrevLogEntry, e.resp.LastLog, e.req.bytes, e.req.epoch, r.log.floor.index, r.log.last.index) {
			p.progress.install()
		}
	}
}

var errOddTerm = errors.New("answer bears another term than the request")

// deposedBy adopts a higher term seen in an answer (R7).
func (r *Raft) deposedBy(term uint64) bool {
	if term <= r.hard.term || term > maxTerm {
		return false
	}
	r.note.newerTerm(term)
	r.become(Follower, term)
	return true
}

// laneBroken closes a peer's lane and waits a little before the next one. The wait
// grows to a heartbeat interval and no further, and any contact ends it (L10).
func (r *Raft) laneBroken(p *peer, err error) {
	r.note.laneBroken(p, err)
	r.closeLane(p)
	r.backOff(p, r.beatInterval())
}

// backOff keeps a peer from being tried for a time that doubles up to a limit.
func (r *Raft) backOff(p *peer, limit time.Duration) {
	p.failures++
	wait := 5 * time.Millisecond << min(p.failures, 10)
	p.retryAt = r.now.Add(min(wait, limit))
}

// heardFrom records that a peer answered a request with success: contact as of when
// the request was sent (R6), and a vote for its read round (R14).
func (r *Raft) heardFrom(p *peer, sent time.Time, round uint64) {
	if sent.After(p.contact) {
		p.contact = sent
	}
	p.confirmed = max(p.confirmed, round)
}

// beat starts a round of heartbeats, for all reads that have come by now.
func (r *Raft) beat() {
	l := r.lead
	for _, reader := range r.readers.take() {
		l.reads.add(max(r.commit, l.start), reader)
	}
	l.reads.round++
	l.beatAt = r.now.Add(r.beatInterval())
	for _, p := range l.peers {
		if p.beats == nil {
			p.beats = &beats{peer: p, lead: l}
		}
		first := p.beats.put(&beat{
			to: p.server,
			req: &AppendEntriesRequest{
				RPCHeader: r.header, Term: l.term, Leader: r.header.Addr,
				Lease: l.asksPromises(r.conf()),
			},
			round: l.reads.round,
			sent:  r.now,
			match: p.progress.match,
		})
		if first {
			r.out.beat(p.beats)
		}
	}
	r.updateLease() // that of a single voter depends on nobody's answer
}

// beatInterval is the time between heartbeats: a tenth of the followers' patience,
// and well below this leader's own.
func (r *Raft) beatInterval() time.Duration {
	c := r.conf()
	return max(min(c.HeartbeatTimeout/10, c.LeaderLeaseTimeout/3), time.Millisecond)
}

// handleBeatResult deals with the answer to a heartbeat.
func (r *Raft) handleBeatResult(e beatResult) {
	if e.err == nil && r.deposedBy(e.resp.Term) {
		return
	}
	p := e.beats.peer
	if r.lead == nil || r.lead != e.beats.lead || p.beats != e.beats {
		return
	}
	if e.err != nil || !e.resp.Success || e.resp.Term != r.lead.term {
		if e.beat.sent.After(p.contact) { // else a later one has been answered
			r.note.heartbeatFailed(p, e.err)
			p.silent = true
		}
		return
	}
	if p.silent {
		p.silent = false
		r.note.heartbeatResumed(p)
	}
	if p.progress.state != installing {
		p.retryAt = time.Time{}
	}
	r.heardFrom(p, e.beat.sent, e.beat.round)
	p.beatRound = max(p.beatRound, e.beat.round)
	r.promisedBy(p, e.beat.sent, e.resp.Lease)
	if e.resp.LastLog < e.beat.match && p.progress.state == streaming {
		p.progress.restart(p.progress.match) // it has lost what it had: find out how much
	}
}

// confirmReads finds out which rounds the voters have answered.
func (r *Raft) confirmReads() {
	l := r.lead
	l.reads.confirm(quorumValue(l.voters, func(id ServerID) uint64 {
		if id == r.localID {
			return l.reads.round
		}
		if p := l.peer(id); p != nil {
			return p.confirmed
		}
		return 0
	}))
}

// answerReads completes reads, and starts the next round if others wait for it. Those who
// have just been answered, if there are several, get the chance to ask again first: they
// share that round.
func (r *Raft) answerReads() {
	l := r.lead
	answered := l.reads.complete(r.applied())
	if l.reads.underWay() || !r.readers.waiting() {
		return
	}
	if answered > 1 {
		runtime.Gosched()
	}
	r.beat()
	r.confirmReads() // a single voter needs nobody else
	l.reads.complete(r.applied())
}

// checkLease steps down if a majority of the voters has been silent for too long. It looks
// twice, a moment apart: after a pause of this process answers may be waiting behind the
// timer.
func (r *Raft) checkLease() {
	l, conf := r.lead, r.conf()
	heard := quorumContact(l.voters, r.localID, r.now, func(id ServerID) time.Time {
		if p := l.peer(id); p != nil {
			return p.contact
		}
		return time.Time{}
	})
	for _, p := range l.peers {
		if p.server.Suffrage == Voter && !p.removed {
			r.note.contact(p.server.ID, r.now.Sub(p.contact), conf.LeaderLeaseTimeout)
		}
	}
	end := heard.Add(conf.LeaderLeaseTimeout)
	switch {
	case r.now.Before(end):
		l.leaseAt, l.doubt = end, time.Time{}
	case l.doubt.IsZero():
		l.doubt = r.now
		l.leaseAt = r.now.Add(min(10*time.Millisecond, conf.LeaderLeaseTimeout/5))
	default:
		r.note.leaseLost()
		r.become(Follower, r.hard.term)
	}
}
