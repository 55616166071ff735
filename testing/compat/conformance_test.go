package compat

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// How the stores of hashicorp/raft's users deviate from the contracts that the
// suites check. A deviation that is gone fails the test: take it off the list.
var deviations = map[string][]rafttest.CheckOption{
	"raft-boltdb": {
		rafttest.Deviation("ReusedLogKeepsData", "GetLog decodes into the Data that the Log has; this library passes a new Log every time"),
	},
	"raft-wal": {
		rafttest.Deviation("DeletePrefix", keptSegment),
		rafttest.Deviation("DeleteBeyondTheEnds", lostSegment),
		rafttest.Deviation("RandomOperations", keptSegment+"; "+lostSegment),
		rafttest.Deviation("ReplaceSuffix", lostSegment),
		rafttest.Deviation("DeleteSuffix", lostSegment),
		rafttest.Deviation("DeleteMany", lostSegment),
		rafttest.RareDeviation("ReadersBesideAWriter", closedSegment),
	},
}

const (
	// This library never reads below FirstIndex.
	keptSegment = "v0.4.0 still returns the deleted entries of a prefix until their segment goes"

	// A leader that meets it sends the entry at the next attempt.
	closedSegment = "v0.4.0 may close the segment that GetLog reads from when a prefix is deleted"

	// A server that has removed a conflicting suffix must not be restarted with it
	// before a snapshot or a full segment has replaced what is left.
	lostSegment = "v0.4.0 does not seal the segment that it cuts a suffix from, and after a restart can't read the rest of it"
)

func TestStoresConform(t *testing.T) {
	for name, open := range stores {
		t.Run(name+"/LogStore", func(t *testing.T) {
			rafttest.CheckLogStore(t, func(dir string) (raft.LogStore, error) { return open(dir) }, deviations[name]...)
		})
		t.Run(name+"/StableStore", func(t *testing.T) {
			rafttest.CheckStableStore(t, func(dir string) (raft.StableStore, error) { return open(dir) })
		})
	}
}
