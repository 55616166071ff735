package fuzzy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft/testing/rafttest"
)

// total is what many seeds have come to.
type total struct {
	seeds    int
	failed   []uint64
	virtual  time.Duration
	counts   rafttest.SimulateCounts
	searches searches
	broken   map[string]int // failures by property
	logs     int            // histories that were checked by the order of the log
}

func (t *total) add(o outcome) {
	t.seeds++
	t.virtual += o.Virtual
	t.counts.Add(&o.Counts)
	t.searches.add(o.Searches)
	if len(o.Failures) == 0 {
		t.logs++
		return
	}
	t.failed = append(t.failed, o.Seed)
	if t.broken == nil {
		t.broken = map[string]int{}
	}
	for _, f := range o.Failures {
		t.broken[f.Property]++
	}
}

// progress is one line.
func (t *total) progress(real time.Duration) string {
	return fmt.Sprintf("%6.0f s: %d seeds, %.2f virtual hours, %d elections, %d installs, %d truncations, %d changes, %d writes, %d reads, %d failed seeds",
		real.Seconds(), t.seeds, t.virtual.Hours(), t.counts.Elections, t.counts.Installs, t.counts.Truncations, t.counts.Changes,
		t.counts.Writes.Done, t.counts.Reads.Done, len(t.failed))
}

// summary is all of it.
func (t *total) summary(real, cpu time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds, %.2f virtual hours in %v, %.0f virtual seconds per second of CPU\n",
		t.seeds, t.virtual.Hours(), real.Round(time.Second), t.virtual.Seconds()/cpu.Seconds())
	fmt.Fprintf(&b, "%v\n", &t.counts)
	fmt.Fprintf(&b, "checked: %d histories by the order of the log; %d histories of a key, of %d operations, by porcupine, which gave up on %d\n",
		t.logs, t.searches.Histories, t.searches.Operations, t.searches.GaveUp)
	fmt.Fprintf(&b, "failed: %d seeds %v", len(t.failed), t.failed)
	for _, property := range slices.Sorted(maps.Keys(t.broken)) {
		fmt.Fprintf(&b, "\n\t%d times: %s", t.broken[property], property)
	}
	return b.String()
}

// missing names what a run should have gone through and has not: without it the run
// shows nothing.
func (t *total) missing() (names []string) {
	c := &t.counts
	for _, f := range rafttest.AllFaults() {
		if c.Faults[f] == 0 {
			names = append(names, string(f))
		}
	}
	for _, n := range []struct {
		name  string
		count int
	}{
		{"elections", c.Elections},
		{"snapshots", c.Snapshots},
		{"snapshot installs", c.Installs},
		{"truncations", c.Truncations},
		{"configuration changes", c.Changes},
		{"torn writes", c.Disk.Torn},
		{"nodes that stopped by themselves", c.Stops},
		{"failed restores", c.FailedRestores},
		{"failed snapshots", c.FailedSnapshots},
		{"lost messages", c.Network.Lost},
		{"repeated requests", c.Network.Duplicated},
		{"stalled messages", c.Network.Stalled},
		{"writes", c.Writes.Done},
		{"writes of unknown outcome", c.Writes.Unknown},
		{"reads", c.Reads.Done},
		{"searched histories", t.searches.Histories - t.searches.GaveUp},
	} {
		if n.count == 0 {
			names = append(names, n.name)
		}
	}
	for _, method := range rafttest.ReadMethods() {
		if c.Via[method] == 0 {
			names = append(names, "reads by "+method)
		}
	}
	return names
}
