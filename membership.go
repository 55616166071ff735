package raft

import (
	"fmt"
	"time"
)

// membershipCall is a requested change of the membership, waiting for its turn.
type membershipCall struct {
	change   membershipChange
	future   *logFuture
	timeout  time.Duration // 0: the caller set none
	deadline time.Time
}

// begin starts the clock of a call that main has taken.
func (c *membershipCall) begin(r *Raft) *membershipCall {
	wait := c.timeout
	if wait <= 0 {
		wait = max(10*r.conf().ElectionTimeout, 10*time.Second)
	}
	c.deadline = r.now.Add(wait)
	return c
}

// takeChanges starts the next change when there is none that is uncommitted, and an
// entry of this term is committed (R8): otherwise two changes of different terms
// could commit with majorities that do not meet (S19).
func (r *Raft) takeChanges() {
	l := r.lead
	for len(l.changes) > 0 {
		if l.transfer != nil {
			r.refuseChanges(ErrLeadershipTransferInProgress)
			return
		}
		if l.restore != nil || r.configs.latest().index > r.commit || r.commit < l.start {
			return
		}
		c := l.changes[0]
		l.changes = l.changes[1:]
		r.startChange(c)
	}
}

func (r *Raft) refuseChanges(err error) {
	for _, c := range r.lead.changes {
		c.future.respond(err)
	}
	r.lead.changes = nil
}

// startChange appends the next configuration, which is in force at once.
func (r *Raft) startChange(c *membershipCall) {
	latest := r.configs.latest()
	next, err := nextConfiguration(latest.config, latest.index, c.change)
	if err != nil {
		c.future.respond(err)
		return
	}
	entry, err := configurationLog(next, r.protocol, r.trans)
	if err != nil {
		c.future.respond(err)
		return
	}
	r.logger.Info("updating configuration", "command", c.change.command,
		"server-id", c.change.server, "server-addr", c.change.address, "servers", fmt.Sprintf("%+v", next.Servers))
	c.future.log = &entry
	r.appendLocal([]*logFuture{c.future})
	r.followConfiguration()
}

// expireChanges ends the calls that have waited for too long (L18).
func (r *Raft) expireChanges() {
	l := r.lead
	kept := l.changes[:0]
	for _, c := range l.changes {
		switch {
		case r.now.Before(c.deadline):
			kept = append(kept, c)
		case c.timeout > 0:
			c.future.respond(ErrEnqueueTimeout)
		default:
			c.future.respond(fmt.Errorf("%w: the configuration at index %d is not committed yet", ErrEnqueueTimeout, r.configs.latest().index))
		}
	}
	l.changes = kept
}

// bootstrapCall asks a pristine server to become the first of a cluster.
type bootstrapCall struct {
	configuration Configuration
	future        *future
}

// bootstrap makes a configuration the first entry of an empty log.
func (r *Raft) bootstrap(c *bootstrapCall) {
	if !c.configuration.isVoter(r.localID) {
		c.future.respond(ErrNotVoter)
		return
	}
	if err := checkConfiguration(c.configuration); err != nil {
		c.future.respond(err)
		return
	}
	if r.hard.term > bootstrapTerm || r.log.last.index > 0 {
		c.future.respond(ErrCantBootstrap)
		return
	}
	entry, err := bootstrapEntry(r.conf(), c.configuration, r.trans)
	if err != nil {
		c.future.respond(err)
		return
	}
	r.become(Follower, bootstrapTerm)
	r.accept([]*Log{entry})
	r.writer.whenSynced(c.future.respond)
}
