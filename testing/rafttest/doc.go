// Package rafttest helps to test what is built on raft: services, FSMs, stores and
// transports.
//
// # Clusters
//
// [MakeCluster] starts servers in one process. The names and signatures of
// MakeCluster and its kin are those of the helpers that hashicorp/raft has in its
// main package, so a test moves by a change of its import; what they return is an
// exported type here, [Cluster].
//
//	func TestService(t *testing.T) {
//		c := rafttest.MakeCluster(3, t, nil)
//		defer c.Close()
//
//		if err := c.Leader().Apply([]byte("x"), 0).Error(); err != nil {
//			t.Fatal(err)
//		}
//		c.WaitForReplication(1)
//		c.EnsureSame(t)
//	}
//
// [MakeClusterCustom] takes your FSM, stores and configuration. The servers log to
// the test. Helpers that wait do so for a condition: they return as soon as it
// holds, and end the test if it does not within [MakeClusterOpts].LongstopTimeout;
// [Cluster.WaitFor] does the same for a condition of yours.
//
// A [Node] is one of the servers. It can be stopped, crashed, started again on what
// its disk then holds, paused like a process by SIGSTOP, and wiped:
//
//	leader := c.LeaderNode()
//	leader.Crash()
//	index := put(c, "k", "v") // on whoever leads then
//	if err := leader.Start(); err != nil {
//		t.Fatal(err)
//	}
//	c.WaitForApplied(index)
//
// # Virtual time
//
// All of it works inside a bubble of [testing/synctest]: there a test that lets a
// cluster suffer for ten minutes takes a few seconds, and may assert on times. Make
// the cluster inside the bubble, with disks in memory, and close it before the
// bubble ends; the test's cleanup does.
//
//	synctest.Test(t, func(t *testing.T) {
//		c := rafttest.MakeClusterCustom(t, &rafttest.MakeClusterOpts{
//			Peers: 5, Bootstrap: true, Seed: 1,
//			MakeDisk: func(raft.ServerID) (*rafttest.Disk, error) { return rafttest.NewMemDisk(1), nil },
//		})
//		…
//	})
//
// # Faults
//
// The servers of a cluster are connected by a [Network], which loses, repeats,
// delays and holds up what they send; the stores of each are on a [Disk], which
// takes its time, hangs, fills up, and loses power in the middle of a write. Both
// work without a Cluster too: [Network.Join] returns a transport, and a Disk wraps
// any stores.
//
//	c.Network().SetLatency(time.Millisecond, 20*time.Millisecond)
//	c.Network().SetLoss(0.01)
//	c.Network().SetDuplication(0.01)
//	c.Network().Cut(a.Address(), b.Address()) // one way
//	a.Disk().SetLatency(0, 10*time.Millisecond)
//	a.Disk().Fail(errors.New("no space left on device"))
//
// What a fault may do is what its real counterpart may: an acknowledged write
// survives a crash, and the messages of a pipeline keep their order. A cluster must
// therefore stand all of them, in any combination, and so must a service. The one
// exception is [Disk.SetLying], with which you see whether your checks find anything.
//
// # Conformance suites
//
// [CheckLogStore], [CheckStableStore], [CheckSnapshotStore], [CheckTransport] and
// [CheckFSM] say whether an implementation keeps the contract that raft relies on.
// Call them in a test of the implementation; they take some seconds at most. Each
// check is a subtest, and says when it fails what the contract is and what becomes of
// raft if it is not kept.
//
//	func TestStore(t *testing.T) {
//		rafttest.CheckLogStore(t, func(dir string) (raft.LogStore, error) { return mystore.Open(dir) })
//	}
//
// # Simulate
//
// [Simulate] puts all of this into one call: it runs a service's FSM on a cluster in a
// bubble, under a workload and faults drawn from a seed, and checks that what
// clients were told is what happened. Two minutes of virtual time take some seconds.
//
//	func TestService(t *testing.T) {
//		for seed := range uint64(10) {
//			rafttest.Simulate(t, rafttest.SimulateOptions{
//				Seed:   seed,
//				NewFSM: func() raft.FSM { return newStore() },
//				Command: func(rng *rand.Rand, client int) []byte {
//					return fmt.Appendf(nil, "set k%d %d", rng.IntN(5), rng.IntN(100))
//				},
//				Query: func(rng *rand.Rand, client int) any { return fmt.Sprintf("k%d", rng.IntN(5)) },
//				Read:  func(fsm raft.FSM, key any) any { return fsm.(*store).get(key.(string)) },
//			})
//		}
//	}
//
// All of it runs in the bubble: it must not wait for what is outside, such as a
// socket, nor sleep while it holds a lock. Read is called while Apply is.
//
// A test with a cluster of its own can check what clients were told in the same way: it
// records their calls in a [History], and [Model.Check] holds them to the log.
package rafttest
