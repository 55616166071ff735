package rafttest

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file is what the conformance suites have in common: a check is a function
// that collects findings, and CheckLogStore and the others turn the findings into
// failures of subtests. Nothing in a check touches the testing.T, so the suites'
// own tests can run them on faulty implementations and look at the findings.

// checkLimit bounds one check; only one that hangs ever takes so long.
const checkLimit = 30 * time.Second

// A CheckOption tells a conformance suite about the implementation that it checks.
type CheckOption func(*checkOptions)

type checkOptions struct {
	volatile   bool
	deviations map[string]deviation
	fsmState   func(raft.FSM) any
}

// Volatile says that a store keeps nothing when it is closed. The suite then never
// opens a directory a second time: what must survive that is not checked. It has no
// effect on the suites that open no directory.
func Volatile() CheckOption {
	return func(o *checkOptions) { o.volatile = true }
}

// Deviation says that an implementation is known to fail a check, named like its
// subtest, and why that is accepted. The subtest is skipped with what it found. It
// fails if it finds nothing: then the deviation is to be taken off the list.
func Deviation(check, reason string) CheckOption {
	return func(o *checkOptions) { o.deviations[check] = deviation{reason: reason} }
}

// RareDeviation is Deviation for a check that an implementation fails only now and then:
// it may pass.
func RareDeviation(check, reason string) CheckOption {
	return func(o *checkOptions) { o.deviations[check] = deviation{reason, true} }
}

type deviation struct {
	reason string
	rare   bool
}

func newCheckOptions(options []CheckOption) *checkOptions {
	o := &checkOptions{deviations: map[string]deviation{}}
	for _, option := range options {
		option(o)
	}
	return o
}

// check is one check of a suite. What it says is printed when it fails.
type check[R any] struct {
	name      string // of the subtest
	contract  string // what the implementation promises
	otherwise string // what becomes of raft if it doesn't keep it
	run       func(R)
}

// suite is the checks of one interface, each with an implementation of its own to
// check.
type suite []check[*probe]

// bindChecks makes a suite: each check gets what setUp returns.
func bindChecks[R any](checks []check[R], setUp func(p *probe) R) suite {
	var s suite
	for _, c := range checks {
		s = append(s, check[*probe]{c.name, c.contract, c.otherwise, func(p *probe) { c.run(setUp(p)) }})
	}
	return s
}

// test runs the suite as subtests of t.
func (s suite) test(t *testing.T, o *checkOptions) {
	t.Helper()
	unknown := map[string]bool{}
	for name := range o.deviations {
		unknown[name] = true
	}
	for _, c := range s {
		delete(unknown, c.name)
		t.Run(c.name, func(t *testing.T) {
			d, deviates := o.deviations[c.name]
			v := examine(c, t.TempDir(), checkLimit)
			switch {
			case deviates && len(v.findings) > 0:
				t.Skipf("known deviation: %s\n%s", d.reason, v.report(c))
			case deviates && !d.rare:
				t.Errorf("the implementation passes this check, or it is skipped, but it is listed as a deviation: %s", d.reason)
			case len(v.findings) > 0:
				t.Error(v.report(c))
			case v.skipped != "":
				t.Skip(v.skipped)
			}
		})
	}
	for name := range unknown {
		t.Errorf("listed as a deviation, but there is no such check: %s", name)
	}
}

// probe is the run of one check. It is to the check what a testing.T is to a test.
type probe struct {
	dir   string        // is empty at first
	ended chan struct{} // closed when the check has returned, before the cleanups

	mu       sync.Mutex
	cleanups []func()
	findings []string
	skipped  string
}

// verdict is what came of a check.
type verdict struct {
	findings []string
	skipped  string // why, if it was
}

// report is the text of a failure.
func (v verdict) report(c check[*probe]) string {
	return fmt.Sprintf("%s\ncontract:  %s\notherwise: %s", strings.Join(v.findings, "\n"), c.contract, c.otherwise)
}

// examine runs a check on a goroutine of its own, so that an implementation that
// panics or hangs is a finding like any other. One that hangs keeps the goroutine.
func examine(c check[*probe], dir string, limit time.Duration) verdict {
	p := &probe{dir: dir, ended: make(chan struct{})}
	done := p.spawn(func() {
		defer p.cleanUp()
		defer close(p.ended)
		p.guard(func() { c.run(p) })
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		p.errorf("a call has not returned after %v", limit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return verdict{slices.Clone(p.findings), p.skipped}
}

// spawn runs f on a goroutine and returns a channel that is closed when it is done.
func (p *probe) spawn(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.guard(f)
	}()
	return done
}

// guard calls f and makes a finding of its panic.
func (p *probe) guard(f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	f()
}

// errorf adds a finding. Any goroutine may call it.
func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const enough = 5
	if len(p.findings) < enough {
		p.findings = append(p.findings, fmt.Sprintf(format, args...))
	}
}

// fatalf adds a finding and ends the calling goroutine.
func (p *probe) fatalf(format string, args ...any) {
	p.errorf(format, args...)
	runtime.Goexit()
}

// must ends the calling goroutine if doing something has failed.
func (p *probe) must(err error, format string, args ...any) {
	if err != nil {
		p.fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// skipf ends the check, of which there is nothing to be seen here.
func (p *probe) skipf(format string, args ...any) {
	p.mu.Lock()
	p.skipped = fmt.Sprintf(format, args...)
	p.mu.Unlock()
	runtime.Goexit()
}

// failed reports whether there is a finding.
func (p *probe) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.findings) > 0
}

// cleanup has f called when the check has ended, the last one first.
func (p *probe) cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

func (p *probe) cleanUp() {
	p.mu.Lock()
	cleanups := p.cleanups
	p.mu.Unlock()
	for i := len(cleanups) - 1; i >= 0; i-- {
		p.guard(cleanups[i])
	}
}

// openStore is a store in the probe's directory that can be closed and opened
// again.
type openStore[S any] struct {
	*probe
	open     func(dir string) (S, error)
	volatile bool
	store    S
}

func newOpenStore[S any](p *probe, open func(dir string) (S, error), o *checkOptions) *openStore[S] {
	s := &openStore[S]{probe: p, open: open, volatile: o.volatile}
	s.openNow()
	p.cleanup(s.close)
	return s
}

func (s *openStore[S]) openNow() {
	store, err := s.open(s.dir)
	s.must(err, "open")
	s.store = store
}

func (s *openStore[S]) close() {
	if c, ok := any(s.store).(io.Closer); ok {
		if err := c.Close(); err != nil {
			s.errorf("Close: %v", err)
		}
	}
	var closed S
	s.store = closed
}

// reopen closes the store and opens it again, unless that would empty it.
func (s *openStore[S]) reopen() {
	if s.volatile {
		return
	}
	s.close()
	s.openNow()
}
