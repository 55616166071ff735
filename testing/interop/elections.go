package main

import (
	"context"
	"fmt"
	"net/url"
	"syscall"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// Actions that change the leader.

// lead makes p the leader in the way that the protocol version knows.
func (n *nemesis) lead(ctx context.Context, p *process) error {
	for range 10 {
		lead, err := n.leader(ctx, nil)
		if err != nil {
			return err
		}
		if lead == p {
			return nil
		}
		if n.c.byAddr {
			_, err = n.elect(ctx, p, n.third(lead, p), lead)
		} else {
			_, err = n.handOver(ctx, lead, p)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%s (%s) can't be made the leader\n%s", p.id, p.library().name, n.c.describe())
}

// third returns a server other than p and q.
func (n *nemesis) third(p, q *process) *process {
	for _, r := range n.c.members() {
		if r != p && r != q {
			return r
		}
	}
	return nil
}

// handOver asks p, the leader, to make q the leader, or whom it likes if q is nil,
// and returns who leads then. A transfer may fail.
func (n *nemesis) handOver(ctx context.Context, p, q *process) (*process, error) {
	params := url.Values{}
	if q != nil {
		params = url.Values{"id": {q.id}, "addr": {q.addr}}
	}
	if p.do(ctx, callTimeout, control.Transfer, params, nil).Outcome == control.Acked {
		n.c.count(func(s *stats) { s.transfers[p.library().name]++ })
	}
	arrived := func() bool {
		lead := n.c.leader()
		return lead != nil && lead != p && (q == nil || lead == q)
	}
	for deadline := time.Now().Add(3 * time.Second); !arrived() && time.Now().Before(deadline); {
		sleep(ctx, pollInterval/2)
	}
	if err := n.whole(ctx); err != nil {
		return nil, err
	}
	return n.leader(ctx, nil)
}

// killLeader kills p, which leads, waits for the next leader, which it returns, and
// starts p again.
func (n *nemesis) killLeader(ctx context.Context, p *process) (*process, error) {
	n.shoot(p)
	next, err := n.leader(ctx, p)
	if err != nil {
		return nil, err
	}
	return next, n.revive(ctx, p)
}

// pauseLeader stops the process of p, which leads, until there is another leader,
// which it returns. p wakes up as a leader that time has passed by.
func (n *nemesis) pauseLeader(ctx context.Context, p *process) (*process, error) {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	next, err := n.leader(ctx, p)
	sleep(ctx, time.Duration(n.rng.IntN(1000))*time.Millisecond)
	if err := p.signal(syscall.SIGCONT); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	return next, n.whole(ctx)
}

// elect stops voter while the others go on, and kills lead, which leads, when voter
// wakes up: of three servers only p has the newest log and can be elected, and it
// needs voter's vote. It reports whether p was elected.
func (n *nemesis) elect(ctx context.Context, p, voter, lead *process) (bool, error) {
	if err := voter.signal(syscall.SIGSTOP); err != nil {
		return false, err
	}
	has, err := n.lastIndex(ctx, time.Now())
	if err == nil {
		err = n.c.await(ctx, recovery, "the others have gone on without "+voter.id, func() bool {
			s, _ := n.c.last(lead)
			return s.Commit > has
		})
	}
	n.shoot(lead)
	if err := voter.signal(syscall.SIGCONT); err != nil {
		return false, err
	}
	if err != nil {
		return false, err
	}
	next, err := n.leader(ctx, lead)
	if err != nil {
		return false, err
	}
	return next == p, n.revive(ctx, lead)
}

// lastIndex returns the last index of the leader at some time after since.
func (n *nemesis) lastIndex(ctx context.Context, since time.Time) (uint64, error) {
	var last uint64
	err := n.c.await(ctx, recovery, "the leader tells its last index", func() bool {
		lead := n.c.leader()
		if lead == nil {
			return false
		}
		s, _ := n.c.last(lead)
		last = s.Last
		return s.at.After(since)
	})
	return last, err
}
