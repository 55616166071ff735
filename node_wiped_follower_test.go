package raft_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// A follower that was wiped and comes back in the same term is repaired.
func TestNodeWipedFollower(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		bubble(t, options{latency: time.Millisecond, config: trailing(5)}, func(t *testing.T, c *cluster) {
			lead, followers := c.split()
			lead.fill(20)
			if snapshot {
				c.must(lead.Snapshot())
			}
			lead.fill(3)
			c.converge()
			var sent atomic.Int64
			c.net.Intercept(func(m rafttest.Message) error {
				if _, ok := m.Request.(*raft.InstallSnapshotRequest); ok {
					sent.Add(1)
				}
				return nil
			})
			away := followers[0]
			away.stop()
			away.wipe()
			away.start()
			time.Sleep(10 * time.Second)
			if away.LastIndex() != lead.LastIndex() || sent.Load() > 2 {
				t.Errorf("snapshot=%v: the wiped follower has %d of %d after %d snapshots", snapshot, away.LastIndex(), lead.LastIndex(), sent.Load())
			}
		})
	}
}
