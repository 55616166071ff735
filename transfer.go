package raft

import (
	"errors"
	"fmt"
	"time"
)

// transfer is a leadership transfer (§3.10 of the dissertation). It belongs to the
// leadership and dies with it (R18):
//
//	catching up ──► asked ──► leadership lost: see handover
//	     │            │
//	     └────────────┴──► failed, timed out: the leader goes on
type transfer struct {
	target   Server
	future   *future
	deadline time.Time
	asked    bool // TimeoutNow is on its way
}

var (
	errTransferTimeout = errors.New("leadership transfer timeout")
	errTransferSelf    = errors.New("cannot transfer leadership to itself")
	errNoTransferPeer  = errors.New("cannot find peer")
)

// startTransfer begins to hand leadership to a server, to the most advanced other
// voter if none is named.
func (r *Raft) startTransfer(c transferCall) {
	if r.lead.transfer != nil {
		c.future.respond(ErrLeadershipTransferInProgress)
		return
	}
	target, err := r.transferTarget(c)
	if err != nil {
		c.future.respond(err)
		return
	}
	r.logger.Info("starting leadership transfer", "id", target.ID, "address", target.Address)
	r.giveUpLease()
	r.lead.transfer = &transfer{target: target, future: c.future, deadline: r.now.Add(r.conf().ElectionTimeout)}
	r.advanceTransfer()
}

func (r *Raft) transferTarget(c transferCall) (Server, error) {
	if c.id == nil {
		best := r.lead.bestSuccessor()
		if best == nil {
			return Server{}, errNoTransferPeer
		}
		return best.server, nil
	}
	p := r.lead.peer(*c.id)
	if p == nil {
		return Server{}, fmt.Errorf("cannot find replication state for %v", *c.id)
	}
	if p.server.Suffrage != Voter {
		return Server{}, fmt.Errorf("cannot transfer leadership to %v: %w", *c.id, ErrNotVoter)
	}
	return Server{Voter, *c.id, c.address}, nil
}

// bestSuccessor returns the other voter with the longest log.
func (l *leadership) bestSuccessor() (best *peer) {
	for _, p := range l.peers {
		if p.server.Suffrage == Voter && !p.removed && (best == nil || p.progress.match > best.progress.match) {
			best = p
		}
	}
	return best
}

// advanceTransfer asks the target to stand once it has the whole log, and the voters may
// follow it.
func (r *Raft) advanceTransfer() {
	t := r.lead.transfer
	if t == nil || t.asked {
		return
	}
	p := r.lead.peer(t.target.ID)
	if p == nil {
		r.endTransfer(fmt.Errorf("%v was removed", t.target.ID))
		return
	}
	if p.progress.match < r.log.last.index || !r.hasReleased(p) {
		return
	}
	t.asked = true
	r.out.timeoutNow(t.target, &TimeoutNowRequest{RPCHeader: r.header}, r.lead.term)
}

// transferResult is the answer to TimeoutNow.
type transferResult struct {
	term   uint64
	target ServerID
	err    error
}

func (r *Raft) handleTransferResult(e transferResult) {
	t := r.lead.transfer
	if e.term != r.lead.term || t == nil || t.target.ID != e.target || e.err == nil {
		return
	}
	r.endTransfer(fmt.Errorf("failed to make TimeoutNow RPC to %v: %w", t.target, e.err))
}

// endTransfer lets the leader go on. It was possibly obeyed all the same (R12).
func (r *Raft) endTransfer(err error) {
	r.logger.Error("leadership transfer failed", "id", r.lead.transfer.target.ID, "error", err)
	r.lead.transfer.future.respond(err)
	r.lead.transfer = nil
}

// handover is a transfer whose leadership is over: it has succeeded when the
// target is known to lead, and failed when another server does (L6).
type handover struct {
	target   ServerID
	future   *future
	deadline time.Time
}

// leaveTransfer turns a transfer that has asked into a handover, as leadership ends.
func (r *Raft) leaveTransfer(t *transfer) {
	switch {
	case t == nil:
	case !t.asked:
		t.future.respond(ErrLeadershipLost)
	default:
		r.handover = &handover{t.target.ID, t.future, r.now.Add(r.conf().ElectionTimeout)}
	}
}

// observeHandover is told of every new leader.
func (r *Raft) observeHandover() {
	h := r.handover
	if h == nil || r.leader == (candidate{}) {
		return
	}
	r.handover = nil
	r.publish() // before the future tells of it
	if r.leader.id != "" && r.leader.id != h.target {
		h.future.respond(fmt.Errorf("leadership went to %v instead of %v: %w", r.leader.id, h.target, ErrLeadershipLost))
		return
	}
	h.future.respond(nil)
}

// expireHandover ends a handover that nobody has been seen to complete.
func (r *Raft) expireHandover(err error) {
	r.handover.future.respond(err)
	r.handover = nil
}
