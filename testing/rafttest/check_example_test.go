package rafttest_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/raftboltdb"
	"github.com/hashicorp/raft/testing/rafttest"
)

// t stands for the parameter of the test function that the calls below belong in.
var t *testing.T

func ExampleCheckLogStore() {
	rafttest.CheckLogStore(t, func(dir string) (raft.LogStore, error) {
		return raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	})
}

// A store in memory is never opened twice. What a store is known to do otherwise is
// listed, and the list can't grow old: the suite fails if a deviation is gone.
func ExampleCheckLogStore_options() {
	rafttest.CheckLogStore(t, func(string) (raft.LogStore, error) { return raft.NewInmemStore(), nil },
		rafttest.Volatile(),
		rafttest.Deviation("ReusedLogKeepsData", "every caller of ours passes a new Log"))
}

func ExampleCheckStableStore() {
	rafttest.CheckStableStore(t, func(dir string) (raft.StableStore, error) {
		return raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	})
}

func ExampleCheckSnapshotStore() {
	rafttest.CheckSnapshotStore(t, func(dir string) (raft.SnapshotStore, error) {
		return raft.NewFileSnapshotStore(dir, 2, nil)
	})
}

func ExampleCheckTransport() {
	rafttest.CheckTransport(t, func(n int, timeout time.Duration) ([]raft.Transport, error) {
		var all []raft.Transport
		for range n {
			trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 3, timeout, nil)
			if err != nil {
				return all, err
			}
			all = append(all, trans)
		}
		return all, nil
	})
}

func ExampleCheckFSM() {
	newFSM := func() raft.FSM { return &rafttest.MockFSM{} }
	command := func(rng *rand.Rand) []byte { return []byte{byte(rng.IntN(256))} }
	rafttest.CheckFSM(t, newFSM, command)
}
