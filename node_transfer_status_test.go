package raft_test

import (
	"testing"
	"time"
)

// When a transfer's future completes the target is known to lead.
func TestNodeTransferStatus(t *testing.T) {
	bubble(t, options{latency: 3 * time.Millisecond, sync: 10 * time.Millisecond}, func(t *testing.T, c *cluster) {
		for range 50 {
			lead, followers := c.split()
			to := followers[0]
			c.must(lead.LeadershipTransferToServer(to.id, to.addr))
			if _, id := lead.LeaderWithID(); id != to.id {
				t.Fatalf("the transfer is done, and the old leader follows %q", id)
			}
			c.converge()
		}
	})
}
