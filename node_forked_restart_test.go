package raft_test

import (
	"slices"
	"testing"
	"time"
)

// A node whose history was forked comes back with what it has acknowledged since.
func TestNodeForkedRestart(t *testing.T) {
	bubble(t, options{config: trailing(2), prepare: shelves}, func(t *testing.T, c *cluster) {
		old, _ := c.split()
		old.fill(20)
		c.converge()
		for _, n := range c.nodes {
			c.must(n.Snapshot()) // the next leader's newest, older than the fork's
		}
		c.isolate(old)
		if err := old.restoreTo("fork"); err == nil {
			t.Fatal("Restore without a majority succeeded")
		}
		lead := c.leaderOf(c.others(old)...)
		lead.apply("b")
		c.net.Heal()
		want := c.converge()
		acked, _ := old.disk.LastIndex()
		time.Sleep(10 * time.Second)

		c.isolate(old)
		old.restart()
		if got := old.LastIndex(); got < acked || slices.Contains(old.fsm.list(), "fork") {
			t.Errorf("last index %d after a restart, had acknowledged %d; FSM %q", got, acked, old.fsm.list())
		}
		c.net.Heal()
		c.leader().apply("z")
		c.expect(append(want, "z")...)
	})
}
