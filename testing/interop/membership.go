package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// Actions that change the configuration.

// change is a call that changes a server's membership.
type change struct {
	op   string // of control.Member
	want string // what the server is known as then, empty for no member
}

var (
	addVoter    = change{"voter", "Voter"}
	addNonvoter = change{"nonvoter", "Nonvoter"}
	demote      = change{"demote", "Nonvoter"}
	remove      = change{"remove", ""}
)

// change asks whoever leads for changes of p's membership, one after the other,
// each until it is as wanted.
func (n *nemesis) change(ctx context.Context, p *process, changes ...change) error {
	for _, ch := range changes {
		if err := n.changeOnce(ctx, p, ch); err != nil {
			return err
		}
	}
	return nil
}

func (n *nemesis) changeOnce(ctx context.Context, p *process, ch change) error {
	var last control.Result
	deadline := time.Now().Add(recovery)
	for time.Now().Before(deadline) {
		lead, err := n.leader(ctx, nil)
		if err != nil {
			return err
		}
		last = lead.do(ctx, callTimeout, control.Member, url.Values{"op": {ch.op}, "id": {p.id}, "addr": {p.addr}}, nil)
		if last.Outcome == control.Acked {
			n.c.count(func(s *stats) { s.members[ch.op]++ })
			return n.c.await(ctx, recovery, fmt.Sprintf("%s is known as %q", p.id, ch.want), func() bool {
				lead := n.c.leader()
				return lead != nil && n.suffrage(lead, p) == ch.want
			})
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return fmt.Errorf("%s of %s: %s\n%s", ch.op, p.id, last.Error, n.c.describe())
}

// suffrage is what lead takes p for, empty for no member.
func (n *nemesis) suffrage(lead, p *process) string {
	s, _ := n.c.last(lead)
	for _, srv := range s.Servers {
		if srv.ID == p.id {
			return srv.Suffrage
		}
	}
	return ""
}

// join lets a brand-new server of old's library join by changes, and takes old out
// for good.
func (n *nemesis) join(ctx context.Context, old *process, changes ...change) error {
	fresh, err := n.c.add(ctx, old)
	if err != nil {
		return err
	}
	if err := fresh.start(); err != nil {
		return err
	}
	for _, ch := range changes {
		if err := n.change(ctx, fresh, ch); err != nil {
			return err
		}
		if err := n.whole(ctx); err != nil {
			return err
		}
	}
	if err := n.change(ctx, old, remove); err != nil {
		return err
	}
	if err := n.c.retire(ctx, old); err != nil {
		return err
	}
	return n.whole(ctx)
}

// removeLeader lets p, which leads, remove itself, and whoever leads then take it in
// again. It returns that one.
func (n *nemesis) removeLeader(ctx context.Context, p *process) (*process, error) {
	if err := n.change(ctx, p, remove); err != nil {
		return nil, err
	}
	next, err := n.leader(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := n.change(ctx, p, addVoter); err != nil {
		return nil, err
	}
	return next, n.whole(ctx)
}
