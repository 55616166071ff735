package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// electionTime is how long the first election may take.
const electionTime = 20 * time.Second

// A cluster is a [load.Distributed] system whose node 1, in this process, leads.
type cluster struct {
	nodes   []*node // in this process, the leader first
	remotes []*remote
}

// newCluster makes a cluster with so many members in dir: all in this process, or, if
// distributed, each in one of its own. It returns when the cluster has a leader.
func newCluster(dir string, members int, distributed bool) (*cluster, error) {
	c := new(cluster)
	addresses, err := c.make(dir, uint64(members), distributed)
	if err == nil {
		err = c.start(addresses)
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// make makes the nodes and returns their addresses.
func (c *cluster) make(dir string, members uint64, distributed bool) (map[uint64]string, error) {
	addresses := make(map[uint64]string)
	for id := uint64(1); id <= members; id++ {
		if distributed && id > 1 {
			r, err := startRemote(dir, id, members)
			if err != nil {
				return nil, err
			}
			c.remotes = append(c.remotes, r)
			addresses[id] = r.address
			continue
		}
		n, err := newNode(dir, id, members)
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
		addresses[id] = n.address()
	}
	return addresses, nil
}

// start runs the nodes, and waits until the first one leads.
func (c *cluster) start(addresses map[uint64]string) error {
	for _, r := range c.remotes {
		if err := r.send(addresses); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.connect(addresses); err != nil {
			return err
		}
	}
	leader := c.nodes[0]
	if err := leader.raft.Campaign(); err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	select {
	case <-leader.leads:
		return nil
	case <-time.After(electionTime):
		return fmt.Errorf("node %d does not lead after %v", leader.id, electionTime)
	}
}

// stop ends the cluster. The nodes in other processes find nobody missing: the leader
// has no more to say to them by then.
func (c *cluster) stop() error {
	var errs []error
	for _, n := range c.nodes {
		n.rest()
	}
	for _, r := range c.remotes {
		errs = append(errs, r.stop())
	}
	for _, n := range c.nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// Propose implements [load.System].
func (c *cluster) Propose(command []byte) error { return c.nodes[0].call(command) }

// Machines implements [load.System].
func (c *cluster) Machines() []*load.Machine {
	machines := make([]*load.Machine, 0, len(c.nodes))
	for _, n := range c.nodes {
		machines = append(machines, n.machine)
	}
	return machines
}

// Flushes implements [load.System].
func (c *cluster) Flushes() uint64 {
	sum := uint64(0)
	for _, n := range c.nodes {
		sum += n.disk.flushes.Load()
	}
	return sum
}

// Remotes implements [load.Distributed].
func (c *cluster) Remotes() []load.Remote {
	remotes := make([]load.Remote, 0, len(c.remotes))
	for _, r := range c.remotes {
		remotes = append(remotes, r)
	}
	return remotes
}
