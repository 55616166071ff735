package raft

import (
	"bytes"
	"io"
	"slices"
	"time"
)

// legacyPeer behaves like a server of hashicorp/raft v1.8.0, as far as other servers can
// tell. It shares no code with this library's core, and takes other decisions:
//
//   - its main loop does one thing at a time and waits for the disk within it; only
//     heartbeats are answered beside it;
//   - a vote is for an address, and a repeated request is granted unseen;
//   - a follower commits up to the leader's commit index or its own last entry, whatever
//     the request has verified;
//   - a leader takes any answer for contact, steps down because of a higher term without
//     taking it over, and walks back by what a refusal calls the last entry.
//
// Three of its faults would break a cluster without any help from us and are kept from
// firing: it uses a monotonic store, which is emptied when a snapshot is installed; it
// does not crash between the two writes of a vote; its disk does not fail.
type legacyPeer struct {
	w    *world
	id   ServerID
	conf *Config
	disk *simDisk
	life int // as of simNode
	up   bool

	asleep  bool // paused
	busy    bool // main waits for the disk
	spent   time.Duration
	inbox   []func()
	replies []func() // go out when main is free again

	state     RaftState
	term      uint64
	leader    candidate
	end       entryID // of the log
	snap      entryID
	commit    uint64
	applied   uint64
	committed configEntry
	newest    configEntry
	fsm       *simFSM
	handled   entryID // the last entry that its FSM goroutine has seen
	contact   time.Time
	asked     bool // by TimeoutNow, to stand
	round     int  // counts timers and campaigns: what an earlier one started is void
	lead      *legacyLead

	looked  func(*legacyPeer) // called when it has done something
	patient func() bool       // whether it must not stand
}

func (p *legacyPeer) start() {
	p.life++
	p.up, p.busy, p.asleep = true, false, false
	p.inbox, p.replies, p.lead = nil, nil, nil
	p.term = p.disk.numbers[string(keyCurrentTerm)]
	p.state, p.leader, p.asked = Follower, candidate{}, false
	p.commit, p.applied, p.snap, p.end, p.handled = 0, 0, entryID{}, entryID{}, entryID{}
	p.committed, p.newest = configEntry{}, configEntry{}
	p.contact = time.Time{}
	p.fsm = &simFSM{}
	if n := len(p.disk.snaps); n > 0 {
		s := p.disk.snaps[n-1]
		_ = p.fsm.Restore(io.NopCloser(bytes.NewReader(s.buf.Bytes())))
		p.snap, p.applied = entryID{s.meta.Index, s.meta.Term}, s.meta.Index
		p.committed = configEntry{s.meta.ConfigurationIndex, s.meta.Configuration}
		p.newest = p.committed
	}
	if last, _ := p.disk.LastIndex(); last > 0 {
		p.end = idOf(p.disk.entry(last))
	}
	for i := p.snap.index + 1; i <= p.end.index; i++ {
		p.learn(p.disk.entry(i))
	}
	p.armHeartbeat()
}

func (p *legacyPeer) crash() {
	p.up = false
	p.life++
	p.lead = nil
	p.inbox, p.replies = nil, nil
}

func (p *legacyPeer) pause() { p.asleep = p.up }

func (p *legacyPeer) resume() {
	if p.up && p.asleep {
		p.asleep = false
		p.drain()
	}
}

// main runs f on the main loop: now, or when that is free.
func (p *legacyPeer) main(f func()) {
	p.inbox = append(p.inbox, f)
	p.drain()
}

func (p *legacyPeer) drain() {
	for p.up && !p.busy && !p.asleep && len(p.inbox) > 0 {
		f := p.inbox[0]
		p.inbox = p.inbox[1:]
		p.spent = 0
		f()
		p.look()
		replies := p.replies
		p.replies = nil
		if p.spent == 0 {
			flushReplies(replies)
			continue
		}
		p.busy = true
		p.after(p.spent, func() {
			p.busy = false
			flushReplies(replies)
			p.drain()
		})
	}
}

func flushReplies(replies []func()) {
	for _, r := range replies {
		r()
	}
}

func (p *legacyPeer) look() {
	if p.looked != nil && p.up {
		p.looked(p)
	}
}

// after runs f in this life.
func (p *legacyPeer) after(d time.Duration, f func()) {
	life := p.life
	p.w.in(d, func() {
		if p.life == life {
			f()
		}
	})
}

// timer runs f on main unless another round has begun by then.
func (p *legacyPeer) timer(d time.Duration, f func()) {
	round := p.round
	p.after(d, func() {
		p.main(func() {
			if p.round == round {
				f()
			}
		})
	})
}

func (p *legacyPeer) random(d time.Duration) time.Duration {
	return d + time.Duration(p.w.rng.Int64N(int64(d)))
}

func (p *legacyPeer) synced() { p.spent += p.w.diskDelay(p.id) }

func (p *legacyPeer) header() RPCHeader {
	return RPCHeader{3, []byte(p.id), []byte(addrOf(p.id))}
}

// Roles and elections.

func (p *legacyPeer) setTerm(term uint64) {
	_ = p.disk.SetUint64(keyCurrentTerm, term)
	p.term = term
	p.synced()
}

func (p *legacyPeer) follow(term uint64) {
	p.setState(Follower)
	p.setTerm(term)
}

func (p *legacyPeer) setState(s RaftState) {
	if p.state == Leader && s != Leader {
		p.stopLeading()
	}
	if p.state != s || s == Candidate {
		p.round++
	}
	was := p.state
	p.state, p.leader = s, candidate{}
	if s == Follower && was != Follower {
		p.armHeartbeat()
	}
}

func (p *legacyPeer) armHeartbeat() {
	p.timer(p.random(p.conf.HeartbeatTimeout), func() {
		if p.state != Follower {
			return
		}
		if !p.contact.IsZero() && p.w.now.Sub(p.contact) < p.conf.HeartbeatTimeout {
			p.armHeartbeat()
			return
		}
		p.leader = candidate{}
		if p.newest.index == 0 || !p.newest.config.isVoter(p.id) || p.patient() {
			p.armHeartbeat()
			return
		}
		p.stand()
	})
}

func (p *legacyPeer) stand() {
	p.setState(Candidate)
	p.timer(p.random(p.conf.ElectionTimeout), func() {
		p.asked = false
		p.stand()
	})
	if p.conf.PreVoteDisabled || p.asked {
		p.elect()
		return
	}
	round, votes := p.round, 0
	grant := func() {
		if votes++; votes == quorumSize(len(p.newest.config.voters())) {
			p.elect()
		}
	}
	req := &RequestPreVoteRequest{RPCHeader: p.header(), Term: p.term + 1, LastLogIndex: p.last().index, LastLogTerm: p.last().term}
	p.ask(req, func(resp interface{}, err error) {
		r, ok := resp.(*RequestPreVoteResponse)
		switch {
		case p.round != round || err != nil || !ok:
		case r.Term > p.term+1:
			p.follow(r.Term)
		case r.Granted:
			grant()
		}
	})
	if p.newest.config.isVoter(p.id) { // TimeoutNow is obeyed by others, too
		grant()
	}
}

func (p *legacyPeer) elect() {
	p.setTerm(p.term + 1)
	_ = p.disk.SetUint64(keyLastVoteTerm, p.term)
	_ = p.disk.Set(keyLastVoteCand, []byte(addrOf(p.id)))
	p.synced()
	p.round++ // pre-votes are over
	p.timer(p.random(p.conf.ElectionTimeout), func() {
		p.asked = false
		p.stand()
	})
	round, votes := p.round, 0
	grant := func() {
		if votes++; votes == quorumSize(len(p.newest.config.voters())) {
			p.beginLeading()
		}
	}
	req := &RequestVoteRequest{RPCHeader: p.header(), Term: p.term, Candidate: []byte(addrOf(p.id)),
		LastLogIndex: p.last().index, LastLogTerm: p.last().term, LeadershipTransfer: p.asked}
	p.ask(req, func(resp interface{}, err error) {
		r, ok := resp.(*RequestVoteResponse)
		switch {
		case p.round != round || err != nil || !ok:
		case r.Term > p.term:
			p.follow(r.Term)
		case r.Granted:
			grant()
		}
	})
	if p.newest.config.isVoter(p.id) { // TimeoutNow is obeyed by others, too
		grant()
	}
}

// ask sends a request to all other voters once the disk is done; answered runs on main.
func (p *legacyPeer) ask(req interface{}, answered func(interface{}, error)) {
	p.replies = append(p.replies, func() {
		for _, s := range p.newest.config.Servers {
			if s.Suffrage != Voter || s.ID == p.id {
				continue
			}
			life := p.life
			p.w.send(p.id, s.ID, req, nil, func(resp interface{}, err error) {
				if p.life == life {
					p.main(func() { answered(resp, err) })
				}
			})
		}
	})
}

func (p *legacyPeer) last() entryID {
	if p.snap.index > p.end.index {
		return p.snap
	}
	return p.end
}

// receive takes a request from another server.
func (p *legacyPeer) receive(cmd interface{}, payload []byte, reply func(interface{}, error)) {
	if !p.up {
		reply(nil, errUnreachable)
		return
	}
	answer := func(resp interface{}, err error) {
		p.replies = append(p.replies, func() { reply(resp, err) })
	}
	handle := func() {
		switch req := cmd.(type) {
		case *AppendEntriesRequest:
			p.handleAppend(req, answer)
		case *RequestVoteRequest:
			p.handleVote(req, answer)
		case *RequestPreVoteRequest:
			p.handlePreVote(req, answer)
		case *InstallSnapshotRequest:
			p.handleInstall(req, payload, answer)
		case *TimeoutNowRequest:
			p.setState(Candidate)
			p.asked = true
			answer(&TimeoutNowResponse{RPCHeader: p.header()}, nil)
			p.stand()
		}
	}
	if m, ok := cmd.(*AppendEntriesRequest); ok && isHeartbeat(m) && p.busy && !p.asleep {
		p.handleAppend(m, reply) // the fast path
		p.look()
		return
	}
	p.main(handle)
}

func (p *legacyPeer) handlePreVote(req *RequestPreVoteRequest, answer func(interface{}, error)) {
	resp := &RequestPreVoteResponse{RPCHeader: p.header(), Term: p.term}
	defer func() { answer(resp, nil) }()
	s, known := p.newest.config.find(ServerID(req.ID))
	configured := len(p.newest.config.Servers) > 0
	switch {
	case configured && !known:
		return
	case p.leader.addr != "" && p.leader.addr != ServerAddress(req.Addr):
		return
	case req.Term < p.term:
		return
	}
	if req.Term > p.term {
		resp.Term = req.Term
	}
	if configured && s.Suffrage != Voter {
		return
	}
	resp.Granted = entryID{req.LastLogIndex, req.LastLogTerm}.atLeast(p.last())
}

func (p *legacyPeer) handleVote(req *RequestVoteRequest, answer func(interface{}, error)) {
	resp := &RequestVoteResponse{RPCHeader: p.header(), Term: p.term}
	defer func() { answer(resp, nil) }()
	s, known := p.newest.config.find(ServerID(req.ID))
	configured := len(p.newest.config.Servers) > 0
	switch {
	case configured && !known:
		return
	case p.leader.addr != "" && p.leader.addr != ServerAddress(req.Addr) && !req.LeadershipTransfer:
		return
	case req.Term < p.term:
		return
	}
	if req.Term > p.term {
		p.follow(req.Term)
		resp.Term = req.Term
	}
	if configured && s.Suffrage != Voter {
		return
	}
	cand := p.disk.values[string(keyLastVoteCand)]
	if p.disk.numbers[string(keyLastVoteTerm)] == req.Term && cand != nil {
		resp.Granted = bytes.Equal(cand, req.Addr) // a repeat is granted unseen
		return
	}
	if !(entryID{req.LastLogIndex, req.LastLogTerm}).atLeast(p.last()) {
		return
	}
	_ = p.disk.SetUint64(keyLastVoteTerm, req.Term)
	_ = p.disk.Set(keyLastVoteCand, req.Addr)
	p.synced()
	resp.Granted = true
	p.contact = p.w.now
}

func (p *legacyPeer) handleAppend(req *AppendEntriesRequest, answer func(interface{}, error)) {
	resp := &AppendEntriesResponse{RPCHeader: p.header(), Term: p.term, LastLog: p.last().index}
	defer func() { answer(resp, nil) }()
	if req.Term < p.term {
		return
	}
	if req.Term > p.term || p.state != Follower && !p.asked {
		p.follow(req.Term)
		resp.Term = req.Term
	}
	p.leader = candidate{ServerID(req.ID), ServerAddress(req.Addr)}
	if req.PrevLogEntry > 0 {
		term, ok := p.termOf(req.PrevLogEntry)
		if !ok || term != req.PrevLogTerm {
			resp.NoRetryBackoff = true
			return
		}
	}
	if !p.store(req.Entries) {
		return
	}
	if req.LeaderCommitIndex > p.commit {
		p.commitTo(min(req.LeaderCommitIndex, p.last().index))
	}
	resp.Success = true
	p.contact = p.w.now
}

// term returns the term of an entry that it has.
func (p *legacyPeer) termOf(index uint64) (uint64, bool) {
	if index == p.last().index {
		return p.last().term, true
	}
	if e := p.disk.entry(index); e != nil {
		return e.Term, true
	}
	return 0, false
}

// store skips what it has, deletes what conflicts and stores the rest.
func (p *legacyPeer) store(entries []*Log) bool {
	for i, e := range entries {
		if e.Index <= p.end.index {
			have := p.disk.entry(e.Index)
			if have == nil {
				return false // compacted
			}
			if have.Term == e.Term {
				continue
			}
			_ = p.disk.DeleteRange(e.Index, p.end.index)
			p.synced()
			if e.Index <= p.newest.index {
				p.newest = p.committed
			}
		}
		if len(p.disk.entries) == 0 || p.disk.first+uint64(len(p.disk.entries)) == e.Index {
			_ = p.disk.StoreLogs(entries[i:])
			p.synced()
			for _, e := range entries[i:] {
				p.learn(e)
			}
			p.end = idOf(entries[len(entries)-1])
			return true
		}
		return false
	}
	return true
}

// learn takes note of an entry's configuration.
func (p *legacyPeer) learn(e *Log) {
	if e.Type == LogConfiguration {
		p.committed = p.newest
		p.newest = configEntry{e.Index, DecodeConfiguration(e.Data)}
	}
}

// commitTo applies what is committed, at once.
func (p *legacyPeer) commitTo(index uint64) {
	if index <= p.commit {
		return
	}
	p.commit = index
	if p.newest.index <= index {
		p.committed = p.newest
	}
	p.look() // before it is applied
	for i := p.applied + 1; i <= p.commit; i++ {
		e := p.disk.entry(i)
		if e == nil {
			breakf("%s: committed entry %d is missing", p.id, i)
		}
		if e.Type == LogCommand {
			p.fsm.Apply(e)
		}
		if e.Type == LogCommand || e.Type == LogBarrier {
			p.handled = idOf(e)
		}
		p.applied = i
	}
}

func (p *legacyPeer) handleInstall(req *InstallSnapshotRequest, payload []byte, answer func(interface{}, error)) {
	resp := &InstallSnapshotResponse{RPCHeader: p.header(), Term: p.term}
	if req.Term < p.term {
		answer(resp, nil)
		return
	}
	if req.Term > p.term {
		p.follow(req.Term)
		resp.Term = req.Term
	}
	p.leader = candidate{ServerID(req.ID), ServerAddress(req.Addr)}
	if int64(len(payload)) < req.Size {
		answer(nil, io.ErrUnexpectedEOF)
		return
	}
	config := configEntry{req.ConfigurationIndex, DecodeConfiguration(req.Configuration)}
	sink, _ := p.disk.Create(1, req.LastLogIndex, req.LastLogTerm, config.config, config.index, nil)
	_, _ = sink.Write(payload)
	_ = sink.Close()
	p.synced()
	_ = p.fsm.Restore(io.NopCloser(bytes.NewReader(payload)))
	p.snap = entryID{req.LastLogIndex, req.LastLogTerm}
	p.applied, p.handled = p.snap.index, p.snap
	p.committed, p.newest = config, config
	if n := len(p.disk.entries); n > 0 {
		_ = p.disk.DeleteRange(p.disk.first, p.disk.first+uint64(n)-1)
	}
	p.end = entryID{}
	resp.Success = true
	p.contact = p.w.now
	answer(resp, nil)
}

// takeSnapshot does what the snapshot goroutine does when its timer fires.
func (p *legacyPeer) takeSnapshot() {
	if p.handled.index == 0 || p.end.index < p.snap.index+p.conf.SnapshotThreshold ||
		p.handled.index < p.committed.index || p.handled.index <= p.snap.index {
		return
	}
	sink, _ := p.disk.Create(1, p.handled.index, p.handled.term, p.committed.config, p.committed.index, nil)
	state, _ := p.fsm.Snapshot()
	_ = state.Persist(sink)
	p.snap = p.handled
	if p.end.index > p.conf.TrailingLogs {
		to := min(p.snap.index, p.end.index-p.conf.TrailingLogs)
		if first, _ := p.disk.FirstIndex(); first > 0 && first <= to {
			_ = p.disk.DeleteRange(first, to)
		}
	}
	p.synced()
}

// view is what the checker sees.
func (p *legacyPeer) view() *view {
	v := &view{
		id: p.id, state: p.state, term: p.term, log: legacyTerms{p},
		last: p.last().index, durable: p.last().index, snap: p.snap,
		// It forgets the commit index when it restarts, and its FSM is restored.
		commit: max(p.commit, p.applied), applied: p.applied, sum: p.fsm.sum, config: p.newest,
		forgetful: true,
	}
	if p.lead != nil {
		v.start = p.lead.start
	}
	return v
}

type legacyTerms struct{ *legacyPeer }

func (t legacyTerms) term(index uint64) (uint64, bool) {
	if index == t.snap.index {
		return t.snap.term, true
	}
	return t.termOf(index)
}

// legacyLead is its leadership.
type legacyLead struct {
	term      uint64
	start     uint64
	followers []*legacyFollower
	futures   []*legacyFuture
	changes   []*legacyFuture
	transfer  *legacyTransfer
}

// legacyFuture is a write or a change that a client waits for.
type legacyFuture struct {
	log    Log
	change membershipChange
	done   func(id entryID, err error)
}

type legacyTransfer struct {
	to   ServerID
	sent bool
	done func(error)
}

// legacyFollower is a replication goroutine and a heartbeat goroutine.
type legacyFollower struct {
	server   Server
	lead     *legacyLead
	next     uint64 // as acknowledged
	ahead    uint64 // the pipeline has sent up to here
	match    uint64
	contact  time.Time
	failures int
	session  int // counts pipelines and RPC mode
	piped    bool
	busy     bool
	dead     bool
}

func (p *legacyPeer) beginLeading() {
	p.setState(Leader)
	p.asked = false
	p.leader = candidate{p.id, addrOf(p.id)}
	p.lead = &legacyLead{term: p.term, start: p.last().index + 1}
	p.followConfiguration()
	p.dispatch(&legacyFuture{log: Log{Type: LogNoop}, done: func(entryID, error) {}})
	p.timer(p.conf.LeaderLeaseTimeout, p.checkLease)
}

func (p *legacyPeer) stopLeading() {
	l := p.lead
	if l == nil {
		return
	}
	p.lead = nil
	p.contact = p.w.now
	for _, f := range l.followers {
		f.dead = true
	}
	for _, f := range append(l.futures, l.changes...) {
		f.done(entryID{f.log.Index, f.log.Term}, ErrLeadershipLost)
	}
	if l.transfer != nil {
		l.transfer.done(nil)
	}
}

func (p *legacyPeer) followConfiguration() {
	l := p.lead
	for _, f := range l.followers {
		if _, ok := p.newest.config.find(f.server.ID); !ok {
			f.dead = true // after what it can do at best
		}
	}
	l.followers = slices.DeleteFunc(l.followers, func(f *legacyFollower) bool { return f.dead })
	for _, s := range p.newest.config.Servers {
		if s.ID == p.id {
			continue
		}
		i := slices.IndexFunc(l.followers, func(f *legacyFollower) bool { return f.server.ID == s.ID })
		if i >= 0 {
			l.followers[i].server = s
			continue
		}
		f := &legacyFollower{server: s, lead: l, next: p.last().index + 1, contact: p.w.now}
		l.followers = append(l.followers, f)
		p.beatLoop(f)
		p.replicateLoop(f)
	}
}

func (p *legacyPeer) checkLease() {
	if p.lead == nil {
		return
	}
	voters := p.newest.config.voters()
	n, longest := 0, time.Duration(0)
	for _, id := range voters {
		silence := time.Duration(0)
		if f := p.follower(id); f != nil {
			silence = p.w.now.Sub(f.contact)
		} else if id != p.id {
			continue
		}
		if silence <= p.conf.LeaderLeaseTimeout {
			n++
			longest = max(longest, silence)
		}
	}
	if n < quorumSize(len(voters)) {
		p.setState(Follower)
		return
	}
	p.timer(max(10*time.Millisecond, p.conf.LeaderLeaseTimeout-longest), p.checkLease)
}

func (p *legacyPeer) follower(id ServerID) *legacyFollower {
	for _, f := range p.lead.followers {
		if f.server.ID == id {
			return f
		}
	}
	return nil
}

// Calls of clients.

func (p *legacyPeer) apply(cmd string, done func(entryID, error)) {
	p.main(func() {
		switch {
		case p.lead == nil:
			done(entryID{}, ErrNotLeader)
		case p.lead.transfer != nil:
			done(entryID{}, ErrLeadershipTransferInProgress)
		default:
			p.dispatch(&legacyFuture{log: Log{Data: []byte(cmd)}, done: done})
		}
	})
}

func (p *legacyPeer) change(c membershipChange, done func(entryID, error)) {
	p.main(func() {
		if p.lead == nil {
			done(entryID{}, ErrNotLeader)
			return
		}
		p.lead.changes = append(p.lead.changes, &legacyFuture{change: c, done: done})
		p.takeChanges()
	})
}

func (p *legacyPeer) transferTo(id ServerID, done func(error)) {
	p.main(func() {
		if p.lead == nil || p.lead.transfer != nil || p.follower(id) == nil {
			done(ErrNotLeader)
			return
		}
		t := &legacyTransfer{to: id, done: done}
		p.lead.transfer = t
		lead := p.lead
		p.after(2*p.conf.ElectionTimeout, func() {
			if p.lead == lead && lead.transfer == t {
				lead.transfer = nil
				done(errTransferTimeout)
			}
		})
		p.advanceTransfer()
	})
}

func (p *legacyPeer) advanceTransfer() {
	t := p.lead.transfer
	if t == nil || t.sent {
		return
	}
	if f := p.follower(t.to); f != nil && f.match >= p.last().index {
		t.sent = true
		p.w.send(p.id, t.to, &TimeoutNowRequest{RPCHeader: p.header()}, nil, func(interface{}, error) {})
	}
}

func (p *legacyPeer) takeChanges() {
	l := p.lead
	for l != nil && l == p.lead && len(l.changes) > 0 && p.newest.index == p.committed.index && p.commit >= l.start && l.transfer == nil {
		f := l.changes[0]
		l.changes = l.changes[1:]
		next, err := nextConfiguration(p.newest.config, p.newest.index, f.change)
		if err != nil {
			f.done(entryID{}, err)
			continue
		}
		f.log = Log{Type: LogConfiguration, Data: EncodeConfiguration(next)}
		p.dispatch(f)
	}
}

// dispatch appends an entry, waits for the disk, and only then tells the followers.
func (p *legacyPeer) dispatch(f *legacyFuture) {
	l := p.lead
	f.log.Index, f.log.Term, f.log.AppendedAt = p.last().index+1, l.term, p.w.now
	e := f.log
	l.futures = append(l.futures, f)
	_ = p.disk.StoreLogs([]*Log{&e})
	p.synced()
	p.end = idOf(&e)
	p.learn(&e)
	if e.Type == LogConfiguration {
		p.followConfiguration()
	}
	p.replies = append(p.replies, func() {
		if p.lead != l {
			return
		}
		for _, f := range l.followers {
			p.replicate(f)
		}
		p.main(p.advance)
	})
}

// advance commits what a majority has.
func (p *legacyPeer) advance() {
	l := p.lead
	if l == nil {
		return
	}
	voters := p.newest.config.voters()
	commit := quorumValue(voters, func(id ServerID) uint64 {
		if id == p.id {
			return p.last().index
		}
		if f := p.follower(id); f != nil {
			return f.match
		}
		return 0
	})
	if commit >= l.start && commit > p.commit {
		p.commitTo(commit)
		for len(l.futures) > 0 && l.futures[0].log.Index <= p.commit {
			f := l.futures[0]
			l.futures = l.futures[1:]
			f.done(entryID{f.log.Index, f.log.Term}, nil)
		}
		if p.committed.index == p.newest.index && !p.newest.config.isVoter(p.id) {
			p.setState(Follower)
			return
		}
	}
	p.takeChanges()
	if p.lead != nil {
		p.advanceTransfer()
	}
}

// Replication.

func (p *legacyPeer) beatLoop(f *legacyFollower) {
	if f.dead {
		return
	}
	req := &AppendEntriesRequest{RPCHeader: p.header(), Term: f.lead.term, Leader: []byte(addrOf(p.id))}
	life, over := p.life, false
	again := func(err error) {
		if p.life != life || over {
			return
		}
		over = true
		if err == nil {
			f.contact = p.w.now // whatever it says
		}
		p.after(p.random(p.conf.HeartbeatTimeout/10), func() { p.beatLoop(f) })
	}
	if p.asleep {
		again(errUnreachable)
		return
	}
	p.w.send(p.id, f.server.ID, req, nil, func(_ interface{}, err error) { again(err) })
}

// replicateLoop triggers a follower's replication every CommitTimeout.
func (p *legacyPeer) replicateLoop(f *legacyFollower) {
	p.after(p.random(p.conf.CommitTimeout), func() {
		if !f.dead {
			p.replicate(f)
			p.replicateLoop(f)
		}
	})
}

func (p *legacyPeer) replicate(f *legacyFollower) {
	switch {
	case f.dead || p.asleep:
	case f.piped:
		p.pipeline(f)
	case !f.busy:
		f.busy = true
		wait := time.Duration(0)
		if f.failures > 0 {
			wait = 10 * time.Millisecond << max(min(f.failures, 8)-2, 0)
		}
		p.after(wait, func() { p.sendNext(f) })
	}
}

// request builds the request that starts with an entry; nil if the log lacks what it
// needs.
func (p *legacyPeer) request(f *legacyFollower, next uint64) *AppendEntriesRequest {
	req := &AppendEntriesRequest{RPCHeader: p.header(), Term: f.lead.term, Leader: []byte(addrOf(p.id)),
		PrevLogEntry: next - 1, Entries: []*Log{}, LeaderCommitIndex: p.commit}
	switch {
	case next == 1:
	case next-1 == p.snap.index:
		req.PrevLogTerm = p.snap.term
	default:
		e := p.disk.entry(next - 1)
		if e == nil {
			return nil
		}
		req.PrevLogTerm = e.Term
	}
	for i := next; i <= p.end.index && len(req.Entries) < p.conf.MaxAppendEntries; i++ {
		e := p.disk.entry(i)
		if e == nil {
			return nil
		}
		req.Entries = append(req.Entries, e)
	}
	return req
}

// sendNext is RPC mode: one request at a time until the follower has all.
func (p *legacyPeer) sendNext(f *legacyFollower) {
	if f.dead {
		return
	}
	req := p.request(f, f.next)
	if req == nil {
		p.sendSnapshot(f)
		return
	}
	life := p.life
	p.w.send(p.id, f.server.ID, req, nil, func(resp interface{}, err error) {
		if p.life != life || f.dead {
			return
		}
		r, ok := resp.(*AppendEntriesResponse)
		switch {
		case err != nil || !ok:
			f.failures++
			f.busy = false
			return
		case r.Term > req.Term:
			p.deposed(f)
			return
		}
		f.contact = p.w.now
		if r.Success {
			p.acked(f, req)
			f.failures, f.busy = 0, false
			f.piped, f.ahead = true, f.next-1
			f.session++
			return
		}
		f.next = max(min(f.next-1, r.LastLog+1), 1)
		if r.NoRetryBackoff {
			f.failures = 0
		} else {
			f.failures++
		}
		p.after(time.Millisecond, func() { p.sendNext(f) })
	})
}

// pipeline sends one batch without waiting for the answer.
func (p *legacyPeer) pipeline(f *legacyFollower) {
	req := p.request(f, f.ahead+1)
	if req == nil {
		f.piped = false
		p.replicate(f)
		return
	}
	f.ahead += uint64(len(req.Entries))
	life, session := p.life, f.session
	p.w.send(p.id, f.server.ID, req, nil, func(resp interface{}, err error) {
		if p.life != life || f.dead || f.session != session || !f.piped {
			return
		}
		r, ok := resp.(*AppendEntriesResponse)
		if err == nil && ok && r.Term > req.Term {
			p.deposed(f)
			return
		}
		f.contact = p.w.now // even if it failed
		if err != nil || !ok || !r.Success {
			f.piped = false
			return
		}
		p.acked(f, req)
	})
}

func (p *legacyPeer) acked(f *legacyFollower, req *AppendEntriesRequest) {
	if n := len(req.Entries); n > 0 {
		last := req.Entries[n-1].Index
		f.next, f.match = last+1, max(f.match, last)
		p.main(p.advance)
	}
}

// deposed steps down without taking the newer term over.
func (p *legacyPeer) deposed(f *legacyFollower) {
	lead := f.lead
	p.main(func() {
		if p.lead == lead {
			p.setState(Follower)
		}
	})
}

func (p *legacyPeer) sendSnapshot(f *legacyFollower) {
	n := len(p.disk.snaps)
	if n == 0 {
		f.failures++
		f.busy = false
		return
	}
	s := p.disk.snaps[n-1]
	m := s.meta
	req := installRequest(p.header(), f.lead.term, &m)
	life := p.life
	p.w.send(p.id, f.server.ID, req, bytes.Clone(s.buf.Bytes()), func(resp interface{}, err error) {
		if p.life != life || f.dead {
			return
		}
		f.busy = false
		r, ok := resp.(*InstallSnapshotResponse)
		switch {
		case err != nil || !ok:
			f.failures++
			return
		case r.Term > req.Term:
			p.deposed(f)
			return
		}
		f.contact = p.w.now
		if !r.Success {
			f.failures++
			return
		}
		f.next, f.match, f.failures = m.Index+1, max(f.match, m.Index), 0
		p.main(p.advance)
	})
}
