package raftwal

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

func TestConformance(t *testing.T) {
	for name, size := range map[string]int64{"one segment": 0, "many segments": 4 << 10} {
		open := func(dir string) (*Store, error) {
			return New(Options{Dir: filepath.Join(dir, "log"), SegmentSize: size})
		}
		t.Run(name, func(t *testing.T) {
			t.Run("LogStore", func(t *testing.T) {
				rafttest.CheckLogStore(t, func(dir string) (raft.LogStore, error) { return open(dir) })
			})
			t.Run("StableStore", func(t *testing.T) {
				rafttest.CheckStableStore(t, func(dir string) (raft.StableStore, error) { return open(dir) })
			})
		})
	}
}

// Whole nodes on this store, under every fault: what a crash leaves of a write is a part
// of its entries, and the store opens on that.
func TestSimulate(t *testing.T) {
	rafttest.Simulate(t, rafttest.SimulateOptions{
		Seed:     1,
		Duration: time.Minute,
		NewFSM:   func() raft.FSM { return &rafttest.MockFSM{} },
		Command:  func(rng *rand.Rand, client int) []byte { return fmt.Appendf(nil, "%d %d", client, rng.Uint64()) },
		MakeStores: func(raft.ServerID) (rafttest.Stores, error) {
			s, err := New(Options{Dir: filepath.Join(t.TempDir(), "log"), SegmentSize: 64 << 10, NoSync: true})
			return rafttest.Stores{Logs: s, Stable: s, Snapshots: raft.NewInmemSnapshotStore()}, err
		},
	})
}
