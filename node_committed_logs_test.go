package raft_test

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests Config.RestoreCommittedLogs.

func restoring(conf *raft.Config) {
	rarely(conf)
	conf.RestoreCommittedLogs = true
}

// cached puts a log cache before the disk.
func cached(n *node) { n.logs, _ = raft.NewLogCache(512, n.disk) }

// NewRaft returns when the entries that are known to be committed have been applied,
// without a leader: many of them (D6), behind a snapshot or not, through a log cache or not,
// and with the configurations among them.
func TestNodeRestoreCommittedLogs(t *testing.T) {
	for name, prepare := range map[string]func(*node){"store": nil, "cache": cached} {
		t.Run(name, func(t *testing.T) {
			bubble(t, options{config: restoring, prepare: prepare}, func(t *testing.T, c *cluster) {
				lead, followers := c.split()
				lead.fill(10)
				c.must(lead.Snapshot())
				lead.fill(10000)
				change := lead.AddNonvoter("x", "x", 0, 0)
				c.must(change)
				lead.apply("y") // stores the commit index that covers the change
				lead.apply("z")
				want := c.converge()
				for _, n := range c.nodes {
					n.stop()
				}
				for _, n := range append(followers, lead) {
					n.start()
					got := n.fsm.list()
					if len(got) < len(want)-2 || !slices.Equal(got, want[:len(got)]) {
						t.Errorf("%s starts with %d commands of %d", n.id, len(got), len(want))
					}
					if n.CommitIndex() < change.Index() || n.suffrage("x") != "Nonvoter" || !n.RestoreCommittedLogs {
						t.Errorf("%s: commit %d, configuration %v", n.id, n.CommitIndex(), n.GetConfiguration().Configuration())
					}
					n.stop() // nobody has helped it
				}
				for _, n := range c.nodes {
					n.start()
				}
				c.leader().apply("end")
				c.expect(append(want, "end")...)
			})
		})
	}
}

// What is not known to be committed is not applied.
func TestNodeUncommittedIsNotRestored(t *testing.T) {
	bubble(t, options{config: restoring}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.apply("a")
		c.isolate(lead)
		lead.Apply([]byte("lost"), 0)
		time.Sleep(100 * time.Millisecond)
		lead.stop()
		lead.start()
		if got := lead.fsm.list(); slices.Contains(got, "lost") {
			t.Errorf("restored %q", got)
		}
		c.leaderOf(c.others(lead)...).apply("b")
		c.net.Heal()
		c.expect("a", "b")
	})
}

// A store that does not track the commit index is refused.
func TestNodeIncompatibleLogStore(t *testing.T) {
	bubble(t, options{size: 1, config: restoring}, func(t *testing.T, c *cluster) {
		n := c.leader()
		n.apply("a")
		n.stop()
		n.logs = plainStore{n.disk}
		if err := n.tryStart(); err != raft.ErrIncompatibleLogStore {
			t.Errorf("NewRaft: %v, want %v", err, raft.ErrIncompatibleLogStore)
		}
		n.logs, _ = raft.NewLogCache(16, plainStore{n.disk})
		if err := n.tryStart(); err != raft.ErrIncompatibleLogStore {
			t.Errorf("NewRaft with a cache: %v, want %v", err, raft.ErrIncompatibleLogStore)
		}
	})
}

type plainStore struct{ raft.LogStore }
