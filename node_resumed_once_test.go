package raft_test

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// Late failures of heartbeats do not make a peer seem silent again.
func TestNodeResumedOnce(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		resumed := observe[raft.ResumedHeartbeatObservation](lead)
		c.cut(lead, followers[1])
		time.Sleep(2 * time.Second)
		c.net.Heal()
		time.Sleep(2 * time.Second)
		if got := resumed(); len(got) != 1 {
			t.Errorf("resumed %d times, want once: %v", len(got), got)
		}
	})
}
