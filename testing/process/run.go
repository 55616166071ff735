package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"
)

// options say what a run does.
type options struct {
	kv       string         // directory of the service's source
	binary   string         // the service, if it is built already
	nodes    int            // three or more
	faults   *regexp.Regexp // which of them
	duration time.Duration  // every fault comes once, and then again until this has passed
	seed     uint64
	clients  int
	race     bool   // build the service with the race detector
	dir      string // where to make a directory for data and logs; empty: where temporary files go
	keep     bool   // keep it after success
	out      io.Writer
}

const progressInterval = 10 * time.Second

// run builds the service, starts a cluster, lets clients and the nemesis loose on
// it, and checks. It leaves no process behind. The error says what went wrong and
// where data and logs lie.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "raft-process-")
	if err != nil {
		return err
	}
	fmt.Fprintf(o.out, "seed %d, %d nodes, data and logs in %s\n", o.seed, o.nodes, dir)
	defer func() {
		switch {
		case err != nil:
			err = fmt.Errorf("%w\nseed %d; data and logs kept in %s", err, o.seed, dir)
		case !o.keep:
			err = os.RemoveAll(dir)
		}
	}()
	if o.binary == "" {
		o.binary = filepath.Join(dir, "kv")
		if err := build(ctx, o.kv, o.binary, o.race); err != nil {
			return err
		}
	}
	c, err := newCluster(dir, o.binary, o.nodes)
	if err == nil {
		err = newSession(c, o, dir).run(ctx)
	}
	return errors.Join(err, c.close(err != nil))
}

// build compiles the service in directory kv.
func build(ctx context.Context, kv, binary string, race bool) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = kv
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", kv, err, out)
	}
	return nil
}

// session is one run of a cluster.
type session struct {
	o       options
	dir     string
	c       *cluster
	clients *clients
	nemesis *nemesis
	faults  []fault

	mu     sync.Mutex
	doing  string
	felt   map[string]int           // faults that did something and were recovered from
	worst  map[string]time.Duration // until all nodes served again
	judged int                      // keys found linearizable
}

func newSession(c *cluster, o options, dir string) *session {
	s := &session{o: o, dir: dir, c: c, doing: "start", felt: map[string]int{}, worst: map[string]time.Duration{}}
	s.clients = newClients(c.nodes, c.now)
	s.nemesis = &nemesis{c: c, rng: rand.New(rand.NewPCG(o.seed, 0))}
	s.faults = slices.DeleteFunc(s.nemesis.faults(), func(f fault) bool { return !o.faults.MatchString(f.name) })
	return s
}

func (s *session) run(ctx context.Context) error {
	for _, n := range s.c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	for _, n := range s.c.nodes {
		group.Go(func() { s.c.watch(ctx, n) })
	}
	group.Go(func() { s.report(ctx) })
	err := s.c.awaitWhole(ctx)
	s.clients.start(ctx, s.o.clients, s.o.seed)
	if err == nil {
		err = s.story(ctx)
	}
	stop()
	s.clients.wait()
	group.Wait()
	if fault := s.c.failure(); fault != nil && !errors.Is(err, fault) {
		err = errors.Join(fault, err)
	}
	if err == nil {
		err = s.exercised()
	}
	s.summary(err)
	if err != nil {
		err = errors.Join(err, s.writeHistory())
	}
	return err
}

// story is what happens to the cluster: rounds in which each fault comes once, in an
// order that the seed decides, and checks after each round.
func (s *session) story(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(s.o.seed, 1<<32))
	for round := 0; round == 0 || s.c.now() < s.o.duration; round++ {
		for _, i := range rng.Perm(len(s.faults)) {
			if round > 0 && s.c.now() >= s.o.duration {
				break
			}
			if err := s.suffer(ctx, s.faults[i]); err != nil {
				return fmt.Errorf("%s: %w", s.faults[i].name, err)
			}
		}
		if err := s.rest(ctx); err != nil {
			return err
		}
	}
	s.setDoing("final checks")
	s.clients.pause()
	defer s.clients.resume()
	if err := s.lookEverywhere(ctx); err != nil {
		return err
	}
	return s.judge()
}

// suffer lets a fault happen to a cluster at work and waits until it has recovered.
func (s *session) suffer(ctx context.Context, f fault) error {
	s.setDoing(f.name)
	if err := s.atWork(ctx); err != nil {
		return err
	}
	if err := f.run(ctx); err != nil {
		return err
	}
	over := s.c.now()
	if err := s.c.awaitWhole(ctx); err != nil {
		return err
	}
	if err := s.clients.serve(ctx); err != nil {
		return err
	}
	took := s.c.now() - over
	s.mu.Lock()
	defer s.mu.Unlock()
	s.felt[f.name]++
	s.worst[f.name] = max(s.worst[f.name], took.Round(100*time.Millisecond))
	return nil
}

// atWork waits until clients have asked for something: a fault of an idle cluster
// shows little.
func (s *session) atWork(ctx context.Context) error {
	const enough = 50
	before, _ := s.clients.snapshot()
	return s.c.await(ctx, "clients are at work", func() bool {
		now, _ := s.clients.snapshot()
		return len(now) >= len(before)+enough
	})
}

// rest holds the clients and compares the nodes' states.
func (s *session) rest(ctx context.Context) error {
	s.setDoing("compare states")
	s.clients.pause()
	defer s.clients.resume()
	_, err := s.c.settle(ctx)
	return err
}

// judge holds the history and the logs against what was promised.
func (s *session) judge() error {
	history, wrong := s.clients.snapshot()
	errs := []error{wrong, checkOrder(history)}
	for _, n := range s.c.nodes {
		errs = append(errs, n.checkLog())
	}
	keys := byKey(history)
	for key, ops := range keys {
		errs = append(errs, checkFinal(ops))
		if err := checkLinearizable(key, ops, s.dir); err != nil {
			return errors.Join(append(errs, err)...) // one picture is enough
		}
	}
	s.judged = len(keys)
	return errors.Join(errs...)
}
