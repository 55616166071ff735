package scenarios

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/safety/scenarios/verdict"
)

const (
	// patience is how long a scenario waits for what must come about.
	patience = 20 * time.Second

	// prompt is how long a scenario waits for what a faulty library never does. It
	// is far longer than a sound one takes.
	prompt = 10 * time.Second

	// settle is how long a scenario lets events happen that nobody can see. A sound
	// library is safe whether they have or not.
	settle = 100 * time.Millisecond
)

// stage is what a scenario is played on.
type stage struct {
	net     *network
	log     io.Writer            // gets what the library logs
	outcome chan verdict.Verdict // the first one counts
}

// play runs a scenario to its verdict.
func play(run func(*stage), log io.Writer) verdict.Verdict {
	s := &stage{net: newNetwork(), log: log, outcome: make(chan verdict.Verdict, 1)}
	go func() {
		run(s)
		s.decide(verdict.Safe, "")
	}()
	return <-s.outcome
}

// decide ends the scenario, and the calling goroutine.
func (s *stage) decide(kind verdict.Kind, detail string) {
	select {
	case s.outcome <- verdict.Verdict{Kind: kind, Detail: detail}:
	default:
	}
	runtime.Goexit()
}

// violated ends the scenario: the library broke a promise.
func (s *stage) violated(format string, args ...any) {
	s.decide(verdict.Violated, fmt.Sprintf(format, args...))
}

// hangs ends the scenario: something that must end does not.
func (s *stage) hangs(format string, args ...any) {
	s.decide(verdict.Hangs, fmt.Sprintf(format, args...))
}

// must ends the scenario without a verdict if a step of it fails.
func (s *stage) must(err error) {
	if err != nil {
		s.decide(verdict.Undecided, err.Error())
	}
}

// await waits for a step of the scenario to come about.
func (s *stage) await(what string, condition func() bool) {
	if !within(patience, condition) {
		s.decide(verdict.Undecided, "waited in vain for "+what)
	}
}

// within waits for a condition, and reports whether it came about in time.
func within(limit time.Duration, condition func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if condition() {
			return true
		}
	}
	return condition()
}

// ends makes a call, and reports whether it returns in time and with what.
func ends(limit time.Duration, call func() error) (err error, ended bool) {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err = <-done:
		return err, true
	case <-time.After(limit):
		return nil, false
	}
}

// succeed waits for a future that must succeed for the scenario to go on.
func (s *stage) succeed(f raft.Future) {
	err, ended := ends(patience, f.Error)
	if !ended {
		err = fmt.Errorf("a future of the preparation (%T) does not end", f)
	}
	s.must(err)
}

// mustEnd ends the scenario if a call does not return, and returns what it returned.
func (s *stage) mustEnd(call func() error, format string, args ...any) error {
	err, ended := ends(prompt, call)
	if !ended {
		s.hangs(format, args...)
	}
	return err
}

// dir returns a new directory. The driver removes it with the process's others.
func (s *stage) dir() string {
	dir, err := os.MkdirTemp("", "raft")
	s.must(err)
	return dir
}

// same reports whether two lists of commands are equal.
func same(got []string, want ...string) bool { return slices.Equal(got, want) }
