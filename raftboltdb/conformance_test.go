package raftboltdb

import (
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

func TestConformance(t *testing.T) {
	open := func(dir string) (*BoltStore, error) { return NewBoltStore(filepath.Join(dir, "raft.db")) }
	t.Run("LogStore", func(t *testing.T) {
		rafttest.CheckLogStore(t, func(dir string) (raft.LogStore, error) { return open(dir) })
	})
	t.Run("StableStore", func(t *testing.T) {
		rafttest.CheckStableStore(t, func(dir string) (raft.StableStore, error) { return open(dir) })
	})
}
