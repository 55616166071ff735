package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// A leader of hashicorp/raft can stop replicating to a server for good (hazard L4):
// after one failed answer nobody takes the following ones from the pipeline, so that
// the goroutine that sends waits in it for ever. Heartbeats go on, so nobody is
// elected. That is not held against the run if the leader is seen in that state;
// another that does not replicate is a fault, whose ever it is.

// stallPatience is how long a follower that hears its leader may get no entries. It
// is longer than hashicorp/raft waits after failures.
const stallPatience = 15 * time.Second

// stall finds a leader of hashicorp/raft that does not replicate to a follower. The
// zero value has seen nothing.
type stall struct {
	leader *process
	behind map[*process]lack
	found  bool
}

// lack is a follower that hears its leader and lacks what that has committed.
type lack struct {
	run   *incarnation
	last  uint64    // index that it has
	since time.Time // that this is so
}

// see looks at the cluster and reports whether one was found.
func (s *stall) see(c *cluster, lead *process) bool {
	if lead != s.leader || !lead.library().peer() {
		*s = stall{leader: lead, behind: map[*process]lack{}}
	}
	l, _ := c.last(lead)
	for _, p := range c.members() {
		f, up := c.last(p)
		if !lead.library().peer() || p == lead || !up || f.Leader != lead.id || f.Last >= l.Commit {
			delete(s.behind, p)
			continue
		}
		if old := s.behind[p]; old.run != f.run || old.last != f.Last {
			s.behind[p] = lack{f.run, f.Last, time.Now()}
		}
		s.found = s.found || time.Since(s.behind[p].since) > stallPatience
	}
	return s.found
}

// cure ends a leader that seems wedged and starts it again. It is an error if it was
// not.
func (n *nemesis) cure(ctx context.Context, p *process) error {
	stacks, err := p.quit()
	if err != nil {
		return err
	}
	if !wedged(stacks) {
		return fmt.Errorf("%s (%s) replicates no more, but its pipelines don't hang, see %s\n%s",
			p.id, p.library().name, p.logPath(), n.c.describe())
	}
	n.c.count(func(s *stats) { s.wedged++; s.kills++ })
	if _, err := n.leader(ctx, p); err != nil {
		return err
	}
	return p.start()
}

// wedged reports whether a dump of all goroutines has one of hashicorp/raft that waits
// for room in a pipeline.
func wedged(stacks string) bool {
	for _, g := range strings.Split(stacks, "\n\n") {
		if strings.Contains(g, "raft.(*netPipeline).AppendEntries(") && strings.Contains(g, "raft.(*Raft).pipelineSend(") {
			return true
		}
	}
	return false
}

// quit ends the process and returns the stacks of all its goroutines.
func (p *process) quit() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		return "", errDown
	}
	before, err := os.ReadFile(p.logPath())
	if err != nil {
		return "", err
	}
	if _, err := p.live.end(syscall.SIGQUIT); err != nil {
		return "", fmt.Errorf("%s (%s): %w", p.id, p.lib.name, err)
	}
	p.live = nil
	after, err := os.ReadFile(p.logPath())
	return string(bytes.TrimPrefix(after, before)), err
}
