package hashi

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// This file is about nodes that were down, and are behind.

// restart measures how long the only node of a cluster takes from opening its stores
// until it has applied its log. An election is part of that; the metric open is the
// time before, until NewRaft returns.
func restart(lib Library, f load.Flags) (load.Metrics, error) {
	f.Nodes = 1
	c, err := newStanding(lib, f, 1)
	if err != nil {
		return nil, err
	}
	n := c.nodes[0]
	if err := errors.Join(n.prepareAndClose(), forget()); err != nil {
		return nil, err
	}
	var open time.Duration
	m, err := load.Task(f.Options(), func() error {
		begin := time.Now()
		if err := n.resume(); err != nil {
			return err
		}
		open = time.Since(begin)
		return n.machine.Wait(uint64(f.Entries), patience)
	})
	if err == nil {
		m["open"] = open.Seconds()
		err = load.Agree(n.machine, n.Past.machine())
	}
	return m, errors.Join(err, c.stop())
}

// catchup measures how long a follower that has missed the whole log takes from opening
// its stores until it has applied it.
func catchup(lib Library, f load.Flags) (load.Metrics, error) {
	c, err := newStanding(lib, f, 3)
	if err != nil {
		return nil, err
	}
	last := c.nodes[len(c.nodes)-1]
	last.Past.Entries = 0
	if err := last.prepareAndClose(); err != nil {
		return nil, err
	}
	return c.bringBack(f, last)
}

// snapshot measures how long a follower that is sent a snapshot takes from opening its
// stores until it has restored it.
func snapshot(lib Library, f load.Flags) (load.Metrics, error) {
	c, err := newStanding(lib, f, 3)
	if err != nil {
		return nil, err
	}
	for _, n := range c.nodes {
		n.Past.Snapshot = true
		n.Past.Size = min(f.Size, snapshotPiece)
		n.Past.Entries = f.Size / n.Past.Size
	}
	return c.bringBack(f, c.nodes[len(c.nodes)-1])
}

// newStanding makes at least so many nodes, which do not run, and whose disks outlive
// them.
func newStanding(lib Library, f load.Flags, nodes int) (*cluster, error) {
	if f.Processes != 1 || f.Store == "mem" || f.Nodes < nodes {
		return nil, fmt.Errorf("%s with %d nodes in %d processes on store %s: %w",
			f.Workload, f.Nodes, f.Processes, f.Store, load.ErrUnsupported)
	}
	return newCluster(lib, f)
}

// prepareAndClose gives a node its past, and leaves it to be resumed.
func (n *node) prepareAndClose() error {
	if err := n.prepare(); err != nil {
		return err
	}
	return n.store.Close()
}

// bringBack starts all nodes but the last, and measures how long that one takes to join
// them.
func (c *cluster) bringBack(f load.Flags, last *node) (load.Metrics, error) {
	up := &cluster{nodes: c.nodes[:len(c.nodes)-1]}
	m, err := up.awaken(f, last)
	if err == nil {
		err = load.Agree(c.Machines()...)
	}
	return m, errors.Join(err, c.stop())
}

// awaken starts the cluster, and measures how long a node takes that is missing in it.
// The longer a leader has missed a follower, the longer it may wait until it tries again
// to reach it. That is chance, and not what is measured: so the leader is a new one.
func (c *cluster) awaken(f load.Flags, missing *node) (load.Metrics, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	if err := errors.Join(c.settle(), forget()); err != nil {
		return nil, err
	}
	old, fresh := c.nodes[0], c.nodes[1]
	if err := old.handOver(fresh.Server); err != nil {
		return nil, fmt.Errorf("making another leader: %w", err)
	}
	if err := await("another leads", func() (bool, error) { return fresh.leads(), nil }); err != nil {
		return nil, err
	}
	return load.Task(f.Options(), func() error {
		if err := missing.resume(); err != nil {
			return err
		}
		return missing.machine.Wait(uint64(old.Past.Entries), patience)
	})
}

// forget rids the process of what it took to make the past: garbage, and a peak of memory
// that is no part of the task.
func forget() error {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return fmt.Errorf("resetting the peak of memory: %w", err)
	}
	return nil
}
