// The peer with the library of this repository, and its stores.
package main

import (
	"context"
	"runtime"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/hashi"
)

func main() {
	hashi.Main(hashi.Library{
		Stores: map[string]hashi.OpenStore{"bolt": openBolt, "wal": openWAL},
		Reads: map[string]hashi.ReadMethod{
			"readindex": {Read: readIndex},
			"lease":     {Read: leaseRead, Configure: func(c *raft.Config) { c.LeaseReads = true }},
		},
	})
}

// leaseRead yields after each read: clients that never wait for anything would keep the
// nodes from running.
func leaseRead(r *raft.Raft) error {
	defer runtime.Gosched()
	return readIndex(r)
}

func readIndex(r *raft.Raft) error {
	_, err := r.ReadIndex(context.Background())
	return err
}
