package raft

import "io"

// SnapshotMeta describes a snapshot.
type SnapshotMeta struct {
	// Version is the version of this structure.
	Version SnapshotVersion

	// ID names the snapshot in its store.
	ID string

	// Index and Term name the last entry that the snapshot includes.
	Index uint64
	Term  uint64

	// Peers is the configuration of snapshots of version 0.
	Peers []byte

	// Configuration is the membership at Index, ConfigurationIndex the index of
	// the entry that set it.
	Configuration      Configuration
	ConfigurationIndex uint64

	// Size is the length of the snapshot in bytes.
	Size int64
}

// SnapshotStore keeps snapshots of the FSM. Every method may be called from several
// goroutines at once, and several sinks may be open. The store decides how many old
// snapshots it keeps; it must keep the newest.
type SnapshotStore interface {
	// Create begins a snapshot. It becomes visible when its sink is closed.
	Create(version SnapshotVersion, index, term uint64, configuration Configuration,
		configurationIndex uint64, trans Transport) (SnapshotSink, error)

	// List returns the available snapshots, newest first: by term, then by index.
	List() ([]*SnapshotMeta, error)

	// Open returns a snapshot for reading. The reader must be closed.
	Open(id string) (*SnapshotMeta, io.ReadCloser, error)
}

// SnapshotSink takes the bytes of one snapshot. It ends with Close or Cancel;
// either may be called more than once, a Cancel after Close does nothing, and a Close
// after Cancel fails. When Close returns nil the snapshot survives a crash.
type SnapshotSink interface {
	io.WriteCloser

	// ID names the snapshot in its store.
	ID() string

	// Cancel throws away what was written.
	Cancel() error
}
