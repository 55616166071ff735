package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
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
	peers    string        // directory with a module for each library
	mix      []string      // the library of each server
	upgrade  string        // library to change all servers to and back from; empty: the tour
	duration time.Duration // after the tour, random actions until then
	seed     uint64
	clients  int
	pace     time.Duration // between two commands of a client, on average
	dir      string        // for data and logs; empty: a temporary one
	keep     bool          // keep dir after success
	race     bool          // build nodes of this library with the race detector
	out      io.Writer
}

const (
	progressInterval   = 5 * time.Second
	checkpointInterval = time.Minute
)

// run builds the nodes, starts a cluster, writes to it, lets the nemesis loose on
// it, and checks. It leaves no process behind. The error says what went wrong and
// where data and logs lie.
func run(ctx context.Context, o options) (err error) {
	dir := o.dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "raft-interop-"); err != nil {
			return err
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
	names := o.mix
	if o.upgrade != "" {
		names = append(slices.Clone(names), o.upgrade)
	}
	libs, err := build(ctx, o.peers, dir, names, o.race)
	if err != nil {
		return err
	}
	c, err := newCluster(dir, o.mix, libs)
	if err != nil {
		return err
	}
	return newSession(c, o, libs).run(ctx)
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
	for _, p := range s.c.procs {
		if err := p.start(); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, p := range s.c.procs {
		group.Go(func() { s.c.watch(ctx, p) })
	}
	s.writers = startWriters(ctx, s.c, s.o.clients, s.o.pace, s.o.seed)
	group.Go(func() { s.writers.verify(ctx) })
	group.Go(func() { s.report(ctx) })
	err := s.story(ctx)
	stop()
	s.c.killAll() // so that nobody waits for an answer
	s.writers.wait()
	group.Wait()
	if fault := s.c.failure(); fault != nil && !errors.Is(err, fault) {
		err = errors.Join(fault, err)
	}
	s.summary()
	return err
}

// story is what happens to the cluster, with checks in between and at the end.
func (s *session) story(ctx context.Context) error {
	if err := s.nemesis.whole(ctx); err != nil {
		return err
	}
	for _, st := range s.script() {
		if err := s.nemesis.do(ctx, st); err != nil {
			return err
		}
	}
	checked := s.c.now()
	for s.c.now() < s.o.duration {
		if err := s.nemesis.do(ctx, s.nemesis.random()); err != nil {
			return err
		}
		if s.c.now()-checked > checkpointInterval {
			if err := s.checkpoint(ctx); err != nil {
				return err
			}
			checked = s.c.now()
		}
	}
	return s.checkpoint(ctx)
}

// script is the part of the story that every run has.
func (s *session) script() []step {
	if s.o.upgrade == "" {
		return s.nemesis.tour()
	}
	forth := s.nemesis.upgrade(s.libs[s.o.upgrade])
	back := s.nemesis.upgrade(s.libs[s.o.mix[0]])
	return append(forth, back...)
}

// checkpoint holds the clients, waits until all servers are the same, and holds
// everything against everything.
func (s *session) checkpoint(ctx context.Context) error {
	s.setAction("check")
	s.writers.pause()
	defer s.writers.resume()
	if err := s.converge(ctx); err != nil {
		return fmt.Errorf("converge: %w", err)
	}
	var wrong []error
	history, _ := s.writers.snapshot()
	var lists [][]control.Record
	var dumps []dump
	for _, p := range s.c.procs {
		var recs []control.Record
		if err := p.call(ctx, http.MethodGet, control.Applied, nil, nil, &recs); err != nil {
			return err
		}
		st, _ := s.c.last(p)
		d := dump{node: p.id, snapshot: st.Snapshot}
		if err := p.call(ctx, http.MethodGet, control.GetLog, nil, nil, &d.entries); err != nil {
			return err
		}
		lists, dumps = append(lists, recs), append(dumps, d)
	}
	for i, p := range s.c.procs {
		wrong = append(wrong, checkSequence(p.id, lists[i]))
		for j := range i {
			wrong = append(wrong, checkSame(s.c.procs[j].id, p.id, lists[j], lists[i]))
			dead, err := checkLogs(dumps[j], dumps[i])
			wrong = append(wrong, err)
			s.c.mu.Lock()
			s.c.stats.dead = max(s.c.stats.dead, dead)
			s.c.mu.Unlock()
		}
	}
	wrong = append(wrong, checkHistory(history, lists[0]))
	return errors.Join(wrong...)
}

// converge waits until all servers have the same log and the same state and
// nothing has moved for a while.
func (s *session) converge(ctx context.Context) error {
	if err := s.nemesis.whole(ctx); err != nil {
		return err
	}
	lead, err := s.nemesis.leader(ctx, nil)
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
	return s.c.await(ctx, recovery, "all servers are the same", func() bool {
		for i, p := range s.c.procs {
			st, up := s.c.last(p)
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
	_, counts := s.writers.snapshot()
	lead := "nobody"
	if p := s.c.leader(); p != nil {
		lead = p.id + " (" + p.library().name + ")"
	}
	s.mu.Lock()
	action := s.action
	s.mu.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return fmt.Sprintf("%6s %-11s acked %d unknown %d refused %d, %s leads, term %d, %d kills",
		s.c.now().Round(time.Second), action, counts[control.Acked], counts[control.Unknown], counts[control.Refused],
		lead, s.c.stats.terms, s.c.stats.kills)
}

// summary prints what the run has seen.
func (s *session) summary() {
	_, counts := s.writers.snapshot()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	st := s.c.stats
	fmt.Fprintf(s.o.out, "%v, %d writes acknowledged, %d unknown, %d refused\n",
		s.c.now().Round(time.Second), counts[control.Acked], counts[control.Unknown], counts[control.Refused])
	fmt.Fprintf(s.o.out, "terms %d; leaders by library %v; snapshots installed %v\n", st.terms, st.elected, st.installs)
	fmt.Fprintf(s.o.out, "kills %d; actions %v, slowest %v\n", st.kills, st.actions, st.slowest)
	fmt.Fprintf(s.o.out, "leaders confirmed %d, of them wrongly by a peer %d; entries of no history below a snapshot %d\n",
		st.verified, st.stale, st.dead)
}

// defaultPeers is where the libraries' modules lie, seen from this directory.
func defaultPeers() string { return filepath.Join(".", "peers") }
