package raft

import (
	"errors"
	"fmt"
	"strings"
)

// This file holds what the snapshot stores have in common.

// snapshotID is the name of a snapshot, in every store.
func snapshotID(term, index uint64, msec int64) string {
	return fmt.Sprintf("%d-%d-%d", term, index, msec)
}

// newerSnapshot compares two snapshots of one store; the newer is the greater one.
func newerSnapshot(a, b *SnapshotMeta) int {
	x, y := entryID{a.Index, a.Term}, entryID{b.Index, b.Term}
	switch {
	case x == y:
		return strings.Compare(a.ID, b.ID)
	case x.atLeast(y):
		return 1
	default:
		return -1
	}
}

var (
	errSinkEnded     = errors.New("snapshot sink is closed")
	errSinkCancelled = errors.New("snapshot was cancelled")
)

// sinkEnd is how a sink ends: once, by Close or by Cancel.
type sinkEnd struct {
	done bool
	err  error // what Close returns
}

// close runs finish unless the sink has ended. A repeated Close returns what the
// first did, and a Close after Cancel fails: a caller that goes by the last Close
// must never believe in a snapshot that isn't there, it would compact the log.
func (e *sinkEnd) close(finish func() error) error {
	if !e.done {
		e.done = true
		e.err = finish()
	}
	return e.err
}

// cancel runs discard unless the sink has ended.
func (e *sinkEnd) cancel(discard func() error) error {
	if e.done {
		return nil
	}
	e.done, e.err = true, errSinkCancelled
	return discard()
}
