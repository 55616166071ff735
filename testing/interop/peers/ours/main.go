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
	})
}
