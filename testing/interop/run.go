package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// options say what a run does.
type options struct {
	peers     string        // directory with a module for each library
	mix       []string      // the library of each server
	others    []string      // further libraries that the story needs
	story     story         // what is done first
	duration  time.Duration // then random actions, until then
	byAddr    bool          // server IDs are addresses, and the protocol version is 2
	noPreVote []string      // libraries whose servers don't ask for pre-votes
	seed      uint64
	clients   int
	pace      time.Duration // between two commands of a client, on average
	dir       string        // for data and logs; empty: a temporary one
	keep      bool          // keep dir after success
	race      bool          // build nodes of this library with the race detector
	covered   *coverage     // takes the scenarios that pass
	out       io.Writer
}

// flags returns the flags of a server of a library.
func (o options) flags(lib string) []string {
	var flags []string
	if o.byAddr {
		flags = append(flags, "-protocol=2")
	}
	if slices.Contains(o.noPreVote, lib) {
		flags = append(flags, directly...)
	}
	return flags
}

const (
	progressInterval   = 10 * time.Second
	checkpointInterval = time.Minute
)

// run builds the nodes, starts a cluster, writes to it, lets the nemesis loose on
// it, and checks. It leaves no process behind. The error says what went wrong and
// where data and logs lie.
func run(ctx context.Context, o options) (st stats, err error) {
	st = newStats()
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "raft-interop-"); err != nil {
			return st, err
		}
	}
	fmt.Fprintf(o.out, "seed %d, mix %s, data and logs in %s\n", o.seed, strings.Join(o.mix, " "), dir)
	defer func() {
		switch {
		case err != nil:
			err = fmt.Errorf("%w\nseed %d; data and logs kept in %s", err, o.seed, dir)
		case !o.keep:
			err = os.RemoveAll(dir)
		}
	}()
	libs, err := build(ctx, o.peers, dir, slices.Concat(o.mix, o.others), o.race)
	if err != nil {
		return st, err
	}
	c, err := newCluster(dir, o, libs)
	if err != nil {
		return st, err
	}
	s := newSession(c, o, libs)
	err = s.run(ctx)
	return c.stats, err // nobody else uses them any more
}

// session is one run of a cluster.
type session struct {
	o       options
	libs    map[string]library
	c       *cluster
	nemesis *nemesis
	writers *writers

	mu     sync.Mutex
	action string
}

func newSession(c *cluster, o options, libs map[string]library) *session {
	s := &session{o: o, libs: libs, c: c, action: "start"}
	s.nemesis = &nemesis{c: c, rng: rand.New(rand.NewPCG(o.seed, 0)), progress: s.setAction}
	return s
}

func (s *session) setAction(a string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.action = a
}

func (s *session) run(ctx context.Context) error {
	defer s.c.killAll()
	for _, p := range s.c.members() {
		if err := p.start(); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { s.c.observe(ctx) })
	s.writers = startWriters(ctx, s.c, s.o.clients, s.o.pace, s.o.seed)
	s.nemesis.writers = s.writers
	group.Go(func() { s.writers.verify(ctx) })
	group.Go(func() { s.report(ctx) })
	err := s.tell(ctx)
	stop()
	s.c.killAll() // so that nobody waits for an answer
	s.writers.wait()
	group.Wait()
	if fault := s.c.failure(); fault != nil && !errors.Is(err, fault) {
		err = errors.Join(fault, err)
	}
	fmt.Fprintf(s.o.out, "%v\n", s.c.now().Round(time.Second))
	s.c.stats.print(s.o.out, true)
	return err
}

// tell is what happens to the cluster, with checks in between and at the end.
func (s *session) tell(ctx context.Context) error {
	if err := s.nemesis.whole(ctx); err != nil {
		return err
	}
	for _, st := range s.o.story(s) {
		if err := s.nemesis.do(ctx, st); err != nil {
			return err
		}
	}
	check := step{"check", s.checkpoint}
	checked := s.c.now()
	for s.c.now() < s.o.duration {
		if err := s.nemesis.do(ctx, s.random()); err != nil {
			return err
		}
		if s.c.now()-checked > checkpointInterval {
			if err := s.nemesis.do(ctx, check); err != nil {
				return err
			}
			checked = s.c.now()
		}
	}
	return s.nemesis.do(ctx, check)
}

// report prints a line now and then.
func (s *session) report(ctx context.Context) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			fmt.Fprintln(s.o.out, s.line())
		}
	}
}

func (s *session) line() string {
	lead, term := "nobody", uint64(0)
	if p := s.c.leader(); p != nil {
		st, _ := s.c.last(p)
		lead, term = fmt.Sprintf("%s (%s)", p.id, p.library().name), st.Term
	}
	s.mu.Lock()
	action := s.action
	s.mu.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	st := s.c.stats
	return fmt.Sprintf("%6s %s: %d writes acknowledged, %d unknown, %d refused, %d kills, %s leads in term %d",
		s.c.now().Round(time.Second), action, st.writes[control.Acked], st.writes[control.Unknown],
		st.writes[control.Refused], st.kills, lead, term)
}

// defaultPeers is where the libraries' modules lie, seen from this directory.
func defaultPeers() string { return filepath.Join(".", "peers") }
