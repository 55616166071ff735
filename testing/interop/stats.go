package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// stats is what the summary tells, of one cluster or the sum of several.
type stats struct {
	writes    map[control.Outcome]int
	elected   map[string]int // leaders, by library
	installs  map[string]int // snapshots installed, "FROM -> TO"
	transfers map[string]int // of leadership, acknowledged, by the old leader's library
	members   map[string]int // changes of membership, acknowledged, by kind
	taken     map[string]int // starts on data that another library has written, "OLD -> NEW"
	actions   map[string]action
	kills     int
	dead      int // entries of no history, below a snapshot
	verified  int // leaders confirmed by VerifyLeader
	stale     int // of them wrongly, by a peer
	wedged    int // leaders of a peer that replicated no more
	fallen    int // terms of a peer that fell while it ran
}

// action is how often something was done and how long that took at most.
type action struct {
	times   int
	slowest time.Duration
}

func newStats() stats {
	return stats{
		writes: map[control.Outcome]int{}, elected: map[string]int{}, installs: map[string]int{},
		transfers: map[string]int{}, members: map[string]int{}, taken: map[string]int{}, actions: map[string]action{},
	}
}

// add adds what another cluster has counted.
func (s *stats) add(t stats) {
	addAll(s.writes, t.writes)
	addAll(s.elected, t.elected)
	addAll(s.installs, t.installs)
	addAll(s.transfers, t.transfers)
	addAll(s.members, t.members)
	addAll(s.taken, t.taken)
	for name, a := range t.actions {
		sum := s.actions[name]
		s.actions[name] = action{sum.times + a.times, max(sum.slowest, a.slowest)}
	}
	s.kills += t.kills
	s.dead += t.dead
	s.verified += t.verified
	s.stale += t.stale
	s.wedged += t.wedged
	s.fallen += t.fallen
}

func addAll[K comparable](sum, m map[K]int) {
	for k, n := range m {
		sum[k] += n
	}
}

// print writes the summary. Sums have too many actions to list them.
func (s stats) print(out io.Writer, withActions bool) {
	fmt.Fprintf(out, "writes: %d acknowledged, %d unknown, %d refused; kills: %d\n",
		s.writes[control.Acked], s.writes[control.Unknown], s.writes[control.Refused], s.kills)
	printCounts(out, "leaders elected", s.elected)
	printCounts(out, "snapshots installed", s.installs)
	printCounts(out, "leadership transferred by", s.transfers)
	printCounts(out, "membership changes", s.members)
	printCounts(out, "starts on the other's data", s.taken)
	fmt.Fprintf(out, "leaders confirmed: %d; faults of peers: %d confirmed wrongly, %d wedged, %d terms that fell, %d entries of no history below a snapshot\n",
		s.verified, s.stale, s.wedged, s.fallen, s.dead)
	if !withActions {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.actions)) {
		a := s.actions[name]
		fmt.Fprintf(out, "  %3d x %-42s %6v at most\n", a.times, name, a.slowest.Round(100*time.Millisecond))
	}
}

func printCounts(out io.Writer, what string, counts map[string]int) {
	total := 0
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		total += counts[k]
		parts = append(parts, fmt.Sprintf("%d %s", counts[k], k))
	}
	fmt.Fprintf(out, "%s: %d (%s)\n", what, total, strings.Join(parts, ", "))
}
