package rafttest

import (
	"bytes"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// This file repeats snapshots: what a leader has once sent arrives again, later, when
// the follower may have gone on. The network does that with all other requests.

// ghost is the address from which repeated snapshots are sent.
const ghost raft.ServerAddress = "ghost"

// maxSent is how many snapshots are kept for that.
const maxSent = 4

// sentSnapshots are the latest snapshots that were sent. It is safe for any goroutine.
type sentSnapshots struct {
	mu  sync.Mutex
	all []sentSnapshot
}

type sentSnapshot struct {
	to      raft.ServerAddress
	request raft.InstallSnapshotRequest
	state   []byte
}

// keep keeps a snapshot that is about to be sent, if the sender's disk still has it.
func (k *sentSnapshots) keep(from *Disk, to raft.ServerAddress, request *raft.InstallSnapshotRequest) {
	state, err := readSnapshot(from.SnapshotStore(), request)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.all) == maxSent {
		k.all = slices.Delete(k.all, 0, 1)
	}
	k.all = append(k.all, sentSnapshot{to, *request, state})
}

// list returns those that are kept.
func (k *sentSnapshots) list() []sentSnapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.all)
}

func readSnapshot(store raft.SnapshotStore, request *raft.InstallSnapshotRequest) ([]byte, error) {
	all, err := store.List()
	if err != nil {
		return nil, err
	}
	for _, meta := range all {
		if meta.Index != request.LastLogIndex || meta.Term != request.LastLogTerm {
			continue
		}
		_, source, err := store.Open(meta.ID)
		if err != nil {
			return nil, err
		}
		defer source.Close()
		return io.ReadAll(source)
	}
	return nil, raft.ErrLogNotFound
}

// repeatSnapshot delivers a snapshot once more.
func repeatSnapshot(s *simulation, _ *simServer) (func(), bool) {
	all := s.sent.list()
	if len(all) == 0 {
		return nil, false
	}
	again := all[s.rng.IntN(len(all))]
	if again.request.Size != int64(len(again.state)) {
		return nil, false // another one of the same index
	}
	s.await(func() error {
		var resp raft.InstallSnapshotResponse
		return s.net.Join(ghost).InstallSnapshot("", again.to, &again.request, &resp, bytes.NewReader(again.state))
	}, func(err error) {
		s.tracef("snapshot at %d sent to %s again: %v", again.request.LastLogIndex, again.to, err)
		if err == nil {
			s.counts.fault(FaultLateSnapshot)
		}
	})
	return nil, true
}
