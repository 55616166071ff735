package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// nemesis does to the cluster what happens to clusters. Its actions run one after
// the other; each ends with a cluster that is whole again, or with an error.
type nemesis struct {
	c        *cluster
	writers  *writers
	rng      *rand.Rand
	progress func(action string)
}

const (
	// recovery bounds how long a cluster may take to elect and to catch up.
	// hashicorp/raft waits up to ten seconds before it tries a server again.
	recovery = 60 * time.Second
	// callTimeout bounds a call that changes the cluster.
	callTimeout = 10 * time.Second
)

// step is an action with its name.
type step struct {
	name string
	run  func(context.Context) error
}

// do runs a step.
func (n *nemesis) do(ctx context.Context, s step) error {
	n.progress(s.name)
	start := n.c.now()
	err := s.run(ctx)
	took := n.c.now() - start
	n.c.count(func(st *stats) {
		a := st.actions[s.name]
		st.actions[s.name] = action{a.times + 1, max(a.slowest, took)}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// leader waits until there is a leader other than not.
func (n *nemesis) leader(ctx context.Context, not *process) (*process, error) {
	var lead *process
	err := n.c.await(ctx, recovery, "there is a leader", func() bool {
		lead = n.c.leader()
		return lead != nil && lead != not
	})
	return lead, err
}

// whole waits until every server runs, follows one leader, and has applied what
// that one had applied when it was first seen. A leader of hashicorp/raft that is
// seen to be wedged is cured.
func (n *nemesis) whole(ctx context.Context) error {
	var goal int
	var stall stall
	err := n.c.await(ctx, recovery, "all follow one leader and have caught up", func() bool {
		lead := n.c.leader()
		if lead == nil {
			return false
		}
		if s, _ := n.c.last(lead); goal == 0 {
			goal = s.Count
		}
		if stall.see(n.c, lead) {
			return true
		}
		return !slices.ContainsFunc(n.c.members(), func(p *process) bool {
			s, up := n.c.last(p)
			return !up || time.Since(s.at) > fresh || s.Leader != lead.id || s.Count < goal
		})
	})
	if err != nil || !stall.found {
		return err
	}
	if err := n.cure(ctx, stall.leader); err != nil {
		return err
	}
	return n.whole(ctx)
}

// converge waits until all servers have the same log and the same state and
// nothing has moved for a while. The clients must be paused.
func (n *nemesis) converge(ctx context.Context) error {
	if err := n.whole(ctx); err != nil {
		return err
	}
	lead, err := n.leader(ctx, nil)
	if err != nil {
		return err
	}
	lead.do(ctx, callTimeout, control.Barrier, nil, nil)
	const rest = 500 * time.Millisecond
	type essence struct {
		count       int
		last        uint64
		chain, lead string
	}
	var common essence
	var since time.Time
	return n.c.await(ctx, recovery, "all servers are the same", func() bool {
		for i, p := range n.c.members() {
			st, up := n.c.last(p)
			now := essence{st.Count, st.Last, st.Chain, st.Leader}
			if i == 0 && now != common || since.IsZero() {
				common, since = now, time.Now()
			}
			if !up || now != common || st.at.Before(since) || st.Commit != st.Last {
				return false
			}
		}
		return time.Since(since) > rest
	})
}

// throughout makes p the leader, calls f, and reports whether p has led from
// beginning to end. f's own wishes go to whoever leads.
func (n *nemesis) throughout(ctx context.Context, p *process, f func() error) (bool, error) {
	if err := n.lead(ctx, p); err != nil {
		return false, err
	}
	before, _ := n.c.last(p)
	if err := f(); err != nil {
		return false, err
	}
	asked := time.Now()
	var after seen
	err := n.c.await(ctx, recovery, p.id+" tells whether it led", func() bool {
		after, _ = n.c.last(p)
		return after.at.After(asked)
	})
	return before.State == "Leader" && after.State == "Leader" && before.Term == after.Term, err
}

// shoot kills p.
func (n *nemesis) shoot(p *process) {
	p.kill()
	n.c.count(func(s *stats) { s.kills++ })
}

// revive starts p after a while.
func (n *nemesis) revive(ctx context.Context, p *process) error {
	sleep(ctx, time.Duration(n.rng.IntN(1000))*time.Millisecond)
	return n.start(ctx, p)
}

// start starts p and waits until all is well.
func (n *nemesis) start(ctx context.Context, p *process) error {
	if err := p.start(); err != nil {
		return err
	}
	return n.whole(ctx)
}

// restartAll kills every server and starts all of them again.
func (n *nemesis) restartAll(ctx context.Context) error {
	for _, p := range n.c.members() {
		n.shoot(p)
	}
	for _, p := range n.c.members() {
		if err := p.start(); err != nil {
			return err
		}
	}
	return n.whole(ctx)
}

// with restarts p with further flags for the time of f.
func (n *nemesis) with(ctx context.Context, p *process, flags []string, f func() (bool, error)) (bool, error) {
	usual := p.flags()
	set := func(flags []string) error {
		p.setFlags(flags)
		return n.restart(ctx, p, n.kill)
	}
	if err := set(append(usual, flags...)); err != nil {
		return false, err
	}
	shown, err := f()
	if err != nil {
		return false, err
	}
	return shown, set(usual)
}
