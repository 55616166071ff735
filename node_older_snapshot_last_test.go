package raft_test

import (
	"testing"
	"time"
)

// A slow snapshot of our own does not take the place of a newer one that was installed.
func TestNodeOlderSnapshotClosedLast(t *testing.T) {
	bubble(t, options{config: trailing(2)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		lead.apply("a")
		c.converge()
		away.fsm.persist.hold()
		own := away.Snapshot()
		time.Sleep(time.Second)
		c.isolate(away)
		lead.fill(20)
		c.must(lead.Snapshot())
		c.net.Heal()
		c.converge()
		newer := away.snapshotIndex()
		away.fsm.persist.release()
		c.must(own)
		if got := away.snapshotIndex(); got != newer {
			t.Errorf("the snapshot at %d is gone, the newest is at %d", newer, got)
		}
		away.stop()
		if err := away.tryStart(); err != nil {
			t.Error(err)
		}
	})
}
