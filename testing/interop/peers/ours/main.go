// The node with this repository's library.
package main

import (
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/raftboltdb"
	"github.com/hashicorp/raft/testing/interop/node"
)

func main() {
	node.Main(node.Library{
		Open:           func(path string) (node.Store, error) { return raftboltdb.NewBoltStore(path) },
		DisablePreVote: func(c *raft.Config) { c.PreVoteDisabled = true },
		Configure:      func(c *raft.Config) { c.LeaseReads = true }, // the others must put up with what it sends
	})
}
