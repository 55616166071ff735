package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"syscall"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// nemesis does to the cluster what happens to clusters. Its actions run one after
// the other; each ends with a cluster that is whole again, or with an error.
type nemesis struct {
	c        *cluster
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
	n.c.mu.Lock()
	n.c.stats.actions[s.name]++
	n.c.stats.slowest[s.name] = max(n.c.stats.slowest[s.name], took.Round(100*time.Millisecond))
	n.c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// tour makes every server lead in turn and lets each kind of leader live through
// everything: a change of membership, a follower of the other kind that needs a
// snapshot, a pause, its own death. Then all die at once, and two servers of
// different kinds change libraries.
func (n *nemesis) tour() []step {
	var steps []step
	lagged := map[string]bool{}
	for i, p := range n.c.procs {
		next := n.c.procs[(i+1)%len(n.c.procs)]
		steps = append(steps,
			step{"transfer", func(ctx context.Context) error { return n.transfer(ctx, p) }},
			step{"membership", func(ctx context.Context) error { return n.membership(ctx, next) }},
			step{"behind", func(ctx context.Context) error { return n.behind(ctx, next) }})
		for _, q := range n.c.procs {
			way := p.library().name + q.library().name
			if q == p || lagged[way] || p.library() == q.library() && n.mixed() {
				continue
			}
			lagged[way] = true
			steps = append(steps, step{"lag", func(ctx context.Context) error {
				if err := n.transfer(ctx, p); err != nil {
					return err
				}
				return n.lag(ctx, q)
			}})
		}
		steps = append(steps, step{"kill leader", n.killLeader})
	}
	steps = append(steps, step{"pause", n.pauseLeader}, step{"kill all", n.restartAll})
	if n.mixed() {
		steps = append(steps, step{"swap", n.swap})
	}
	return steps
}

// upgrade changes every server to lib, one by one, making each lead.
func (n *nemesis) upgrade(lib library) []step {
	var steps []step
	for _, p := range n.c.procs {
		steps = append(steps,
			step{"upgrade", func(ctx context.Context) error { return n.replace(ctx, p, lib) }},
			step{"transfer", func(ctx context.Context) error { return n.transfer(ctx, p) }})
	}
	return append(steps, step{"kill leader", n.killLeader})
}

// random picks an action.
func (n *nemesis) random() step {
	victim := n.c.procs[n.rng.IntN(len(n.c.procs))]
	all := []step{
		{"transfer", func(ctx context.Context) error { return n.transfer(ctx, victim) }},
		{"transfer", func(ctx context.Context) error { return n.transfer(ctx, victim) }},
		{"kill leader", n.killLeader},
		{"kill leader", n.killLeader},
		{"kill leader", n.killLeader},
		{"behind", func(ctx context.Context) error { return n.behind(ctx, victim) }},
		{"kill one", func(ctx context.Context) error { return n.kill(ctx, victim) }},
		{"pause", n.pauseLeader},
		{"lag", func(ctx context.Context) error { return n.lag(ctx, victim) }},
		{"membership", func(ctx context.Context) error { return n.membership(ctx, victim) }},
		{"kill all", n.restartAll},
		{"swap", n.swap},
	}
	if !n.mixed() {
		all = all[:len(all)-1]
	}
	return all[n.rng.IntN(len(all))]
}

// mixed reports whether the servers run more than one library.
func (n *nemesis) mixed() bool {
	return slices.ContainsFunc(n.c.procs, func(p *process) bool { return p.library() != n.c.procs[0].library() })
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
// that one had applied when it was first seen.
func (n *nemesis) whole(ctx context.Context) error {
	var goal int
	return n.c.await(ctx, recovery, "all follow one leader and have caught up", func() bool {
		lead := n.c.leader()
		if lead == nil {
			return false
		}
		if s, _ := n.c.last(lead); goal == 0 {
			goal = s.Count
		}
		return !slices.ContainsFunc(n.c.procs, func(p *process) bool {
			s, up := n.c.last(p)
			return !up || time.Since(s.at) > fresh || s.Leader != lead.id || s.Count < goal
		})
	})
}

// transfer makes p the leader. A transfer may fail; ten in a row may not.
func (n *nemesis) transfer(ctx context.Context, p *process) error {
	var last control.Result
	for range 10 {
		lead, err := n.leader(ctx, nil)
		if err != nil {
			return err
		}
		if lead == p {
			return nil
		}
		last = lead.do(ctx, callTimeout, control.Transfer, url.Values{"id": {p.id}, "addr": {p.addr}}, nil)
		if err := n.c.await(ctx, 3*time.Second, "", func() bool { return n.c.leader() == p }); err == nil {
			return n.whole(ctx)
		}
		if err := n.whole(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s (%s) can't be made the leader: %v\n%s", p.id, p.library().name, last.Error, n.c.describe())
}

// killLeader kills whoever leads, waits for the next leader, and starts it again.
func (n *nemesis) killLeader(ctx context.Context) error {
	lead, err := n.leader(ctx, nil)
	if err != nil {
		return err
	}
	n.shoot(lead)
	if _, err := n.leader(ctx, lead); err != nil {
		return err
	}
	return n.revive(ctx, lead)
}

// kill kills p and starts it again.
func (n *nemesis) kill(ctx context.Context, p *process) error {
	n.shoot(p)
	return n.revive(ctx, p)
}

func (n *nemesis) shoot(p *process) {
	p.kill()
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.stats.kills++
}

// revive starts p after a while.
func (n *nemesis) revive(ctx context.Context, p *process) error {
	sleep(ctx, time.Duration(n.rng.IntN(1500))*time.Millisecond)
	if err := p.start(); err != nil {
		return err
	}
	return n.whole(ctx)
}

// pauseLeader stops the leader's process until there is another one. It wakes up
// as a leader that time has passed by.
func (n *nemesis) pauseLeader(ctx context.Context) error {
	lead, err := n.leader(ctx, nil)
	if err != nil {
		return err
	}
	if err := lead.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	_, err = n.leader(ctx, lead)
	sleep(ctx, time.Duration(n.rng.IntN(1000))*time.Millisecond)
	if err := lead.signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return n.whole(ctx)
}

// behind stops p while the others go on, and kills the leader when p wakes up: only
// the third server has the newest log and can be elected, and it needs p's vote.
func (n *nemesis) behind(ctx context.Context, p *process) error {
	lead, err := n.leader(ctx, nil)
	if err != nil {
		return err
	}
	if lead == p {
		return n.killLeader(ctx)
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	has, err := n.lastIndex(ctx, time.Now())
	if err == nil {
		err = n.c.await(ctx, recovery, "the others have gone on without "+p.id, func() bool {
			s, _ := n.c.last(lead)
			return s.Commit > has
		})
	}
	n.shoot(lead)
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if _, err := n.leader(ctx, lead); err != nil {
		return err
	}
	return n.revive(ctx, lead)
}

// lag keeps p down until the leader has compacted what p needs next, so that p
// must be sent a snapshot.
func (n *nemesis) lag(ctx context.Context, p *process) error {
	if lead, err := n.leader(ctx, nil); err != nil {
		return err
	} else if lead == p {
		return n.killLeader(ctx)
	}
	n.shoot(p)
	has, err := n.lastIndex(ctx, time.Now())
	if err != nil {
		return err
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
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	err = n.c.await(ctx, recovery, p.id+" has installed a snapshot", func() bool {
		s, up := n.c.last(p)
		return up && s.Installs > 0
	})
	if err != nil {
		return err
	}
	return n.whole(ctx)
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

// membership demotes p, gives it back its vote, removes it, and takes it in again.
func (n *nemesis) membership(ctx context.Context, p *process) error {
	for _, op := range []struct{ name, want string }{
		{"demote", "Nonvoter"}, {"voter", "Voter"}, {"remove", ""}, {"nonvoter", "Nonvoter"}, {"voter", "Voter"},
	} {
		if err := n.change(ctx, p, op.name, op.want); err != nil {
			return err
		}
	}
	return n.whole(ctx)
}

// change asks whoever leads to change p's membership until it is as wanted.
func (n *nemesis) change(ctx context.Context, p *process, op, want string) error {
	var last control.Result
	deadline := time.Now().Add(recovery)
	for time.Now().Before(deadline) {
		lead, err := n.leader(ctx, nil)
		if err != nil {
			return err
		}
		last = lead.do(ctx, callTimeout, control.Member, url.Values{"op": {op}, "id": {p.id}, "addr": {p.addr}}, nil)
		if last.Outcome == control.Acked {
			return n.c.await(ctx, recovery, fmt.Sprintf("%s is known as %q", p.id, want), func() bool {
				lead := n.c.leader()
				return lead != nil && n.suffrage(lead, p) == want
			})
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return fmt.Errorf("%s of %s: %s\n%s", op, p.id, last.Error, n.c.describe())
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

// restartAll kills every server and starts all of them again.
func (n *nemesis) restartAll(ctx context.Context) error {
	for _, p := range n.c.procs {
		n.shoot(p)
	}
	for _, p := range n.c.procs {
		if err := p.start(); err != nil {
			return err
		}
	}
	return n.whole(ctx)
}

// replace restarts p with another library on the same data directory.
func (n *nemesis) replace(ctx context.Context, p *process, lib library) error {
	n.shoot(p)
	p.setLibrary(lib)
	if err := p.start(); err != nil {
		return err
	}
	return n.whole(ctx)
}

// swap lets two servers of different libraries exchange them. Each goes on with
// what the other library left on its disk.
func (n *nemesis) swap(ctx context.Context) error {
	p := n.c.procs[n.rng.IntN(len(n.c.procs))]
	for _, q := range n.c.procs {
		a, b := p.library(), q.library()
		if a == b {
			continue
		}
		if err := n.replace(ctx, p, b); err != nil {
			return err
		}
		return n.replace(ctx, q, a)
	}
	return nil
}
