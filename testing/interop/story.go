package main

import (
	"context"
	"slices"
)

// A story is the part of a run that does not depend on chance. It assumes a whole
// cluster and leaves one.
type story func(*session) []step

// tour lets servers of each two libraries live through every scenario in both
// directions. Then all die at once.
func tour(s *session) []step {
	var steps []step
	for _, pair := range s.pairs() {
		for _, sc := range s.scenarios(pair) {
			steps = append(steps, s.nemesis.show(sc, pair.from, pair.to))
		}
	}
	return append(steps, step{"all killed", s.nemesis.restartAll})
}

// pair is two libraries of which the first leads, or acts.
type pair struct{ from, to library }

// pairs returns each two libraries of the cluster in both orders; the only one with
// itself.
func (s *session) pairs() []pair {
	var libs []library
	for _, p := range s.c.members() {
		if !slices.Contains(libs, p.library()) {
			libs = append(libs, p.library())
		}
	}
	if len(libs) == 1 {
		return []pair{{libs[0], libs[0]}}
	}
	var pairs []pair
	for _, a := range libs {
		for _, b := range libs {
			if a != b {
				pairs = append(pairs, pair{a, b})
			}
		}
	}
	return pairs
}

// scenarios returns those that this cluster can show between two libraries.
func (s *session) scenarios(between pair) []scenario {
	libs := map[library]int{}
	for _, p := range s.c.members() {
		libs[p.library()]++
	}
	switch {
	case len(libs) > 2:
		return several
	case len(libs) == 1 || libs[between.from] == 1:
		return slices.Concat(directed, alone)
	default:
		return directed
	}
}

// random picks what a run does after its story.
func (s *session) random() step {
	n := s.nemesis
	pairs := s.pairs()
	between := pairs[n.rng.IntN(len(pairs))]
	all := s.scenarios(between)
	i := n.rng.IntN(len(all) + 1)
	if i == len(all) {
		return step{"all killed", n.restartAll}
	}
	return step{all[i].name, func(ctx context.Context) error {
		_, err := n.try(ctx, all[i], between.from, between.to)
		return err
	}}
}

// Scenarios that are a whole story.
const (
	rollingUpgrade   = "rolling upgrade"
	rollingDowngrade = "rolling downgrade"
)

// upgrade returns the story of servers that are changed to another library, one by
// one, killed, and back, stopped in an orderly way. Each leads with the library it
// got. After all are changed nothing may be lost and all must be the same.
func upgrade(name string) story {
	return func(s *session) []step {
		n, to, from := s.nemesis, s.libs[name], s.libs[s.o.mix[0]]
		var steps []step
		roll := func(scenario string, to, from library, stop func(*process) error) {
			for _, p := range s.c.members() {
				steps = append(steps,
					step{"change the library", func(ctx context.Context) error { return n.replace(ctx, p, to, stop) }},
					step{"lead", func(ctx context.Context) error {
						if err := n.lead(ctx, p); err != nil {
							return err
						}
						return n.follow(ctx, p)
					}})
			}
			steps = append(steps, step{scenario, func(ctx context.Context) error {
				if err := s.checkpoint(ctx); err != nil {
					return err
				}
				s.c.covered.note(scenario, to, from)
				return nil
			}})
		}
		roll(rollingUpgrade, to, from, n.kill)
		roll(rollingDowngrade, from, to, n.stop)
		return steps
	}
}

// mixProtocols is the story of a cluster of protocol version 2 whose servers change to
// version 3 by library, the ones earlier, then the others.
func mixProtocols(s *session) []step {
	n, libs := s.nemesis, s.pairs()[0]
	a, b := libs.from, libs.to
	set := func(lib library, flag string) step {
		return step{"change the protocol version", func(ctx context.Context) error {
			for _, p := range s.c.members() {
				if p.library() != lib {
					continue
				}
				p.setFlags([]string{flag})
				if err := n.restart(ctx, p, n.kill); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	const two, three = "-protocol=2", "-protocol=3"
	return []step{
		n.show(protocols.both2, a, b), n.show(protocols.both2, b, a),
		set(b, three),
		n.show(protocols.lead2, a, b), n.show(protocols.lead3, b, a),
		set(b, two), set(a, three),
		n.show(protocols.lead3, a, b), n.show(protocols.lead2, b, a),
	}
}
