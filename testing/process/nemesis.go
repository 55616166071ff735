package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"
)

// nemesis does to the cluster what happens to clusters. Its faults come one after
// the other. Each returns once it was felt and is over, or an error if it was not
// felt; the cluster has to recover by itself then.
type nemesis struct {
	c   *cluster
	rng *rand.Rand
}

// fault is a kind of fault.
type fault struct {
	name string
	run  func(context.Context) error
}

// faults are all kinds that are possible here.
func (n *nemesis) faults() []fault {
	all := []fault{
		{"kill follower", n.killFollower},
		{"kill leader", n.killLeader},
		{"kill most", n.killMost},
		{"kill all", n.killAll},
		{"stop follower", n.stopFollower},
		{"stop leader", n.stopLeader},
		{"limit follower", func(ctx context.Context) error { return n.onFollower(ctx, n.limit) }},
		{"limit leader", n.limitLeader},
		{"reset all", n.resetAll},
	}
	if n.smallDisk() != nil {
		all = append(all, fault{"full disk", n.fullDisk})
	}
	for _, p := range netFaults {
		all = append(all, fault{p.name(), func(ctx context.Context) error { return n.disturb(ctx, p) }})
	}
	return all
}

// hold waits for up to a second, while a fault lasts.
func (n *nemesis) hold(ctx context.Context) {
	sleep(ctx, time.Duration(n.rng.Int64N(int64(time.Second))))
}

// onFollower calls f with a node that doesn't lead.
func (n *nemesis) onFollower(ctx context.Context, f func(context.Context, *node) error) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	rest := n.c.others(lead)
	return f(ctx, rest[n.rng.IntN(len(rest))])
}

func (n *nemesis) killFollower(ctx context.Context) error {
	return n.onFollower(ctx, func(ctx context.Context, p *node) error {
		if err := p.kill(); err != nil {
			return err
		}
		n.hold(ctx)
		return p.start()
	})
}

// killLeader kills whoever leads, waits for the next leader, and starts it again.
func (n *nemesis) killLeader(ctx context.Context) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	if err := lead.kill(); err != nil {
		return err
	}
	if _, err := n.c.awaitLeader(ctx, lead); err != nil {
		return err
	}
	n.hold(ctx)
	return lead.start()
}

// killMost kills the leader and so many others that the rest is no quorum.
func (n *nemesis) killMost(ctx context.Context) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	victims := append(n.shuffled(n.c.others(lead))[:len(n.c.nodes)/2], lead)
	if err := each(victims, (*node).kill); err != nil {
		return err
	}
	n.hold(ctx)
	return each(victims, (*node).start)
}

// killAll kills all nodes. The leader stays down until the others have a new one:
// what they have acknowledged must be on their own disks.
func (n *nemesis) killAll(ctx context.Context) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	if err := each(n.c.nodes, (*node).kill); err != nil {
		return err
	}
	if err := each(n.c.others(lead), (*node).start); err != nil {
		return err
	}
	if _, err := n.c.awaitLeader(ctx, lead); err != nil {
		return err
	}
	n.hold(ctx)
	return lead.start()
}

// each calls f with all nodes in the same moment.
func each(nodes []*node, f func(*node) error) error {
	errs := make([]error, len(nodes))
	var group sync.WaitGroup
	for i, p := range nodes {
		group.Go(func() { errs[i] = f(p) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (n *nemesis) shuffled(nodes []*node) []*node {
	nodes = slices.Clone(nodes)
	n.rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

// stopFollower stops a follower until the others have gone on without it.
func (n *nemesis) stopFollower(ctx context.Context) error {
	return n.onFollower(ctx, func(ctx context.Context, p *node) error {
		return n.stopped(ctx, p, func() error {
			has := n.c.newest()
			return n.c.await(ctx, "the others have gone on without "+p.id, func() bool { return n.c.newest() > has+20 })
		})
	})
}

// stopLeader stops the leader until there is another one. It wakes up as a leader
// that time has passed by, with requests of clients waiting for it.
func (n *nemesis) stopLeader(ctx context.Context) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	return n.stopped(ctx, lead, func() error {
		_, err := n.c.awaitLeader(ctx, lead)
		return err
	})
}

// stopped keeps p stopped while it waits.
func (n *nemesis) stopped(ctx context.Context, p *node, wait func() error) error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := wait()
	n.hold(ctx)
	return errors.Join(err, p.signal(syscall.SIGCONT))
}

// limits are sizes of files, beyond which a node's writes fail: nothing can be
// written, one of bbolt's two meta pages, both of them.
var limits = []uint64{0, 4 << 10, 8 << 10}

// limitLeader limits the leader's files; it cannot lead any more.
func (n *nemesis) limitLeader(ctx context.Context) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	return n.limit(ctx, lead)
}

// limit makes writes of p fail with EFBIG until it has said so and another node
// leads.
func (n *nemesis) limit(ctx context.Context, p *node) error {
	live := p.current()
	if live == nil {
		return fmt.Errorf("%s: %w", p.id, errDown)
	}
	limit := limits[n.rng.IntN(len(limits))]
	limitTo := func(limit uint64) error {
		if err := limitFileSize(live.Pid(), limit); !errors.Is(err, syscall.ESRCH) { // it has stopped
			return err
		}
		return nil
	}
	return n.sickDisk(ctx, p, syscall.EFBIG,
		func() error { return limitTo(limit) }, func() error { return limitTo(noLimit) })
}

// smallDisk is a node with a file system of its own, nil if there is none.
func (n *nemesis) smallDisk() *node {
	for _, p := range n.c.nodes {
		if p.disk.tmpfs != nil {
			return p
		}
	}
	return nil
}

// fullDisk fills the file system of a node.
func (n *nemesis) fullDisk(ctx context.Context) error {
	p := n.smallDisk()
	return n.sickDisk(ctx, p, syscall.ENOSPC, p.disk.fill, p.disk.empty)
}

// sickDisk lets the disk of p fail until p has complained of it and another node
// leads. The node may stop, if it can't save its vote, and is started again when
// the disk is well; if it has not stopped it must recover by itself.
func (n *nemesis) sickDisk(ctx context.Context, p *node, want error, fail, heal func() error) error {
	p.excuse(true)
	defer p.excuse(false)
	log := p.logSize()
	var wrong error
	err := n.c.await(ctx, fmt.Sprintf("%s says %q and another node leads", p.id, want), func() bool {
		wrong = fail() // again, because files may have been deleted
		lead := n.c.leader()
		return wrong != nil || lead != nil && lead != p && p.logSays(log, want.Error())
	})
	n.hold(ctx)
	if err = errors.Join(err, wrong, heal()); err != nil {
		return err
	}
	err = n.c.await(ctx, "all have recovered from the full disk of "+p.id, func() bool {
		if p.current() == nil {
			wrong = p.start()
		}
		return wrong != nil || n.c.whole()
	})
	return errors.Join(err, wrong)
}

// resetAll resets all connections again and again.
func (n *nemesis) resetAll(ctx context.Context) error {
	const rounds, pause = 20, 100 * time.Millisecond
	ls := all(n.c.net.links)
	before := ls.hits()
	for range rounds {
		ls.reset()
		sleep(ctx, pause)
	}
	if ls.hits() == before {
		return errors.New("there was nothing to reset")
	}
	return nil
}

// netFault is a fault of links.
type netFault struct {
	mode  mode
	where string
	// deposes tells that nobody follows the nodes on one side any more.
	deposes bool
	links   func(net *network, side, rest []int) links
	side    func(n *nemesis, lead *node) []*node
}

func (p netFault) name() string { return p.mode.String() + " " + p.where }

var netFaults = []netFault{
	{cut, "leader", true, bothWays, theLeader},
	{cut, "leader out", true, outward, theLeader},
	{cut, "leader in", false, inward, theLeader},
	{cut, "follower", false, bothWays, aFollower},
	{cut, "minority", true, bothWays, aMinority},
	{swallow, "leader", true, bothWays, theLeader},
	{swallow, "follower in", false, inward, aFollower},
	{stall, "leader", true, bothWays, theLeader},
	{stall, "follower in", false, inward, aFollower},
	{delay, "all", false, outward, everybody},
	{slow, "leader out", false, outward, theLeader},
}

func bothWays(net *network, side, rest []int) links {
	return append(net.between(side, rest), net.between(rest, side)...)
}
func outward(net *network, side, rest []int) links { return net.between(side, rest) }
func inward(net *network, side, rest []int) links  { return net.between(rest, side) }

func theLeader(_ *nemesis, lead *node) []*node { return []*node{lead} }
func everybody(n *nemesis, _ *node) []*node    { return n.c.nodes }

func aFollower(n *nemesis, lead *node) []*node { return n.shuffled(n.c.others(lead))[:1] }

// aMinority is the leader and as many others as leave a quorum without them.
func aMinority(n *nemesis, lead *node) []*node {
	return append(n.shuffled(n.c.others(lead))[:(len(n.c.nodes)-1)/2-1], lead)
}

// disturb disturbs links until that was felt: until they have done something to
// what they carry, and until the others have a leader if they have lost theirs.
func (n *nemesis) disturb(ctx context.Context, p netFault) error {
	lead, err := n.c.awaitLeader(ctx)
	if err != nil {
		return err
	}
	side := p.side(n, lead)
	rest := n.c.others(side...)
	if len(rest) == 0 {
		rest = side
	}
	ls := p.links(n.c.net, indexes(side), indexes(rest))
	before := ls.hits()
	ls.set(p.mode)
	if p.deposes {
		_, err = n.c.awaitLeader(ctx, side...)
	}
	if err == nil {
		err = n.c.await(ctx, "links have disturbed anything", func() bool { return ls.hits() > before })
	}
	n.hold(ctx)
	ls.set(open)
	return err
}

func indexes(nodes []*node) (is []int) {
	for _, p := range nodes {
		is = append(is, p.index)
	}
	return is
}
