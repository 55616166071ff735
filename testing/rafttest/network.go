package rafttest

import (
	"slices"

	"github.com/hashicorp/raft"
)

// FullyConnect connects every server with every other.
func (c *Cluster) FullyConnect() {
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if a != b {
				a.trans.Connect(b.addr, b.trans)
			}
		}
	}
}

// Disconnect cuts a server off from all others, in both directions.
func (c *Cluster) Disconnect(a raft.ServerAddress) {
	c.Partition([]raft.ServerAddress{a})
}

// Partition cuts the servers named off from all others, in both directions. Each
// side stays connected within itself as it was.
func (c *Cluster) Partition(far []raft.ServerAddress) {
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if slices.Contains(far, a.addr) != slices.Contains(far, b.addr) {
				a.trans.Disconnect(b.addr)
			}
		}
	}
}
