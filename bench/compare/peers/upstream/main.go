// The peer with hashicorp/raft v1.8.0, and its stores.
package main

import (
	"path/filepath"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/hashicorp/raft/bench/compare/hashi"
)

func main() {
	hashi.Main(hashi.Library{
		Stores: map[string]hashi.OpenStore{"bolt": openBolt, "wal": hashi.OpenRaftWAL},
	})
}

// boltStore counts two flushes for each transaction.
type boltStore struct {
	hashi.Counting
	boltMethods
}

type boltMethods struct{ *raftboltdb.BoltStore }

func openBolt(dir string, flushes *hashi.Flushes) (hashi.Store, error) {
	s, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	return &boltStore{hashi.NewCounting(s, flushes, hashi.BoltCosts), boltMethods{s}}, err
}
