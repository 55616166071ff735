package raft

import (
	"errors"
	"io"
)

// DiscardSnapshotStore is a [SnapshotStore] that keeps nothing: a snapshot of it
// only serves to compact the log. It is for tests, and for logs whose FSM state
// may be lost: a follower that needs a snapshot can't be helped, and a restarted
// node starts with an empty FSM.
type DiscardSnapshotStore struct{}

// DiscardSnapshotSink is the sink of a [DiscardSnapshotStore].
type DiscardSnapshotSink struct{}

// NewDiscardSnapshotStore returns a DiscardSnapshotStore.
func NewDiscardSnapshotStore() *DiscardSnapshotStore { return &DiscardSnapshotStore{} }

// Create returns a sink that throws away what is written.
func (d *DiscardSnapshotStore) Create(version SnapshotVersion, index, term uint64, configuration Configuration,
	configurationIndex uint64, trans Transport) (SnapshotSink, error) {
	return &DiscardSnapshotSink{}, nil
}

// List returns none.
func (d *DiscardSnapshotStore) List() ([]*SnapshotMeta, error) { return nil, nil }

// Open fails.
func (d *DiscardSnapshotStore) Open(id string) (*SnapshotMeta, io.ReadCloser, error) {
	return nil, nil, errors.New("open is not supported")
}

func (d *DiscardSnapshotSink) Write(b []byte) (int, error) { return len(b), nil }
func (d *DiscardSnapshotSink) Close() error                { return nil }
func (d *DiscardSnapshotSink) ID() string                  { return "discard" }
func (d *DiscardSnapshotSink) Cancel() error               { return nil }
