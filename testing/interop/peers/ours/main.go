// The node with this repository's library.
package main

import (
	"github.com/hashicorp/raft/raftboltdb"
	"github.com/hashicorp/raft/testing/interop/node"
)

func main() {
	node.Main(func(path string) (node.Store, error) { return raftboltdb.NewBoltStore(path) })
}
