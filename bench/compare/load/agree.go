package load

import (
	"fmt"
	"time"
)

// patience is how long all nodes may take to apply what the leader has. Tests shorten
// it.
var patience = time.Minute

// pause is the time between two looks at a machine.
const pause = 200 * time.Microsecond

// Agree waits until all machines have applied as many commands as the one that is
// ahead, and returns an error if they have not within a minute, or if what they applied
// differs in content or order. No command may be under way.
func Agree(machines ...*Machine) error {
	_, err := agree(time.Now().Add(patience), states(machines))
	return err
}

// Wait waits until the machine has applied count commands or more, and returns an error
// if it has not before timeout is over.
func (m *Machine) Wait(count uint64, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for m.Count() < count {
		if time.Now().After(deadline) {
			return fmt.Errorf("applied %d of %d commands in %v", m.Count(), count, timeout)
		}
		time.Sleep(pause)
	}
	return nil
}

// agree is Agree for nodes in any process. It returns what all have applied.
func agree(deadline time.Time, read func() ([]State, error)) (State, error) {
	for {
		nodes, err := read()
		if err != nil {
			return State{}, err
		}
		behind := false
		for _, s := range nodes {
			behind = behind || s.Count != nodes[0].Count
		}
		switch {
		case !behind:
			return same(nodes)
		case time.Now().After(deadline):
			return State{}, fmt.Errorf("the nodes have not all applied the same number of commands: %v", nodes)
		}
		time.Sleep(pause)
	}
}

// same returns what nodes have in common if that is everything.
func same(nodes []State) (State, error) {
	if len(nodes) == 0 {
		return State{}, fmt.Errorf("no machine")
	}
	for i, s := range nodes {
		if s != nodes[0] {
			return State{}, fmt.Errorf("nodes %d and %d applied %d commands, but not the same: digests %x and %x",
				1, i+1, s.Count, nodes[0].Digest, s.Digest)
		}
	}
	return nodes[0], nil
}

// states returns a function that reads all machines.
func states(machines []*Machine) func() ([]State, error) {
	return func() ([]State, error) {
		all := make([]State, 0, len(machines))
		for _, m := range machines {
			all = append(all, m.State())
		}
		return all, nil
	}
}
