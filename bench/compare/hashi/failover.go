package hashi

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// failover measures how long a cluster is without a leader that can write when its
// leader is killed: the mean of as many deaths as there are in the time, one at least.
// Who died comes back and catches up before the next one.
func failover(lib Library, f load.Flags) (load.Metrics, error) {
	if f.Nodes < 3 || f.Processes != 1 || f.Store == "mem" {
		return nil, fmt.Errorf("failover with %d nodes in %d processes on store %s: %w",
			f.Nodes, f.Processes, f.Store, load.ErrUnsupported)
	}
	return withCluster(lib, f, func(c *cluster) (load.Metrics, error) {
		var deaths int
		var without time.Duration
		m, err := load.Task(f.Options(), func() error {
			commands := newCommands(f.Size)
			for begin := time.Now(); deaths == 0 || time.Since(begin) < f.Time; deaths++ {
				took, err := c.failOver(commands)
				if err != nil {
					return err
				}
				without += took
			}
			return nil
		})
		if err == nil {
			m["seconds"] = without.Seconds() / float64(deaths)
		}
		return m, err
	})
}

// failOver kills the leader and returns how long it takes until a write succeeds. Then
// it starts the dead one again, and waits until all agree.
func (c *cluster) failOver(commands *commands) (took time.Duration, err error) {
	var dead *node
	err = await("there is a leader", func() (bool, error) {
		dead = c.leader(nil)
		return dead != nil, nil
	})
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := dead.kill(); err != nil {
		return 0, fmt.Errorf("killing the leader: %w", err)
	}
	err = await("a write succeeds", func() (bool, error) {
		n := c.leader(dead)
		return n != nil && n.raft.Apply(commands.next(), 0).Error() == nil, nil
	})
	took = time.Since(begin)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(dead.stop(), dead.resume()); err != nil {
		return 0, fmt.Errorf("starting the old leader again: %w", err)
	}
	return took, load.Agree(c.Machines()...)
}

// leader returns a node that believes to lead, other than the one given; nil if there
// is none.
func (c *cluster) leader(not *node) *node {
	for _, n := range c.nodes {
		if n != not && n.leads() {
			return n
		}
	}
	return nil
}
