package rafttest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// This file is the waits that hashicorp/raft has not.

// WaitFor waits until condition returns nil, and ends the test with its last error
// if that takes longer than the longstop. what names what is waited for.
func (c *Cluster) WaitFor(what string, condition func() error) {
	c.t.Helper()
	c.waitFor(c.t, what, condition)
}

// LeaderNode waits as Leader does, and returns the server.
func (c *Cluster) LeaderNode() *Node {
	c.t.Helper()
	var leader *Node
	c.WaitFor("one leader that is up", func() error {
		if leader = c.nodeOf(c.Leader()); leader == nil {
			return errors.New("the leader was stopped")
		}
		return nil
	})
	return leader
}

// nodeOf returns the server that a Raft is of at present, nil if there is none.
func (c *Cluster) nodeOf(r *raft.Raft) *Node {
	for _, n := range c.started() {
		if n.Raft() == r {
			return n
		}
	}
	return nil
}

// started returns the servers that were started and neither stopped nor crashed.
func (c *Cluster) started() []*Node {
	return slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return n.Raft() == nil })
}

// WaitForApplied waits until the FSMs of some servers, or of all that are up if none
// is named, have applied the log up to index.
func (c *Cluster) WaitForApplied(index uint64, nodes ...*Node) {
	c.t.Helper()
	c.WaitFor(fmt.Sprintf("application of entry %d", index), func() error {
		return c.every(nodes, func(n *Node, r *raft.Raft) error {
			if applied := r.AppliedIndex(); applied < index {
				return fmt.Errorf("%s has applied %d", n.id, applied)
			}
			return nil
		})
	})
}

// WaitForConfiguration waits until the latest configuration of all servers that are
// up is want, in any order.
func (c *Cluster) WaitForConfiguration(want raft.Configuration) {
	c.t.Helper()
	servers := byID(want)
	c.WaitFor(fmt.Sprintf("configuration %v", want), func() error {
		return c.every(nil, func(n *Node, r *raft.Raft) error {
			got := r.GetConfiguration().Configuration()
			if !slices.Equal(byID(got), servers) {
				return fmt.Errorf("%s has %v", n.id, got)
			}
			return nil
		})
	})
}

func byID(c raft.Configuration) []raft.Server {
	return slices.SortedFunc(slices.Values(c.Servers), func(a, b raft.Server) int { return cmp.Compare(a.ID, b.ID) })
}

// WaitForSnapshot waits until the newest snapshot of some servers, or of all that are
// up if none is named, is at index or above.
func (c *Cluster) WaitForSnapshot(index uint64, nodes ...*Node) {
	c.t.Helper()
	c.WaitFor(fmt.Sprintf("snapshots at %d", index), func() error {
		return c.every(nodes, func(n *Node, _ *raft.Raft) error {
			list, err := n.Disk().SnapshotStore().List()
			if err != nil {
				return fmt.Errorf("%s: %w", n.id, err)
			}
			if len(list) == 0 || list[0].Index < index {
				return fmt.Errorf("%s has %d snapshots, none of them new enough", n.id, len(list))
			}
			return nil
		})
	})
}

// every checks some servers, or all that are up if there are none.
func (c *Cluster) every(nodes []*Node, check func(*Node, *raft.Raft) error) error {
	if len(nodes) == 0 {
		nodes = slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return !n.Up() })
	}
	for _, n := range nodes {
		r := n.Raft()
		if r == nil {
			return fmt.Errorf("%s is down", n.id)
		}
		if err := check(n, r); err != nil {
			return err
		}
	}
	return nil
}
