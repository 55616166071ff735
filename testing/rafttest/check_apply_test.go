package rafttest

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// The suites, applied to what this module has. DiscardSnapshotStore is not among
// it: it keeps none of what a SnapshotStore promises.

func TestCheckLogStore(t *testing.T) {
	for name, open := range map[string]func(dir string) (raft.LogStore, error){
		"InmemStore":               func(string) (raft.LogStore, error) { return raft.NewInmemStore(), nil },
		"InmemCommitTrackingStore": func(string) (raft.LogStore, error) { return raft.NewInmemCommitTrackingStore(), nil },
		"MockMonotonicLogStore":    func(string) (raft.LogStore, error) { return &MockMonotonicLogStore{}, nil },
		"LogCache":                 func(string) (raft.LogStore, error) { return raft.NewLogCache(4, raft.NewInmemStore()) },
		"LogCache above a monotonic store": func(string) (raft.LogStore, error) {
			return raft.NewLogCache(16, &MockMonotonicLogStore{})
		},
	} {
		t.Run(name, func(t *testing.T) { CheckLogStore(t, open, Volatile()) })
	}
}

func TestCheckStableStore(t *testing.T) {
	CheckStableStore(t, func(string) (raft.StableStore, error) { return raft.NewInmemStore(), nil }, Volatile())
}

func TestCheckSnapshotStore(t *testing.T) {
	t.Run("InmemSnapshotStore", func(t *testing.T) {
		CheckSnapshotStore(t, func(string) (raft.SnapshotStore, error) { return raft.NewInmemSnapshotStore(), nil }, Volatile())
	})
	t.Run("FileSnapshotStore", func(t *testing.T) {
		CheckSnapshotStore(t, func(dir string) (raft.SnapshotStore, error) {
			return raft.NewFileSnapshotStoreWithLogger(dir, 3, hclog.NewNullLogger())
		})
	})
}

func TestCheckTransport(t *testing.T) {
	t.Run("InmemTransport", func(t *testing.T) { CheckTransport(t, openInmem) })
	for name, config := range map[string]raft.NetworkTransportConfig{
		"TCP":                            {MaxPool: 3},
		"TCP with a wide window":         {MaxPool: 3, MaxRPCsInFlight: 16},
		"TCP without pool and pipelines": {MaxRPCsInFlight: 1},
	} {
		t.Run(name, func(t *testing.T) {
			CheckTransport(t, func(n int, timeout time.Duration) (all []raft.Transport, err error) {
				for range n {
					config := config
					config.Timeout, config.Logger = timeout, hclog.NewNullLogger()
					trans, err := raft.NewTCPTransportWithConfig("127.0.0.1:0", nil, &config)
					if err != nil {
						return all, err
					}
					all = append(all, trans)
				}
				return all, nil
			})
		})
	}
}

func openInmem(n int, timeout time.Duration) ([]raft.Transport, error) {
	var all []raft.Transport
	for range n {
		_, trans := raft.NewInmemTransportWithTimeout("", timeout)
		for _, peer := range all {
			peer.(*raft.InmemTransport).Connect(trans.LocalAddr(), trans)
			trans.Connect(peer.LocalAddr(), peer)
		}
		all = append(all, trans)
	}
	return all, nil
}

func TestCheckFSM(t *testing.T) {
	command := func(rng *rand.Rand) []byte { return pattern(rng.IntN(20), rng.Uint64()) }
	t.Run("MockFSM", func(t *testing.T) {
		CheckFSM(t, func() raft.FSM { return &MockFSM{} }, command)
	})
	t.Run("MockFSMConfigStore", func(t *testing.T) {
		CheckFSM(t, func() raft.FSM { return &MockFSMConfigStore{FSM: &MockFSM{}} }, command)
	})
}

// A Network's timeouts are its own and short, so it is checked on virtual time.
func TestCheckTransportOfNetwork(t *testing.T) {
	s := transportSuite(func(n int, _ time.Duration) ([]raft.Transport, error) {
		network := NewNetwork(1)
		var all []raft.Transport
		for i := range n {
			all = append(all, network.Join(raft.ServerAddress(serverID(i))))
		}
		return all, nil
	})
	for _, c := range s {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if v := examine(c, t.TempDir(), checkLimit); len(v.findings) > 0 || v.skipped != "" {
					t.Errorf("%s\nskipped: %s", v.report(c), v.skipped)
				}
			})
		})
	}
}

// A Disk without faults is as good as the stores under it.
func TestCheckStoresOfDisk(t *testing.T) {
	t.Run("LogStore", func(t *testing.T) {
		CheckLogStore(t, func(string) (raft.LogStore, error) { return NewMemDisk(1).LogStore(), nil }, Volatile())
	})
	t.Run("StableStore", func(t *testing.T) {
		CheckStableStore(t, func(string) (raft.StableStore, error) { return NewMemDisk(1).StableStore(), nil }, Volatile())
	})
	t.Run("SnapshotStore", func(t *testing.T) {
		CheckSnapshotStore(t, func(string) (raft.SnapshotStore, error) { return NewMemDisk(1).SnapshotStore(), nil }, Volatile())
	})
}
