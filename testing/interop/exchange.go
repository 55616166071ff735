package main

import (
	"context"
	"fmt"
)

// Actions that let a library work on what another one has written.

// replace restarts p with another library on the same data directory. stop ends
// the old one.
func (n *nemesis) replace(ctx context.Context, p *process, lib library, stop func(*process) error) error {
	if err := stop(p); err != nil {
		return err
	}
	p.setLibrary(lib)
	p.setFlags(n.c.flags(lib.name))
	way := fmt.Sprintf("%s -> %s", p.writer().name, lib.name)
	if err := n.start(ctx, p); err != nil {
		return err
	}
	n.c.count(func(s *stats) { s.taken[way]++ })
	return nil
}

// kill and stop are the ways for a process to end.
func (n *nemesis) kill(p *process) error { n.shoot(p); return nil }
func (n *nemesis) stop(p *process) error { return p.stop() }

// restart ends p in some way and starts it again.
func (n *nemesis) restart(ctx context.Context, p *process, end func(*process) error) error {
	if err := end(p); err != nil {
		return err
	}
	return n.start(ctx, p)
}

// electAcross makes q run p's library for an election, in which p learns what it can of
// q, and its own again for another, and reports whether p was elected by q's vote both
// times.
func (n *nemesis) electAcross(ctx context.Context, p, q *process) (bool, error) {
	usual := q.library()
	if err := n.replace(ctx, q, p.library(), n.kill); err != nil {
		return false, err
	}
	before, err := elected(n, ctx, p, q)
	if err != nil {
		return false, err
	}
	if err := n.replace(ctx, q, usual, n.kill); err != nil {
		return false, err
	}
	after, err := elected(n, ctx, p, q)
	return before && after, err
}

// takeOver lets lib run on the data of p for a while, and lead.
func (n *nemesis) takeOver(ctx context.Context, p *process, lib library) error {
	usual := p.library()
	if err := n.replace(ctx, p, lib, n.kill); err != nil {
		return err
	}
	if err := n.lead(ctx, p); err != nil {
		return err
	}
	return n.replace(ctx, p, usual, n.stop)
}

// recoverAll stops all servers when they are the same, lets RecoverCluster write
// their configuration anew, lib's on the data of p and elsewhere each library's own,
// and starts them again.
func (n *nemesis) recoverAll(ctx context.Context, p *process, lib library) error {
	n.writers.pause()
	defer n.writers.resume()
	if err := n.converge(ctx); err != nil {
		return err
	}
	var servers []forced
	for _, q := range n.c.members() {
		n.shoot(q)
		servers = append(servers, forced{q.id, q.addr})
	}
	for _, q := range n.c.members() {
		by := q.library()
		if q == p {
			by = lib
		}
		if err := q.recover(ctx, by, servers); err != nil {
			return err
		}
	}
	for _, q := range n.c.members() {
		if err := q.start(); err != nil {
			return err
		}
	}
	return n.whole(ctx)
}
