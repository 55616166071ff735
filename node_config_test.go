package raft_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests settings: reloading, protocol versions, and what Stats says.

func TestNodeReloadConfig(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		was := lead.ReloadableConfig()
		bad := was
		bad.HeartbeatTimeout = 0
		if err := lead.ReloadConfig(bad); err == nil || lead.ReloadableConfig() != was {
			t.Errorf("error %v, settings %+v", err, lead.ReloadableConfig())
		}
		// A shorter timeout is in force at once: a dead leader is noticed by it.
		quick := was
		quick.HeartbeatTimeout, quick.ElectionTimeout = 500*time.Millisecond, 500*time.Millisecond
		for _, n := range c.nodes {
			if err := n.ReloadConfig(quick); err != nil {
				t.Fatal(err)
			}
		}
		lead.stop()
		start := time.Now()
		c.wait("a candidate", func() bool { return followers[0].State() != raft.Follower || followers[1].State() != raft.Follower })
		if took := time.Since(start); took > 2*quick.HeartbeatTimeout {
			t.Errorf("noticed after %v", took)
		}
		next := c.leader()
		// So are the settings of snapshots.
		quick.SnapshotInterval, quick.SnapshotThreshold, quick.TrailingLogs = time.Second, 10, 1
		if err := next.ReloadConfig(quick); err != nil || next.ReloadableConfig() != quick {
			t.Errorf("error %v, settings %+v", err, next.ReloadableConfig())
		}
		next.fill(20)
		time.Sleep(3 * time.Second)
		if next.snapshotIndex() == 0 || next.firstIndex() != next.LastIndex() {
			t.Errorf("snapshot %d, log %d to %d", next.snapshotIndex(), next.firstIndex(), next.LastIndex())
		}
	})
}

// A shorter HeartbeatTimeout makes a follower look at once whether its leader is alive.
func TestNodeReloadSilentLeader(t *testing.T) {
	slow := func(conf *raft.Config) { conf.HeartbeatTimeout, conf.ElectionTimeout = time.Hour, time.Hour }
	bubble(t, options{size: 1, config: slow}, func(t *testing.T, c *cluster) {
		n := c.nodes[0]
		rc := n.ReloadableConfig()
		rc.HeartbeatTimeout, rc.ElectionTimeout = time.Second, time.Second
		if err := n.ReloadConfig(rc); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		c.leader()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("elected after %v", took)
		}
	})
}

func TestNodeStats(t *testing.T) {
	bubble(t, options{config: rarely}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		x := c.add()
		x.start()
		c.must(lead.AddNonvoter(x.id, x.addr, 0, 0))
		lead.apply("a")
		c.must(lead.Snapshot())
		c.converge()
		time.Sleep(time.Second) // followers learn the commit index
		last, term := fmt.Sprint(lead.LastIndex()), fmt.Sprint(lead.CurrentTerm())
		common := map[string]string{
			"term": term, "last_log_index": last, "last_log_term": term, "commit_index": last, "applied_index": last,
			"fsm_pending": "0", "protocol_version": "3", "protocol_version_min": "0", "protocol_version_max": "3",
			"snapshot_version_min": "0", "snapshot_version_max": "1",
			"latest_configuration_index": fmt.Sprint(lead.GetConfiguration().Index()),
			"latest_configuration":       fmt.Sprintf("%+v", lead.GetConfiguration().Configuration().Servers),
			"durable_index":              last, "write_age": "0",
		}
		for _, tt := range []struct {
			node *node
			want map[string]string
		}{
			{lead, map[string]string{"state": "Leader", "num_peers": "2", "last_contact": "0", "last_snapshot_index": last, "last_snapshot_term": term}},
			{followers[0], map[string]string{"state": "Follower", "num_peers": "2", "last_snapshot_index": "0", "last_snapshot_term": "0"}},
			{x, map[string]string{"state": "Follower", "num_peers": "0"}},
		} {
			stats := tt.node.Stats()
			for _, want := range []map[string]string{common, tt.want} {
				for key, value := range want {
					if stats[key] != value {
						t.Errorf("%s: %s = %q, want %q", tt.node.id, key, stats[key], value)
					}
				}
			}
			if contact, err := time.ParseDuration(stats["last_contact"]); err != nil || contact > time.Second {
				t.Errorf("%s: last_contact %q", tt.node.id, stats["last_contact"])
			}
			if _, ok := stats["store_error"]; ok {
				t.Errorf("%s has a store_error", tt.node.id)
			}
		}
		fresh := c.add()
		fresh.start()
		if got := fresh.Stats()["last_contact"]; got != "never" {
			t.Errorf("last_contact of a server without a leader is %q", got)
		}
	})
}

// byAddress configures an old protocol version, where IDs are addresses.
func byAddress(version raft.ProtocolVersion) func(*node) {
	return func(n *node) {
		n.conf.ProtocolVersion = version
		n.conf.LocalID = raft.ServerID(n.addr)
	}
}

// Versions 1 and 2 write the entries and offer the calls of their time.
func TestNodeProtocolVersions(t *testing.T) {
	for _, tt := range []struct {
		version           raft.ProtocolVersion
		bootstrap, change raft.LogType
		addPeer, addVoter bool
	}{
		{1, raft.LogRemovePeerDeprecated, raft.LogRemovePeerDeprecated, true, false},
		{2, raft.LogRemovePeerDeprecated, raft.LogConfiguration, true, true},
		{3, raft.LogConfiguration, raft.LogConfiguration, false, true},
	} {
		t.Run(fmt.Sprint(tt.version), func(t *testing.T) {
			bubble(t, options{prepare: byAddress(tt.version)}, func(t *testing.T, c *cluster) {
				lead := c.leader()
				lead.apply("a")
				x := c.add()
				x.start()
				check := func(what string, f raft.Future, supported bool) {
					t.Helper()
					err := outcome(f)
					if supported && err != nil || !supported && err != raft.ErrUnsupportedProtocol {
						t.Errorf("%s: %v", what, err)
					}
				}
				check("AddPeer", lead.AddPeer(x.addr), tt.addPeer)
				check("AddVoter", lead.AddVoter(x.conf.LocalID, x.addr, 0, 0), tt.addVoter)
				c.expect("a")
				var e raft.Log
				if err := lead.disk.GetLog(1, &e); err != nil || e.Type != tt.bootstrap {
					t.Errorf("bootstrapped with %v, error %v, want %v", e.Type, err, tt.bootstrap)
				}
				if err := lead.disk.GetLog(lead.GetConfiguration().Index(), &e); err != nil || e.Type != tt.change {
					t.Errorf("the change was written as %v, error %v, want %v", e.Type, err, tt.change)
				}
				if got := len(x.GetConfiguration().Configuration().Servers); got != 4 {
					t.Errorf("the new server knows %d servers", got)
				}
				c.must(lead.Snapshot())
				lead.restart()
				c.wait("a leader", func() bool { return x.Leader() != "" })
				if got := len(lead.GetConfiguration().Configuration().Servers); got != 4 {
					t.Errorf("after a restart there are %d servers", got)
				}
				next := c.leader()
				gone := c.others(next)[0]
				check("RemovePeer", next.RemovePeer(gone.addr), tt.addPeer)
				check("RemoveServer", next.RemoveServer(gone.conf.LocalID, 0, 0), tt.addVoter)
				check("AddNonvoter", next.AddNonvoter("y", "y", 0, 0), tt.version == 3)
				check("DemoteVoter", next.DemoteVoter("y", 0, 0), tt.version == 3)
				check("LeadershipTransfer", next.LeadershipTransfer(), tt.version == 3)
			})
		})
	}
}

// Below version 3 the ID must be the address.
func TestNodeOldVersionNeedsAddress(t *testing.T) {
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		n := c.add()
		n.conf.ProtocolVersion = 2
		if err := n.tryStart(); err == nil {
			t.Error("started with an ID that is not the address")
		}
	})
}

// A cluster is upgraded from version 2 to 3 one server at a time.
func TestNodeUpgrade(t *testing.T) {
	bubble(t, options{prepare: byAddress(2)}, func(t *testing.T, c *cluster) {
		var want []string
		for i, n := range c.nodes {
			lead := c.leader()
			cmd := fmt.Sprint(i)
			lead.apply(cmd)
			want = append(want, cmd)
			n.stop()
			n.conf.ProtocolVersion = 3
			n.start()
			c.leader()
			c.expect(want...)
		}
		c.must(c.leader().LeadershipTransfer())
	})
}

// NewRaft leaves the caller's Config alone, and validates it.
func TestNodeConfigIsCopied(t *testing.T) {
	bubble(t, options{size: 1}, func(t *testing.T, c *cluster) {
		n := c.leader()
		n.conf.TrailingLogs = 77
		if got := n.ReloadableConfig().TrailingLogs; got == 77 {
			t.Error("the node uses the caller's Config")
		}
		x := c.add()
		x.conf.MaxAppendEntries = 0
		if err := x.tryStart(); err == nil || errors.Is(err, errPending) {
			t.Error("started with a bad Config")
		}
	})
}
