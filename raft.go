package raft

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// RaftState is the role of a node.
type RaftState uint32

const (
	// Follower is the role of a node that has a leader, or waits for one.
	Follower RaftState = iota

	// Candidate is the role of a node that stands for election, or asks whether
	// it could win one.
	Candidate

	// Leader is the role of the one node per term that appends to the log.
	Leader

	// Shutdown is the state of a node that has ended.
	Shutdown
)

// String returns the name of the constant, "Unknown" for others.
func (s RaftState) String() string {
	switch s {
	case Follower:
		return "Follower"
	case Candidate:
		return "Candidate"
	case Leader:
		return "Leader"
	case Shutdown:
		return "Shutdown"
	default:
		return "Unknown"
	}
}

// Raft is a node. One goroutine, main, owns the protocol state; the others do the
// waiting and report to main. Main never waits for any of them: every hand-over has
// a slot that is known to be free. Its one blocking point is next. While it waits there,
// and only then, heartbeats are answered without it, see heartbeat.go.
type Raft struct {
	// RestoreCommittedLogs is Config.RestoreCommittedLogs.
	RestoreCommittedLogs bool

	// Immutable.
	localID   ServerID
	localAddr ServerAddress
	header    RPCHeader
	protocol  ProtocolVersion
	logs      LogStore
	stable    StableStore
	snaps     SnapshotStore
	trans     Transport
	preVoter  WithPreVote // nil: no pre-vote
	out       outbound
	spawn     func(func())      // runs a worker; tests run it by hand
	deliver   func(interface{}) // a worker's report to main
	logger    hclog.Logger
	note      *notes
	notifier  *notifier
	window    int

	// Safe for any goroutine.
	config    atomic.Pointer[Config]
	reloading sync.Mutex
	published atomic.Pointer[status]
	contact   contactTime
	proposals *proposalQueue
	readers   *readQueue
	calls     chan interface{} // taken by main, one at a time
	results   chan interface{} // reports of the workers
	fsm       *fsmRunner
	gauging   atomic.Bool
	stopping  chan struct{}
	stopOnce  sync.Once
	ended     chan struct{} // closed when main has ended
	endOnce   sync.Once
	finished  chan struct{} // closed when the workers have ended, or hang
	endErr    error         // why they hang; to be read when finished is closed
	workers   sync.WaitGroup

	// Owned by main, which holds mu except in next.
	mu       sync.Mutex
	now      time.Time // of this step
	seen     *Config   // read once a step
	rng      *rand.Rand
	state    RaftState
	hard     hardState
	leader   candidate     // zero: none known
	heard    time.Time     // of the leader, last
	promised time.Time     // no vote before this, see lease.go
	longest  time.Duration // that a promise may be, as the StableStore has it
	released bool          // the leader of this term wants no promises any more
	log      raftLog
	configs  configurations
	commit   uint64
	writer   writer
	sickness *sickness // not nil: the log store fails, see storage.go
	campaign *campaign // not nil exactly while state == Candidate
	// knowsPreVote has the servers that have sent or answered a pre-vote, with the
	// last term that they asked for, until they stand without one.
	knowsPreVote map[ServerID]uint64
	lead         *leadership
	handover     *handover
	forked       uint64 // the term of a leader that contradicts what is committed here
	forking      bool   // a user's snapshot is becoming our base, see restore.go

	settled []*logFuture // of committed entries that the FSM has not got yet
	work    fsmWork
	taking  snapshotTaking
	intake  *intake // the snapshot that is being received
	leaving uint64  // shut down when this index is applied
	failure error   // why the node stopped by itself

	gaugesAt   time.Time
	electionAt time.Time     // when to look at heard, or to stand again
	patience   time.Duration // how long a leader may be silent, drawn anew each time
	warned     bool          // of standing in the way of an election, once per stay
	busy       saturation
	timer      *time.Timer
	timerAt    time.Time
}

// conf is the configuration as of this step.
func (r *Raft) conf() *Config { return r.seen }

// run is the main goroutine.
func (r *Raft) run() {
	r.mu.Lock()
	for r.state != Shutdown {
		switch r.state {
		case Follower:
			r.runFollower()
		case Candidate:
			r.runCandidate()
		case Leader:
			r.runLeader()
		}
	}
	r.mu.Unlock() // end waits for observers, and heartbeats are refused meanwhile
	r.end()
}

// next waits for something to happen and returns it.
func (r *Raft) next() interface{} {
	r.armTimer()
	start := time.Now()
	r.mu.Unlock()
	e := r.wait()
	r.mu.Lock()
	now := time.Now()
	r.busy.waited(start, now)
	r.beginStep(now)
	return e
}

func (r *Raft) wait() interface{} {
	enough := 1
	if r.lead != nil {
		enough = r.enoughProposals()
	}
	r.proposals.wakeAt(enough)
	readers := r.readers.wake
	if r.lead != nil && r.lead.reads.underWay() {
		readers = nil // they share the next round
	}
	select {
	case rpc := <-r.trans.Consumer():
		return rpc
	case <-r.proposals.wake:
		return proposed{}
	case <-readers:
		return reading{}
	case c := <-r.calls:
		return c
	case res := <-r.results:
		return res
	case <-r.timer.C:
		return timeout{}
	case <-r.stopping:
		return stop{}
	}
}

// beginStep fixes what a step sees of the outside: one time, one configuration.
func (r *Raft) beginStep(now time.Time) {
	r.now = now
	r.seen = r.config.Load()
}

type (
	timeout  struct{} // a deadline has passed
	proposed struct{} // there are proposals in the queue
	reading  struct{} // there are reads in the queue
	stop     struct{} // Shutdown was called
)

func (r *Raft) runFollower() {
	for r.state == Follower {
		r.stepFollower(r.next())
		r.flush()
	}
}

func (r *Raft) stepFollower(e interface{}) {
	switch e := e.(type) {
	case timeout:
		r.handleDeadlines()
		if r.state == Follower && !r.now.Before(r.electionAt) {
			r.handleSilence()
		}
	case *bootstrapCall:
		r.bootstrap(e)
	default:
		r.handle(e)
	}
}

func (r *Raft) runCandidate() {
	for r.state == Candidate {
		r.stepCandidate(r.next())
		r.flush()
	}
}

func (r *Raft) stepCandidate(e interface{}) {
	switch e := e.(type) {
	case timeout:
		r.handleDeadlines()
		if r.state == Candidate && !r.now.Before(r.electionAt) {
			r.note.electionTimeout()
			r.standAgain()
		}
	case preVoteResult:
		r.countPreVote(e)
	case voteResult:
		r.countVote(e)
	default:
		r.handle(e)
	}
}

func (r *Raft) runLeader() {
	for r.state == Leader {
		r.stepLeader(r.next())
		r.flush()
	}
}

func (r *Raft) stepLeader(e interface{}) {
	switch e := e.(type) {
	case timeout:
		r.handleDeadlines()
		if r.state == Leader {
			r.handleLeaderDeadlines()
		}
	case proposed, reading: // flush takes them
	case *membershipCall:
		r.lead.changes = append(r.lead.changes, e.begin(r))
	case transferCall:
		r.startTransfer(e)
	case transferResult:
		r.handleTransferResult(e)
	case *userRestore:
		r.beginRestore(e)
	default:
		r.handle(e)
	}
}

// handle deals with what means the same in every role, and refuses what only
// another role can do.
func (r *Raft) handle(e interface{}) {
	switch e := e.(type) {
	case RPC:
		r.handleRPC(e)
	case *batch:
		r.handleWritten(e)
	case fsmDone:
		r.handleFSMDone(e)
	case fsmSnapshot:
		r.handleFSMSnapshot(e)
	case snapshotDone:
		r.handleSnapshotDone(e)
	case intakeDone:
		r.handleIntakeDone(e)
	case compactFailed:
		r.handleCompactFailed(e)
	case *snapshotCall:
		r.taking.waiting = append(r.taking.waiting, e)
	case reloaded:
		r.handleReloaded(e)
	case stop:
		r.become(Shutdown, r.hard.term)

	case laneResult:
		r.handleLaneResult(e)
	case laneRead:
		r.handleLaneRead(e)
	case beatResult:
		r.handleBeatResult(e)
	case installResult:
		r.handleInstallResult(e)
	case preVoteResult:
		r.latePreVote(e)
	case voteResult:
		r.lateVote(e)
	case transferResult: // of a leadership that is over
	case restoreWritten:
		r.handleRestoreWritten(e)
	case restoreClosed:
		r.handleRestoreClosed(e)

	case proposed:
		r.proposals.refuse(ErrNotLeader)
	case *membershipCall:
		e.future.respond(ErrNotLeader)
	case reading:
		r.readers.refuse(ErrNotLeader)
	case transferCall:
		e.future.respond(ErrNotLeader)
	case *userRestore:
		e.future.respond(ErrNotLeader)
	case *bootstrapCall:
		e.future.respond(ErrCantBootstrap)
	default:
		panic(fmt.Sprintf("raft: unhandled event %T", e))
	}
}

// flush hands work that is ready to workers that are free, and publishes what others may
// see.
func (r *Raft) flush() {
	if r.lead != nil {
		r.flushLeader()
	}
	r.flushTaking()
	if r.state != Shutdown {
		// After a failed write that ends the node nothing may follow: it would lie
		// behind a gap, or on top of what was to be deleted first.
		r.writer.flush(r.now, r.commit)
	}
	r.publish() // before futures complete that depend on it
	if r.lead != nil {
		r.answerReads()
	}
	r.flushFSM()
}

// become changes the state, the term and the leadership together; nothing else
// writes any of them (R2). A leader that learns of a newer term must not send one
// more request, least of all one that bears the new term.
func (r *Raft) become(s RaftState, term uint64) {
	assert(term >= r.hard.term, "term went back from %d to %d", r.hard.term, term)
	assert(s != Leader || r.state == Candidate, "%v became leader", r.state)
	ended := r.lead
	r.lead = nil
	if ended != nil {
		r.heard = r.now
	}
	if term > r.hard.term {
		r.setHard(hardState{term: term})
		r.forked, r.released = 0, false
	}
	r.campaign, r.warned = nil, false
	old := r.state
	r.state = s
	r.setLeader(candidate{})
	switch s {
	case Follower:
		r.setPatience()
		r.electionAt = r.now.Add(r.patience)
	case Candidate:
		r.electionAt = r.now.Add(r.random(r.conf().ElectionTimeout))
	case Leader:
		r.setLeader(candidate{r.localID, r.localAddr})
		r.publish() // before anyone is told
		r.notifier.leadership(true)
		r.beginLeadership()
	}
	r.note.stateChanged(old, s, r.hard.term)
	if ended != nil {
		r.publish() // before futures tell of it
		r.endLeadership(ended)
		r.notifier.leadership(false)
	}
}

// setHard changes term and vote. Only become and setVote call it, and loadLog before the
// node runs.
func (r *Raft) setHard(h hardState) {
	assert(h.term >= r.hard.term, "term went back from %d to %d", r.hard.term, h.term)
	r.hard = h
	r.writer.setHard(h)
}

// setVote records our vote of this term. A server never votes twice in a term (R1).
func (r *Raft) setVote(c candidate) {
	assert(r.hard.vote == (candidate{}) || r.hard.vote.is(c), "second vote in term %d: %v after %v", r.hard.term, c, r.hard.vote)
	r.setHard(hardState{r.hard.term, c})
}

// setLeader records whom we follow in this term.
func (r *Raft) setLeader(c candidate) {
	if c == r.leader {
		return
	}
	r.leader = c
	r.note.leaderChanged(c)
	r.observeHandover()
}

// liveLeader returns the leader if it was heard of within HeartbeatTimeout: then
// other candidates are refused (§4.2.3 of the dissertation).
func (r *Raft) liveLeader() candidate {
	if r.state == Leader || r.leader != (candidate{}) && r.now.Sub(r.heard) < r.conf().HeartbeatTimeout {
		return r.leader
	}
	return candidate{}
}

// accept adds entries to the log view and sends them to the writer.
func (r *Raft) accept(entries []*Log) {
	for _, e := range entries {
		c, ok, err := entryConfiguration(e, r.trans)
		assert(err == nil, "accepted an undecodable configuration: %v", err) // checked before
		if ok {
			r.configs.append(configEntry{e.Index, c})
			r.note.configuration(e.Index, c)
		}
	}
	r.log.append(entries)
	r.writer.append(entries)
}

// truncate drops accepted entries, and falls back to the configuration that was in
// force before them (R8).
func (r *Raft) truncate(from uint64) {
	assert(from > r.commit, "truncating committed entry %d, commit %d", from, r.commit)
	r.note.truncated(from, r.log.last.index)
	r.log.truncate(from)
	r.configs.truncate(from)
	r.writer.truncateFrom(from)
}

// commitTo raises the commit index.
func (r *Raft) commitTo(index uint64) {
	if index <= r.commit {
		return
	}
	before := r.commit
	r.commit = index
	if r.lead != nil {
		r.settle(before)
	}
}

// settle moves the futures of committed entries on to the FSM's queue, and deals
// with a committed configuration in which this node has no vote.
func (r *Raft) settle(before uint64) {
	l := r.lead
	n := 0
	for n < len(l.futures) && l.futures[n].log.Index <= r.commit {
		r.note.committed(l.futures[n].log)
		n++
	}
	r.note.commitBatch(r.commit - before)
	r.settled = append(r.settled, l.futures[:n]...)
	if n > 0 {
		l.pace.committed(r.now, r.now.Sub(l.futures[n-1].log.AppendedAt), n, r.uncommitted(), r.proposals.len())
	}
	l.futures = l.futures[n:]

	latest := r.configs.latest()
	if latest.index > r.commit || latest.config.isVoter(r.localID) {
		return
	}
	if _, ok := latest.config.find(r.localID); !ok && r.conf().ShutdownOnRemove {
		r.note.removed(true)
		r.leaving = r.commit
	} else {
		r.note.removed(false)
	}
	r.become(Follower, r.hard.term)
}

// handleDeadlines does what is due in every role.
func (r *Raft) handleDeadlines() {
	r.checkGaugesDue()
	r.checkSnapshotDue()
	r.checkStore()
	r.retryRestore()
	r.resumeApplying()
	if r.handover != nil && !r.now.Before(r.handover.deadline) {
		r.expireHandover(errTransferTimeout)
	}
}

// handleLeaderDeadlines does what is due on a leader.
func (r *Raft) handleLeaderDeadlines() {
	l := r.lead
	if !r.now.Before(l.leaseAt) {
		r.checkLease()
	}
	if r.lead == nil {
		return
	}
	if !r.now.Before(l.beatAt) {
		r.beat()
	}
	if l.transfer != nil && !r.now.Before(l.transfer.deadline) {
		r.endTransfer(errTransferTimeout)
	}
	r.expireChanges()
}

// nextDeadline is when the next timeout is due.
func (r *Raft) nextDeadline() time.Time {
	at := r.electionAt
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	if l := r.lead; l != nil {
		at = l.beatAt
		earlier(l.leaseAt)
		earlier(l.pace.deadline(r.now, r.uncommitted()))
		for _, p := range l.peers {
			earlier(p.deadline(r.now))
			earlier(p.dropAt)
		}
		for _, c := range l.changes {
			earlier(c.deadline)
		}
		if l.transfer != nil {
			earlier(l.transfer.deadline)
		}
	}
	earlier(r.taking.due)
	earlier(r.gaugesAt)
	earlier(r.work.retryAt)
	earlier(r.work.resumeAt)
	earlier(r.storeDeadline())
	if r.handover != nil {
		earlier(r.handover.deadline)
	}
	return at
}

// armTimer sets the timer to the next deadline.
func (r *Raft) armTimer() {
	at := r.nextDeadline()
	if !at.Equal(r.timerAt) {
		r.timerAt = at
		r.timer.Reset(time.Until(at))
	} else if !r.now.Before(at) {
		r.timer.Reset(0)
	}
}

// random draws from [d, 2d), from the node's own source.
func (r *Raft) random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + time.Duration(r.rng.Int64N(int64(d)))
}

// report hands an event to main. It blocks until main takes it, or has ended, and says
// which.
func (r *Raft) report(e interface{}) (taken bool) {
	select {
	case r.results <- e:
		return true
	case <-r.ended:
		return false
	}
}

// applied is the last index that the FSM has applied.
func (r *Raft) applied() uint64 { return r.fsm.applied.Load() }
