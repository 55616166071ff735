// The peer with the library of this repository, and its stores.
package main

import (
	"context"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/hashi"
)

func main() {
	hashi.Main(hashi.Library{
		Stores: map[string]hashi.OpenStore{"bolt": openBolt, "wal": openWAL},
		Reads: map[string]hashi.ReadMethod{
			"readindex": {Read: readIndex},
			"lease":     {Read: readIndex, Configure: func(c *raft.Config) { c.LeaseReads = true }},
		},
	})
}

func readIndex(r *raft.Raft) error {
	_, err := r.ReadIndex(context.Background())
	return err
}
