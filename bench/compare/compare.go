package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// A comparison runs cases round by round.
type comparison struct {
	cases   []testCase
	limits  []limit
	peers   map[string]peer
	rounds  int
	time    time.Duration // measured in each run
	dir     string        // for the files of clusters
	results *results
	log     io.Writer // how far it is
}

// A step is one run: of a peer, or of a limit.
type step struct {
	runID
	build   string
	measure func() (load.Metrics, error)
}

// run runs what has no result yet. What fails is recorded and does not keep the rest
// from running.
func (c *comparison) run(ctx context.Context) error {
	steps := c.steps(ctx)
	start := time.Now()
	for i, s := range steps {
		if err := c.take(ctx, s); err != nil {
			return err
		}
		left := time.Since(start) / time.Duration(i+1) * time.Duration(len(steps)-i-1)
		fmt.Fprintf(c.log, "round %d/%d, %d/%d, %v left  %s\n",
			s.round, c.rounds, i+1, len(steps), left.Round(time.Second), c.results.records[s.runID])
	}
	return nil
}

// steps returns what is still to be run. Each round begins with the limits.
func (c *comparison) steps(ctx context.Context) []step {
	var all []step
	for round := 1; round <= c.rounds; round++ {
		for _, l := range c.limits {
			all = append(all, step{runID{l.measurement(), round}, "", func() (load.Metrics, error) {
				return l.measure(c.dir, c.time/5)
			}})
		}
		for _, m := range plan(c.cases, round) {
			p := c.peers[m.peer]
			all = append(all, step{runID{m, round}, p.build, func() (load.Metrics, error) {
				return p.run(ctx, c.dir, m.args, c.time)
			}})
		}
	}
	return slices.DeleteFunc(all, func(s step) bool { return c.results.done(s.runID) })
}

// take takes a step, unless ctx is over, and records it.
func (c *comparison) take(ctx context.Context, s step) error {
	rec := record{Round: s.round, Peer: s.peer, Args: s.args, Build: s.build, At: time.Now().UTC()}
	m, err := s.measure()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, load.ErrUnsupported):
		rec.Unsupported = true
	case err != nil:
		rec.Failure = err.Error()
	default:
		rec.Metrics = m
	}
	return c.results.add(rec)
}

// String is one line for whoever watches.
func (r record) String() string {
	what := r.Peer + " " + r.Args
	switch {
	case r.Unsupported:
		return what + ": not supported"
	case r.Failure != "":
		return what + ": FAILED: " + r.Failure
	}
	for _, name := range primary {
		if value, ok := r.Metrics[name]; ok {
			return fmt.Sprintf("%s: %s %s", what, figure(value), heading(name))
		}
	}
	return what
}
