package raft

import "time"

// This file holds the messages between servers. Field names and types are the
// wire format: see docs/compatibility.md.

// RPCHeader is part of every message.
type RPCHeader struct {
	// ProtocolVersion is the version that the sender speaks.
	ProtocolVersion ProtocolVersion

	// ID is the sender's ServerID; absent from servers before v1.3.7.
	ID []byte

	// Addr is the sender's address as Transport.EncodePeer gives it; absent from
	// servers before v1.3.7.
	Addr []byte
}

// WithRPCHeader is implemented by every message.
type WithRPCHeader interface {
	GetRPCHeader() RPCHeader
}

// AppendEntriesRequest replicates entries and, without any, is a heartbeat.
type AppendEntriesRequest struct {
	RPCHeader

	Term   uint64
	Leader []byte // the same as RPCHeader.Addr, for older servers

	PrevLogEntry uint64
	PrevLogTerm  uint64

	Entries []*Log

	LeaderCommitIndex uint64

	// Lease asks, in a heartbeat, for a promise; see Config.LeaseReads. It is left out of
	// the message if false.
	Lease bool `codec:",omitempty"`

	// wire, if not empty, has a place for the encoding of each of Entries, so that
	// a batch is encoded once for all followers.
	wire entryWires
}

func (r *AppendEntriesRequest) GetRPCHeader() RPCHeader { return r.RPCHeader }

// AppendEntriesResponse answers an [AppendEntriesRequest].
type AppendEntriesResponse struct {
	RPCHeader

	Term uint64

	// LastLog is the last index of the receiver's log or snapshot.
	LastLog uint64

	Success bool

	// NoRetryBackoff tells a leader that was refused to try again at once with
	// an earlier entry.
	NoRetryBackoff bool

	// Lease is how long the receiver promises, from when it got the request, to vote for
	// nobody and not to stand; see Config.LeaseReads. It is left out of the message if 0.
	Lease time.Duration `codec:",omitempty"`
}

func (r *AppendEntriesResponse) GetRPCHeader() RPCHeader { return r.RPCHeader }

// RequestVoteRequest asks for a vote.
type RequestVoteRequest struct {
	RPCHeader

	Term      uint64
	Candidate []byte // the same as RPCHeader.Addr, for older servers

	LastLogIndex uint64
	LastLogTerm  uint64

	// LeadershipTransfer tells the receiver to vote although it knows a leader:
	// that leader itself asked the candidate to stand.
	LeadershipTransfer bool
}

func (r *RequestVoteRequest) GetRPCHeader() RPCHeader { return r.RPCHeader }

// RequestVoteResponse answers a [RequestVoteRequest].
type RequestVoteResponse struct {
	RPCHeader

	Term uint64

	// Peers is for candidates of protocol versions below 2, else nil.
	Peers []byte

	Granted bool
}

func (r *RequestVoteResponse) GetRPCHeader() RPCHeader { return r.RPCHeader }

// RequestPreVoteRequest asks whether a vote would be granted in Term (§9.6 of
// the dissertation). Nothing changes at the receiver.
type RequestPreVoteRequest struct {
	RPCHeader

	Term uint64

	LastLogIndex uint64
	LastLogTerm  uint64
}

func (r *RequestPreVoteRequest) GetRPCHeader() RPCHeader { return r.RPCHeader }

// RequestPreVoteResponse answers a [RequestPreVoteRequest].
type RequestPreVoteResponse struct {
	RPCHeader

	Term    uint64
	Granted bool
}

func (r *RequestPreVoteResponse) GetRPCHeader() RPCHeader { return r.RPCHeader }

// InstallSnapshotRequest announces a snapshot of Size bytes, which follows it.
type InstallSnapshotRequest struct {
	RPCHeader
	SnapshotVersion SnapshotVersion

	Term   uint64
	Leader []byte // the same as RPCHeader.Addr, for older servers

	// LastLogIndex and LastLogTerm name the last entry that the snapshot
	// includes.
	LastLogIndex uint64
	LastLogTerm  uint64

	Peers []byte // for snapshots of version 0

	Configuration      []byte // see EncodeConfiguration
	ConfigurationIndex uint64

	Size int64
}

func (r *InstallSnapshotRequest) GetRPCHeader() RPCHeader { return r.RPCHeader }

// InstallSnapshotResponse answers an [InstallSnapshotRequest].
type InstallSnapshotResponse struct {
	RPCHeader

	Term    uint64
	Success bool
}

func (r *InstallSnapshotResponse) GetRPCHeader() RPCHeader { return r.RPCHeader }

// TimeoutNowRequest asks the receiver to stand for election at once.
type TimeoutNowRequest struct {
	RPCHeader
}

func (r *TimeoutNowRequest) GetRPCHeader() RPCHeader { return r.RPCHeader }

// TimeoutNowResponse answers a [TimeoutNowRequest].
type TimeoutNowResponse struct {
	RPCHeader
}

func (r *TimeoutNowResponse) GetRPCHeader() RPCHeader { return r.RPCHeader }

// isHeartbeat reports whether a request has the shape by which transports know
// a heartbeat. No other request may have it.
func isHeartbeat(r *AppendEntriesRequest) bool {
	return r.Term != 0 && (r.Addr != nil || r.Leader != nil) &&
		r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}
