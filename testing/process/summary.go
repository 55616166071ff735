package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tally counts operations by kind and outcome.
func tally(history []op) map[kind]map[outcome]int {
	counts := map[kind]map[outcome]int{}
	for _, k := range []kind{put, get, remove, look} {
		counts[k] = map[outcome]int{}
	}
	for _, o := range history {
		counts[o.Kind][o.Outcome]++
	}
	return counts
}

// exercised returns an error if the run has proved nothing: a kind of fault or of
// operation did not happen, or nothing was checked.
func (s *session) exercised() error {
	var idle faults
	if len(s.faults) == 0 {
		idle.add("no fault has a name that matches %q", s.o.faults)
	}
	for _, f := range s.faults {
		if s.felt[f.name] == 0 {
			idle.add("fault %q did not happen", f.name)
		}
	}
	history, _ := s.clients.snapshot()
	for k, by := range tally(history) {
		if by[done] == 0 {
			idle.add("no %s was done", k)
		}
	}
	if s.judged == 0 {
		idle.add("no key was checked")
	}
	return idle.err()
}

func (s *session) setDoing(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing = what
}

// report prints a line now and then.
func (s *session) report(ctx context.Context) {
	for sleep(ctx, progressInterval); ctx.Err() == nil; sleep(ctx, progressInterval) {
		history, _ := s.clients.snapshot()
		lead := "nobody"
		if n := s.c.leader(); n != nil {
			lead = n.id
		}
		s.mu.Lock()
		fmt.Fprintf(s.o.out, "%5v %-14s %d operations, %s leads\n", s.c.now().Round(time.Second), s.doing, len(history), lead)
		s.mu.Unlock()
	}
}

// summary prints what the run has seen.
func (s *session) summary(verdict error) {
	history, _ := s.clients.snapshot()
	fmt.Fprintf(s.o.out, "%v, %d operations\n", s.c.now().Round(time.Second), len(history))
	counts := tally(history)
	for _, k := range []kind{put, remove, get, look} {
		fmt.Fprintf(s.o.out, "  %-7s %6d done %5d refused %5d unknown\n", k, counts[k][done], counts[k][refused], counts[k][unknown])
	}
	fmt.Fprintln(s.o.out, "faults, and how long after the worst of each kind until all nodes served")
	for _, f := range s.faults {
		fmt.Fprintf(s.o.out, "  %-18s %4d %6v\n", f.name, s.felt[f.name], s.worst[f.name])
	}
	if s.nemesis.smallDisk() == nil {
		fmt.Fprintln(s.o.out, "  full disk: not possible here, for want of the right to mount")
	}
	stops := 0
	for _, n := range s.c.nodes {
		stops += n.stops
	}
	fmt.Fprintf(s.o.out, "%d terms with a leader, by node %s; %d snapshots sent; nodes stopped by a full disk: %d\n",
		len(s.c.leaders.of), s.leadersByNode(), s.c.installs, stops)
	if verdict == nil {
		fmt.Fprintf(s.o.out, "porcupine: all %d keys linearizable; states equal; logs clean\n", s.judged)
	}
}

func (s *session) leadersByNode() string {
	by := map[string]int{}
	for _, id := range s.c.leaders.of {
		by[id]++
	}
	var parts []string
	for id, n := range by {
		parts = append(parts, fmt.Sprint(id, ":", n))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// writeHistory writes the history to a file in the run's directory, one operation in
// JSON a line.
func (s *session) writeHistory() (err error) {
	f, err := os.Create(filepath.Join(s.dir, "history.jsonl"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	history, _ := s.clients.snapshot()
	lines := json.NewEncoder(w)
	for _, o := range history {
		if err := lines.Encode(o); err != nil {
			return err
		}
	}
	return w.Flush()
}
