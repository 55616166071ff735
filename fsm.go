package raft

import "io"

// FSM is the replicated state machine: the part that the user writes. It must be
// deterministic: the same entries lead to the same state on every server.
//
// All methods are called from one goroutine of the node, never two at a time, and
// must not wait for a future of the same node. The one exception is Restore during
// [NewRaft], which runs on its caller's goroutine before that goroutine exists.
type FSM interface {
	// Apply applies a committed command. Its result is what the future's
	// Response returns on the leader. The entry must not be changed or kept.
	Apply(*Log) interface{}

	// Snapshot returns a handle on the present state. It should return quickly,
	// for instance with a persistent data structure: no command is applied
	// meanwhile. The handle's Persist runs beside later calls of Apply.
	Snapshot() (FSMSnapshot, error)

	// Restore replaces the state by that of a snapshot. It must close the reader.
	Restore(snapshot io.ReadCloser) error
}

// BatchingFSM is an optional extension of [FSM] that takes several entries at
// once.
type BatchingFSM interface {
	FSM

	// ApplyBatch applies entries of type LogCommand and LogConfiguration, up to
	// Config.MaxAppendEntries of them, and returns a result for each.
	ApplyBatch([]*Log) []interface{}
}

// ConfigurationStore is an optional extension of [FSM] that is told of committed
// configurations, in order with the commands.
type ConfigurationStore interface {
	FSM

	StoreConfiguration(index uint64, configuration Configuration)
}

// FSMSnapshot is a handle on one state of the FSM.
type FSMSnapshot interface {
	// Persist writes the state to sink and closes it, or cancels it and returns
	// the error.
	Persist(sink SnapshotSink) error

	// Release is called when the handle is no longer needed.
	Release()
}
