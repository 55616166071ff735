package raft_test

import (
	"testing"
)

// The status is published before the futures that tell of it complete.
func TestNodeStatusBeforeFutures(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		for range 500 {
			f := lead.Apply(nil, 0)
			c.must(f)
			if got := lead.CommitIndex(); got < f.Index() {
				t.Fatalf("commit index %d when the future of entry %d was done", got, f.Index())
			}
		}
	})
}
