package main

import (
	"context"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// Actions that leave a server behind and let it catch up.

// follow waits until p has applied further commands of the clients.
func (n *nemesis) follow(ctx context.Context, p *process) error {
	const more = 50
	before, _ := n.c.last(p)
	return n.c.await(ctx, recovery, p.id+" has applied more commands", func() bool {
		s, _ := n.c.last(p)
		return s.Count >= before.Count+more
	})
}

// lag keeps p, which does not lead, down until the leader has compacted what p
// needs next, and reports whether p was sent a snapshot. (Another leader may have more
// of the log.)
func (n *nemesis) lag(ctx context.Context, p *process) (bool, error) {
	n.shoot(p)
	has, err := n.lastIndex(ctx, time.Now())
	if err != nil {
		return false, err
	}
	asked := time.Now()
	err = n.c.await(ctx, recovery, "the leader has compacted past "+p.id, func() bool {
		lead := n.c.leader()
		if lead == nil {
			return false
		}
		if time.Since(asked) > time.Second {
			asked = time.Now()
			lead.do(ctx, callTimeout, control.Snapshot, nil, nil)
		}
		s, _ := n.c.last(lead)
		return s.First > has+1
	})
	if err != nil {
		return false, err
	}
	if err := n.start(ctx, p); err != nil {
		return false, err
	}
	s, _ := n.c.last(p)
	return s.Installs > 0, nil
}

// largeEntries gives lead, which leads, some large commands while p is down and the
// clients are silent, and reports whether p got all of them from the log.
func (n *nemesis) largeEntries(ctx context.Context, lead, p *process) (bool, error) {
	const count, size = 12, 1 << 20
	n.writers.pause()
	defer n.writers.resume()
	n.shoot(p)
	acked := n.writers.burst(lead, count, size)
	if err := n.start(ctx, p); err != nil {
		return false, err
	}
	s, _ := n.c.last(p)
	return acked == count && s.Installs == 0, nil
}

// userRestore lets lead, which leads, restore a snapshot of its own that has all
// commands, while the clients are silent: the state stays as it is, but every other
// server must be sent it. It reports whether that was done and p got it.
func (n *nemesis) userRestore(ctx context.Context, lead, p *process) (bool, error) {
	n.writers.pause()
	defer n.writers.resume()
	if err := n.converge(ctx); err != nil {
		return false, err
	}
	n.writers.burst(lead, 1, 1) // hashicorp/raft takes no snapshot behind a configuration
	before, _ := n.c.last(p)
	done := lead.do(ctx, callTimeout, control.Restore, nil, nil).Outcome == control.Acked
	if err := n.converge(ctx); err != nil {
		return false, err
	}
	after, _ := n.c.last(p)
	return done && after.Installs > before.Installs, nil
}
