package rafttest

import "github.com/hashicorp/raft"

// Network returns what connects the servers.
func (c *Cluster) Network() *Network { return c.network }

// FullyConnect connects every server with every other.
func (c *Cluster) FullyConnect() { c.network.Heal() }

// Disconnect cuts a server off from all others, in both directions.
func (c *Cluster) Disconnect(a raft.ServerAddress) { c.network.Isolate(a) }

// Partition cuts the servers named off from all others, in both directions. Each
// side stays connected within itself as it was.
func (c *Cluster) Partition(far []raft.ServerAddress) { c.network.Partition(far) }
