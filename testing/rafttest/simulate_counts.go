package rafttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// SimulateCounts says what a simulation has gone through, or several, see Add.
type SimulateCounts struct {
	Faults map[Fault]int // that took effect

	Starts          int // of nodes
	Stops           int // of nodes, by themselves, after an error of a disk
	Elections       int // that were won
	Changes         int // of the configuration
	Truncations     int // of a log's end
	Snapshots       int // taken
	FailedSnapshots int
	Installs        int // of snapshots that a leader sent
	FailedRestores  int // of those

	Network NetworkCounts
	Disk    DiskCounts // of all disks

	Writes OutcomeCounts
	Reads  OutcomeCounts
	Via    map[string]int // successful reads, by how they were made linearizable
}

// OutcomeCounts says how operations ended.
type OutcomeCounts struct{ Done, Unknown, Refused int }

// Total is the number of operations.
func (o OutcomeCounts) Total() int { return o.Done + o.Unknown + o.Refused }

func (o *OutcomeCounts) count(outcome Outcome) {
	switch outcome {
	case Done:
		o.Done++
	case Refused:
		o.Refused++
	default:
		o.Unknown++
	}
}

func (o *OutcomeCounts) add(p OutcomeCounts) {
	o.Done += p.Done
	o.Unknown += p.Unknown
	o.Refused += p.Refused
}

// Add adds what another simulation has gone through.
func (c *SimulateCounts) Add(o *SimulateCounts) {
	c.Faults = addMaps(c.Faults, o.Faults)
	c.Via = addMaps(c.Via, o.Via)
	c.Starts += o.Starts
	c.Stops += o.Stops
	c.Elections += o.Elections
	c.Changes += o.Changes
	c.Truncations += o.Truncations
	c.Snapshots += o.Snapshots
	c.FailedSnapshots += o.FailedSnapshots
	c.Installs += o.Installs
	c.FailedRestores += o.FailedRestores
	c.Network.add(o.Network)
	c.Disk.add(o.Disk)
	c.Writes.add(o.Writes)
	c.Reads.add(o.Reads)
}

func addMaps[K comparable](a, b map[K]int) map[K]int {
	if a == nil {
		a = map[K]int{}
	}
	for k, n := range b {
		a[k] += n
	}
	return a
}

// add adds what a disk has done.
func (c *DiskCounts) add(d DiskCounts) {
	c.LogWrites += d.LogWrites
	c.StableWrites += d.StableWrites
	c.SnapshotWrites += d.SnapshotWrites
	c.Failed += d.Failed
	c.Crashes += d.Crashes
	c.Torn += d.Torn
	c.Forgotten += d.Forgotten
}

// String lists the counts in a few lines.
func (c *SimulateCounts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "faults: %s\n", mapString(c.Faults))
	fmt.Fprintf(&b, "nodes: %d starts, %d stopped by themselves, %d elections, %d configuration changes\n",
		c.Starts, c.Stops, c.Elections, c.Changes)
	fmt.Fprintf(&b, "logs: %d truncations; snapshots: %d taken, %d failed, %d installed, %d restores failed\n",
		c.Truncations, c.Snapshots, c.FailedSnapshots, c.Installs, c.FailedRestores)
	fmt.Fprintf(&b, "disks: %d log writes, %d stable writes, %d failed, %d crashes, %d torn writes\n",
		c.Disk.LogWrites, c.Disk.StableWrites, c.Disk.Failed, c.Disk.Crashes, c.Disk.Torn)
	fmt.Fprintf(&b, "messages: %d sent, %d lost, %d repeated, %d refused, %d stalled\n",
		c.Network.Sent, c.Network.Lost, c.Network.Duplicated, c.Network.Refused, c.Network.Stalled)
	fmt.Fprintf(&b, "writes: %d done, %d unknown, %d refused; reads: %d done (%s), %d failed",
		c.Writes.Done, c.Writes.Unknown, c.Writes.Refused, c.Reads.Done, mapString(c.Via), c.Reads.Unknown+c.Reads.Refused)
	return b.String()
}

func mapString[K ~string](m map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(parts, ", ")
}

// eventCounts are counts under a lock.
type eventCounts struct {
	mu sync.Mutex
	n  SimulateCounts
}

// add counts one more in a field of n.
func (c *eventCounts) add(field *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*field++
}

func (c *eventCounts) fault(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n.Faults[f]++
}
