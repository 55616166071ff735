package raft

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ProtocolVersion is the version of the protocol between servers. Version 3 is
// the one to use; 1 and 2 serve upgrades from clusters that are older than
// ServerIDs. Version 0 is understood and can't be configured.
type ProtocolVersion int

const (
	ProtocolVersionMin ProtocolVersion = 0

	// ProtocolVersionMax is untyped, as in hashicorp/raft.
	ProtocolVersionMax = 3
)

// SnapshotVersion is the version of a snapshot's metadata. Version 1 is written,
// 0 is still read.
type SnapshotVersion int

const (
	SnapshotVersionMin SnapshotVersion = 0

	// SnapshotVersionMax is untyped, as in hashicorp/raft.
	SnapshotVersionMax = 1
)

// Config says how a node works. Start from [DefaultConfig] and set LocalID. It is
// copied by [NewRaft]; some fields can be changed later with [Raft.ReloadConfig].
type Config struct {
	// ProtocolVersion is what this node writes. It takes requests of the version
	// below, and of all above up to ProtocolVersionMax. Leave it at 3.
	ProtocolVersion ProtocolVersion

	// HeartbeatTimeout is how long a follower goes without hearing its leader
	// before it stands for election; the actual time is drawn between one and
	// two of these. Heartbeats are sent ten times as often, or three times per
	// LeaderLeaseTimeout if that is more. Reloadable.
	HeartbeatTimeout time.Duration

	// ElectionTimeout is how long a candidate waits for votes before it tries
	// again, drawn likewise; it also bounds a leadership transfer. At least
	// HeartbeatTimeout. Reloadable.
	ElectionTimeout time.Duration

	// CommitTimeout is how long a new commit index may wait to be told to idle
	// followers.
	CommitTimeout time.Duration

	// MaxAppendEntries bounds the entries in a request to a follower whose log
	// is being probed, and those that a BatchingFSM gets at once. Requests to
	// followers that keep up are bounded by bytes.
	MaxAppendEntries int

	// BatchApplyCh is accepted for compatibility. Proposals always wait in a
	// queue and are taken in batches.
	BatchApplyCh bool

	// ShutdownOnRemove makes a leader that was removed from the cluster shut
	// down; otherwise it becomes a follower.
	ShutdownOnRemove bool

	// TrailingLogs is how many of the newest entries are kept although a snapshot
	// covers them, so that followers a little behind need not receive it. A leader
	// keeps more while it sends a snapshot. Reloadable.
	TrailingLogs uint64

	// SnapshotInterval is how often the node checks whether to take a snapshot,
	// drawn between one and two of these. Reloadable.
	SnapshotInterval time.Duration

	// SnapshotThreshold is how many entries there must be since the last
	// snapshot before the node takes another. Reloadable.
	SnapshotThreshold uint64

	// LeaderLeaseTimeout is how long a leader leads on without contact to a
	// majority of the voters. At most HeartbeatTimeout.
	LeaderLeaseTimeout time.Duration

	// LocalID names this server and must not change. Below protocol version 3 it
	// must equal the transport's address.
	LocalID ServerID

	// NotifyCh receives true when this node becomes the leader and false when it
	// ceases to be, every change and in order. A slow receiver misses nothing
	// and holds nothing up.
	NotifyCh chan<- bool

	// LogOutput is where the log goes if Logger is nil; os.Stderr by default.
	LogOutput io.Writer

	// LogLevel is the level of the log if Logger is nil.
	LogLevel string

	// Logger takes the log.
	Logger hclog.Logger

	// NoSnapshotRestoreOnStart keeps NewRaft from calling FSM.Restore, for an FSM
	// that keeps its state itself. The node then starts from the newest
	// snapshot's index all the same.
	NoSnapshotRestoreOnStart bool

	// PreVoteDisabled keeps a voter from asking, before it stands for election,
	// whether it could win.
	PreVoteDisabled bool

	// LeaseReads lets this node, as leader, answer [Raft.ReadIndex] without asking
	// anyone, and as follower lets it promise its leader not to vote for others for a
	// HeartbeatTimeout. A leader reads by the promises of a majority of the voters.
	// It takes their clocks to run at rates that differ by less than a tenth, also
	// while a process is stopped or a machine suspended or moved; where that cannot be
	// relied on, leave it off. A server that has promised anything gives no vote for
	// the longest HeartbeatTimeout of its last promises when it starts again, and a
	// leader whose transfer has failed asks as without for the rest of its term.
	LeaseReads bool

	// NoLegacyTelemetry leaves out the metrics that carry a server's ID in their
	// name rather than in a label.
	NoLegacyTelemetry bool

	// RestoreCommittedLogs makes NewRaft apply the entries that are known to be
	// committed, before it returns. It needs a [CommitTrackingLogStore], else
	// NewRaft fails with [ErrIncompatibleLogStore].
	RestoreCommittedLogs bool
}

// ReloadableConfig is the part of [Config] that [Raft.ReloadConfig] can change. It
// replaces all of these fields: start from [Raft.ReloadableConfig].
type ReloadableConfig struct {
	TrailingLogs      uint64
	SnapshotInterval  time.Duration
	SnapshotThreshold uint64
	HeartbeatTimeout  time.Duration
	ElectionTimeout   time.Duration
}

// apply returns c with the reloadable fields of rc.
func (rc ReloadableConfig) apply(c Config) Config {
	c.TrailingLogs = rc.TrailingLogs
	c.SnapshotInterval = rc.SnapshotInterval
	c.SnapshotThreshold = rc.SnapshotThreshold
	c.HeartbeatTimeout = rc.HeartbeatTimeout
	c.ElectionTimeout = rc.ElectionTimeout
	return c
}

func (c *Config) reloadable() ReloadableConfig {
	return ReloadableConfig{
		TrailingLogs:      c.TrailingLogs,
		SnapshotInterval:  c.SnapshotInterval,
		SnapshotThreshold: c.SnapshotThreshold,
		HeartbeatTimeout:  c.HeartbeatTimeout,
		ElectionTimeout:   c.ElectionTimeout,
	}
}

// DefaultConfig returns a Config that is complete but for LocalID.
func DefaultConfig() *Config {
	return &Config{
		ProtocolVersion:    ProtocolVersionMax,
		HeartbeatTimeout:   1000 * time.Millisecond,
		ElectionTimeout:    1000 * time.Millisecond,
		CommitTimeout:      50 * time.Millisecond,
		MaxAppendEntries:   64,
		ShutdownOnRemove:   true,
		TrailingLogs:       10240,
		SnapshotInterval:   120 * time.Second,
		SnapshotThreshold:  8192,
		LeaderLeaseTimeout: 500 * time.Millisecond,
		LogLevel:           "DEBUG",
	}
}

// ValidateConfig reports what is wrong with a Config. The error's text is that of
// the first mistake; all of them are there by Unwrap() []error.
func ValidateConfig(config *Config) error {
	const floor = 5 * time.Millisecond
	var wrong configErrors
	check := func(ok bool, format string, args ...interface{}) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	c := config
	check(c.ProtocolVersion >= 1 && c.ProtocolVersion <= ProtocolVersionMax,
		"ProtocolVersion %d must be >= 1 and <= %d", c.ProtocolVersion, ProtocolVersionMax)
	check(c.LocalID != "", "LocalID cannot be empty")
	check(c.HeartbeatTimeout >= floor, "HeartbeatTimeout is too low")
	check(c.ElectionTimeout >= floor, "ElectionTimeout is too low")
	check(c.CommitTimeout >= time.Millisecond, "CommitTimeout is too low")
	check(c.MaxAppendEntries > 0, "MaxAppendEntries must be positive")
	check(c.MaxAppendEntries <= 1024, "MaxAppendEntries is too large")
	check(c.SnapshotInterval >= floor, "SnapshotInterval is too low")
	check(c.LeaderLeaseTimeout >= floor, "LeaderLeaseTimeout is too low")
	check(c.LeaderLeaseTimeout <= c.HeartbeatTimeout,
		"LeaderLeaseTimeout (%s) cannot be larger than heartbeat timeout (%s)", c.LeaderLeaseTimeout, c.HeartbeatTimeout)
	check(!c.LeaseReads || c.HeartbeatTimeout <= maxPromise,
		"HeartbeatTimeout (%s) cannot be larger than %s with LeaseReads", c.HeartbeatTimeout, maxPromise)
	check(c.ElectionTimeout >= c.HeartbeatTimeout,
		"ElectionTimeout (%s) must be equal or greater than Heartbeat Timeout (%s)", c.ElectionTimeout, c.HeartbeatTimeout)
	if len(wrong) > 0 {
		return wrong
	}
	return nil
}

// configErrors are the mistakes in a Config, in the order checked.
type configErrors []error

func (e configErrors) Error() string   { return e[0].Error() }
func (e configErrors) Unwrap() []error { return e }

// logger returns the Logger, or makes one.
func (c *Config) logger() hclog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	if c.LogOutput == nil {
		c.LogOutput = os.Stderr
	}
	return hclog.New(&hclog.LoggerOptions{
		Name:   "raft",
		Level:  hclog.LevelFromString(c.LogLevel),
		Output: c.LogOutput,
	})
}
