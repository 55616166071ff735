//go:build batchtest

package rafttest

import (
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

var _ raft.BatchingFSM = (*MockFSM)(nil)

// With the tag every cluster of this package batches, so its other tests cover
// the FSM within a node; this one says what the results are.
func TestApplyBatch(t *testing.T) {
	var fsm MockFSM
	conf := raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "b"}}}
	got := fsm.ApplyBatch([]*raft.Log{
		{Type: raft.LogCommand, Data: []byte("one")},
		{Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf)},
		{Type: raft.LogCommand, Data: []byte("two")},
	})
	if want := []interface{}{1, nil, 2}; !slices.Equal(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
	if logs := fsm.Logs(); len(logs) != 2 || string(logs[1]) != "two" {
		t.Errorf("commands %q", logs)
	}
	if c := fsm.storedConfigurations(); len(c) != 1 || !sameConfiguration(c[0], conf) {
		t.Errorf("configurations %v", c)
	}
}
