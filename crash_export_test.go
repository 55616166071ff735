package raft

import (
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft/internal/crashtest"
)

// This file is what tests outside the package need of it to let nodes crash.

// CrashFS is a file system for a FileSnapshotStore.
type CrashFS = crashFS

// NewCrashFS returns an empty file system. It calls before each operation, with a
// function that returns what a crash at this moment may leave. An operation for which
// before returns false is left out, and reports success: a fault.
func NewCrashFS(before func(op, path string, crashes func(limit int, seed uint64) []*CrashFS) bool) *CrashFS {
	c := newCrashFS()
	c.before = func(op, path string) error {
		if !before(op, path, c.crashes) {
			return errPretend
		}
		return nil
	}
	return c
}

// Crashes returns what a crash may leave.
func (c *crashFS) Crashes(limit int, seed uint64) []*CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashes(limit, seed)
}

func (c *crashFS) crashes(limit int, seed uint64) []*CrashFS {
	states, _ := crashtest.States(limit, seed, c.crashLocked)
	return states
}

// DamageInBefore changes the byte in the middle of a file. It is for before.
func (c *crashFS) DamageInBefore(path string) {
	if n, err := c.walk(path); err == nil && len(n.data) > 0 {
		n.data = slices.Clone(n.data)
		n.data[len(n.data)/2] ^= 1
	}
}

// OpenSnapshots opens the snapshots in a file system.
func (c *crashFS) OpenSnapshots() (*FileSnapshotStore, error) {
	return openFileSnapshotStore(c, "/data/node", 2, hclog.NewNullLogger())
}

// SaveHardState is what a node does when its term or vote changes.
func SaveHardState(s StableStore, term uint64, vote ServerID) error {
	h := hardState{term: term}
	if vote != "" {
		h.vote = candidate{vote, "addr-" + ServerAddress(vote)}
	}
	return saveHardState(s, h)
}

// LoadHardState is what a node knows of its term and vote when it starts.
func LoadHardState(s StableStore) (string, error) {
	h, err := loadHardState(s)
	return stateText(h), err
}
