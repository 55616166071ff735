package raft

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft/internal/crashtest"
)

// This file tests crashes of a file snapshot store.

// snapshotCrashes lets the machine stop before each operation in the life of a store,
// and opens what its disk may have then. It returns the first thing that was wrong.
// left, if not nil, says which operations are left out: a fault in the store.
func snapshotCrashes(few int, left func(op, path string) bool) (tally crashtest.Tally, err error) {
	tally = crashtest.Tally{}
	tried := map[string]bool{}
	for limit, over := 0, false; !over; limit++ {
		fs, ops, acked, next := newCrashFS(), 0, uint64(0), "the end"
		fs.before = func(op, path string) error {
			if ops++; ops > limit {
				if ops == limit+1 {
					next = op + " " + filepath.Base(path)
				}
				return errInjected
			}
			if left != nil && left(op, path) {
				return errPretend
			}
			return nil
		}
		someSnapshots(fs, func(index uint64) { acked = index })
		over = ops <= limit
		states, all := crashtest.States(crashtest.Limit(few), uint64(limit), fs.crash)
		if all {
			tally["stops of which all states were tried"]++
		} else {
			tally["stops of which a sample was tried"]++
		}
		for _, state := range states {
			tally["states"]++
			key := fmt.Sprint(acked, state)
			if tried[key] {
				continue
			}
			tried[key] = true
			tally["different states"]++
			if err := checkReopened(state, acked); err != nil {
				return tally, fmt.Errorf("crash before operation %d, %s: %w", limit, next, err)
			}
		}
		if over && acked != 3 {
			return tally, fmt.Errorf("acknowledged up to %d only", acked)
		}
	}
	return tally, nil
}

// Whenever the machine stops, and whatever of the unsynced its disk has, the newest
// snapshot that was acknowledged is there, and every one listed is whole (D11).
func TestFileSnapshotCrash(t *testing.T) {
	tally, err := snapshotCrashes(32, nil)
	if err != nil {
		t.Error(err)
	}
	t.Log("crashes:", tally)
}

// Each sync that is left out is missed.
func TestFileSnapshotCrashFindsMissingSyncs(t *testing.T) {
	named := func(op, suffix string) func(string, string) bool {
		return func(o, path string) bool { return o == op && strings.HasSuffix(path, suffix) }
	}
	for _, tt := range []struct {
		name string
		left func(op, path string) bool
	}{
		{"the state", named("sync", stateName)},
		{"the metadata", named("sync", metaName)},
		{"the names in a snapshot", named("syncdir", tmpSuffix)},
		{"the name of a snapshot", named("syncdir", snapshotsDir)},
		{"the name of the store's directory", named("syncdir", "/node")},
		{"the name of its parent", named("syncdir", "/data")},
		{"the name of the parent's parent", func(op, path string) bool { return op == "syncdir" && path == "/" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tally, err := snapshotCrashes(8, tt.left)
			if err == nil {
				t.Errorf("the missing sync was not found in %v", tally)
			}
			t.Log(err)
		})
	}
}

// A snapshot that is removed loses its name for good before anything in it goes.
func TestFileSnapshotCrashFindsRemovalBeforeName(t *testing.T) {
	synced := 0
	tally, err := snapshotCrashes(48, func(op, path string) bool {
		if op == "mkdir" && path == "/data/node" {
			synced = 0 // another life begins
		}
		if op == "syncdir" && strings.HasSuffix(path, snapshotsDir) {
			synced++
		}
		return op == "syncdir" && strings.HasSuffix(path, snapshotsDir) && synced == 4 // the first removal of a snapshot
	})
	if err == nil {
		t.Errorf("the missing sync was not found in %v", tally)
	}
	t.Log(err)
}
