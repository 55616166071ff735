// Package rafttest helps to test services that are built on raft: clusters in
// one process, and an FSM and a log store to put into them.
//
// The names and signatures are those of the helpers that hashicorp/raft has in
// its main package, so a test moves by a change of its import. What they return
// is an exported type here, [Cluster], with the methods of the type that is
// hidden there.
//
// A cluster runs on in-memory transports and stores, snapshots lie in the test's
// temporary directory, and the nodes log to the test. Helpers that wait do so
// for a condition: they return as soon as it holds, and fail the test if it does
// not hold within [MakeClusterOpts].LongstopTimeout.
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
package rafttest
