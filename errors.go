package raft

import (
	"errors"
	"fmt"
)

// The errors that callers switch on. They are returned as they stand, never
// wrapped, so == works; their texts are part of the wire protocol and of the
// API and do not change.
var (
	// ErrLeader is kept for compatibility; nothing returns it.
	ErrLeader = errors.New("node is the leader")

	// ErrNotLeader reports a call that only the leader can serve. It had no effect.
	ErrNotLeader = errors.New("node is not the leader")

	// ErrNotVoter reports a server that would have to be a voter and is none.
	ErrNotVoter = errors.New("node is not a voter")

	// ErrLeadershipLost reports that the leader was deposed while the call was
	// under way, or stepped down, for instance because its own store failed. The
	// outcome is unknown: a later leader may still commit it.
	ErrLeadershipLost = errors.New("leadership lost while committing log")

	// ErrAbortedByRestore reports an entry that a user's Restore overtook. The
	// restored state does not have it; if the Restore fails it may still be
	// committed.
	ErrAbortedByRestore = errors.New("snapshot restored while committing log")

	// ErrRaftShutdown reports that the node has been shut down.
	ErrRaftShutdown = errors.New("raft is already shutdown")

	// ErrEnqueueTimeout reports a call that was not taken up within its
	// timeout. It had no effect.
	ErrEnqueueTimeout = errors.New("timed out enqueuing operation")

	// ErrNothingNewToSnapshot reports that nothing has been applied since the
	// node started.
	ErrNothingNewToSnapshot = errors.New("nothing new to snapshot")

	// ErrUnsupportedProtocol reports a call or a request that the configured
	// protocol version does not know.
	ErrUnsupportedProtocol = errors.New("operation not supported with current protocol version")

	// ErrCantBootstrap reports an attempt to bootstrap a server that already
	// has state.
	ErrCantBootstrap = errors.New("bootstrap only works on new clusters")

	// ErrLeadershipTransferInProgress reports a call that the leader refuses
	// while it hands its leadership over. It had no effect.
	ErrLeadershipTransferInProgress = errors.New("leadership transfer in progress")

	// ErrIncompatibleLogStore reports a LogStore without the methods that the
	// configuration asks for.
	ErrIncompatibleLogStore = errors.New("log store does not implement some required methods or malformed")

	// ErrLogNotFound is what a LogStore returns, unwrapped, for an entry that
	// it does not have.
	ErrLogNotFound = errors.New("log not found")

	// ErrTransportShutdown reports that the transport has been closed.
	ErrTransportShutdown = errors.New("transport shutdown")

	// ErrPipelineShutdown reports that the pipeline has been closed.
	ErrPipelineShutdown = errors.New("append pipeline closed")

	// ErrPipelineReplicationNotSupported reports a transport that sends one
	// AppendEntries at a time only.
	ErrPipelineReplicationNotSupported = errors.New("pipeline replication not supported")
)

// ErrEntryTooLarge reports an entry over [MaxEntrySize]. It had no effect.
var ErrEntryTooLarge = errors.New("log entry is too large")

// A StoreError is a failure of the LogStore or the StableStore given to [NewRaft].
type StoreError struct {
	Op    string // what failed: "store", "delete", "get"; "stable" for the StableStore
	Index uint64 // first entry concerned, 0 if none
	Err   error  // what the store said
}

func (e *StoreError) Error() string {
	if e.Index == 0 {
		return fmt.Sprintf("raft: store: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("raft: store: %s %d: %v", e.Op, e.Index, e.Err)
}

func (e *StoreError) Unwrap() error { return e.Err }

// isNotFound reports whether a store means "no such key or entry". Stores in
// the wild say it with errors of their own, so the text is the only common
// ground; this is the one place that looks at it.
func isNotFound(err error) bool {
	return err != nil && (errors.Is(err, ErrLogNotFound) || err.Error() == "not found")
}
