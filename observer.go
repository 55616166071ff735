package raft

import (
	"sync/atomic"
	"time"
)

// This file holds the observations and those who get them; notifier.go delivers.

// Observation is something that happened on a node.
type Observation struct {
	// Raft is the node.
	Raft *Raft

	// Data says what happened. It is a value of one of the types RaftState,
	// [LeaderObservation], [PeerObservation], [FailedHeartbeatObservation],
	// [ResumedHeartbeatObservation], [RequestVoteRequest], [RequestPreVoteRequest].
	Data interface{}
}

// LeaderObservation says that the node knows another leader, or none any more.
type LeaderObservation struct {
	// Leader is the same as LeaderAddr, under its former name.
	Leader ServerAddress

	LeaderAddr ServerAddress
	LeaderID   ServerID
}

// PeerObservation says that this leader began, or with Removed ceased, to replicate
// to a server.
type PeerObservation struct {
	Removed bool
	Peer    Server
}

// FailedHeartbeatObservation says that a heartbeat of this leader failed.
type FailedHeartbeatObservation struct {
	PeerID      ServerID
	LastContact time.Time
}

// ResumedHeartbeatObservation says that the first heartbeat after failures succeeded.
type ResumedHeartbeatObservation struct {
	PeerID ServerID
}

// FilterFn says whether an observer wants an observation. It must not change it, and
// delays the observations behind it while it runs.
type FilterFn func(o *Observation) bool

// Observer gets observations through a channel, see [Raft.RegisterObserver].
type Observer struct {
	channel  chan Observation
	blocking bool
	filter   FilterFn

	observed atomic.Uint64
	dropped  atomic.Uint64
}

// NewObserver returns an observer that sends what filter accepts (everything if it
// is nil) to channel, in the order in which it happened. A nil channel receives
// nothing: filter alone sees the observations.
//
// If the channel has no room, an observation waits there if blocking is set, behind
// it some thousand more, and is dropped otherwise. No observer delays the node or
// another observer. What was dropped is counted.
func NewObserver(channel chan Observation, blocking bool, filter FilterFn) *Observer {
	return &Observer{channel: channel, blocking: blocking, filter: filter}
}

// GetNumObserved returns how many observations were sent to the channel.
func (or *Observer) GetNumObserved() uint64 { return or.observed.Load() }

// GetNumDropped returns how many observations were not sent for want of room.
func (or *Observer) GetNumDropped() uint64 { return or.dropped.Load() }
