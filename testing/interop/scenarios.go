package main

import (
	"context"
	"fmt"
)

// scenario is something that has to work between a server of each library. run
// makes p lead, or act, and lets it befall q. It reports whether that came as
// meant: a cluster may elect whom it likes, and then it is tried again. Either way
// the cluster is whole afterwards.
type scenario struct {
	name string
	run  play
}

// play is what happens in a scenario.
type play func(n *nemesis, ctx context.Context, p, q *process) (shown bool, err error)

// led makes a scenario of what p, as a leader that stays one, does to q.
func led(f func(n *nemesis, ctx context.Context, p, q *process) error) play {
	return func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return n.throughout(ctx, p, func() error { return f(n, ctx, p, q) })
	}
}

// changed makes a scenario of changes of q's membership by p, the last of which
// leaves it a voter.
func changed(changes ...change) play {
	return led(func(n *nemesis, ctx context.Context, _, q *process) error {
		if err := n.change(ctx, q, changes...); err != nil {
			return err
		}
		return n.whole(ctx)
	})
}

// joined makes a scenario of a new server of q's library that p lets join by changes
// and that replaces q.
func joined(changes ...change) play {
	return led(func(n *nemesis, ctx context.Context, _, q *process) error { return n.join(ctx, q, changes...) })
}

// succeeded makes a scenario of the end of p's leadership, after which a server of
// q's library has to lead.
func succeeded(f func(n *nemesis, ctx context.Context, p *process) (*process, error)) play {
	return func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		if err := n.lead(ctx, p); err != nil {
			return false, err
		}
		next, err := f(n, ctx, p)
		return err == nil && next.library() == q.library(), err
	}
}

func follows(n *nemesis, ctx context.Context, _, q *process) error { return n.follow(ctx, q) }

func installs(n *nemesis, ctx context.Context, _, q *process) (bool, error) { return n.lag(ctx, q) }

// elected: q's vote makes p the leader.
func elected(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
	other := n.third(p, q)
	if err := n.lead(ctx, other); err != nil {
		return false, err
	}
	return n.elect(ctx, p, q, other)
}

func transferred(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
	if err := n.lead(ctx, p); err != nil {
		return false, err
	}
	next, err := n.handOver(ctx, p, q)
	return next == q, err
}

// caughtUp makes a scenario of f, which lets p, as a leader that stays one, bring q up
// to date and reports whether it did so in the way that is meant.
func caughtUp(f func(n *nemesis, ctx context.Context, p, q *process) (bool, error)) play {
	return func(n *nemesis, ctx context.Context, p, q *process) (meant bool, err error) {
		stayed, err := n.throughout(ctx, p, func() (err error) {
			meant, err = f(n, ctx, p, q)
			return err
		})
		return stayed && meant, err
	}
}

var (
	barely   = []string{"-trailing=1", "-snapshot-threshold=16", "-snapshot-interval=100ms"}
	directly = []string{"-prevote=false"} // into an election
)

// directed are the scenarios for any two servers of different libraries.
var directed = []scenario{
	{"replication", led(follows)},
	{"snapshot", caughtUp(installs)},
	{"follower stopped and started", led(func(n *nemesis, ctx context.Context, _, q *process) error {
		return n.restart(ctx, q, n.stop)
	})},
	{"large entries", caughtUp((*nemesis).largeEntries)},
	{"demote, promote", changed(demote, addVoter)},
	{"remove, add voter", changed(remove, addVoter)},
	{"remove, add nonvoter, promote", changed(remove, addNonvoter, addVoter)},
	{"new server, voter at once", joined(addVoter)},
	{"transfer to the other", transferred},
	{"election by the other's vote", elected},
}

// alone are the scenarios for a server whose library no other one has: at the end
// of its leadership one of the other's succeeds it. Some are here because twice is
// enough.
var alone = []scenario{
	{"transfer to anyone", succeeded(func(n *nemesis, ctx context.Context, p *process) (*process, error) {
		return n.handOver(ctx, p, nil)
	})},
	{"leader killed", succeeded((*nemesis).killLeader)},
	{"leader paused", succeeded((*nemesis).pauseLeader)},
	{"leader removes itself", succeeded((*nemesis).removeLeader)},
	{"snapshot, one trailing entry", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return n.with(ctx, p, barely, func() (bool, error) { return caughtUp(installs)(n, ctx, p, q) })
	}},
	{"Restore by a user", caughtUp((*nemesis).userRestore)},
	{"new server, nonvoter first", joined(addNonvoter, addVoter)},
	{"election, no pre-vote asked for", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return n.with(ctx, p, directly, func() (bool, error) { return elected(n, ctx, p, q) })
	}},
	{"election, voter has no pre-vote", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return n.with(ctx, q, directly, func() (bool, error) { return elected(n, ctx, p, q) })
	}},
	{"election after a downgrade", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return n.electAcross(ctx, p, q)
	}},
	{"run on the other's data", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return true, n.takeOver(ctx, q, p.library())
	}},
	{"RecoverCluster on the other's data", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return true, n.recoverAll(ctx, q, p.library())
	}},
}

// several are the scenarios for clusters of three libraries and more.
var several = []scenario{
	{"replication, several libraries", led(follows)},
	{"snapshot, several libraries", caughtUp(installs)},
	{"membership, several libraries", changed(demote, addVoter, remove, addVoter)},
	{"transfer, several libraries", transferred},
	{"run on data, several libraries", func(n *nemesis, ctx context.Context, p, q *process) (bool, error) {
		return true, n.takeOver(ctx, q, p.library())
	}},
}

// The scenarios for servers of protocol versions 2 and 3, named by the leader's and
// the other's.
var protocols = struct{ both2, lead2, lead3 scenario }{
	scenario{"protocol 2 leads 2", caughtUp(protocol)},
	scenario{"protocol 2 leads 3", caughtUp(protocol)},
	scenario{"protocol 3 leads 2", caughtUp(protocol)},
}

// protocol does to q what protocol version 2 has.
func protocol(n *nemesis, ctx context.Context, _, q *process) (bool, error) {
	if err := n.change(ctx, q, remove, addVoter); err != nil {
		return false, err
	}
	return n.lag(ctx, q)
}

// attempts is how often a scenario may come otherwise than meant.
const attempts = 6

// show plays a scenario between servers of two libraries until it came as meant, and
// notes that.
func (n *nemesis) show(s scenario, from, to library) step {
	return step{s.name, func(ctx context.Context) error {
		for range attempts {
			shown, err := n.try(ctx, s, from, to)
			if err != nil {
				return fmt.Errorf("%s -> %s: %w", from.name, to.name, err)
			}
			if shown {
				return nil
			}
		}
		return fmt.Errorf("%s -> %s: never came as meant in %d attempts", from.name, to.name, attempts)
	}}
}

// try plays a scenario once.
func (n *nemesis) try(ctx context.Context, s scenario, from, to library) (bool, error) {
	p, q := n.pair(from, to)
	shown, err := s.run(n, ctx, p, q)
	if shown && err == nil {
		n.c.covered.note(s.name, from, to)
	}
	return shown, err
}

// pair picks a server of each library.
func (n *nemesis) pair(from, to library) (p, q *process) {
	all := n.c.members()
	for _, i := range n.rng.Perm(len(all)) {
		switch r := all[i]; {
		case p == nil && r.library() == from:
			p = r
		case q == nil && r.library() == to:
			q = r
		}
	}
	return p, q
}
