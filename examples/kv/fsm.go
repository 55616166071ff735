package main

import (
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// fsm is the replicated state behind a lock: Raft changes it, HTTP requests read
// it. It implements [raft.BatchingFSM].
type fsm struct {
	mu       sync.RWMutex
	state    *state
	restores int // how often Restore has replaced the state
}

var _ raft.BatchingFSM = (*fsm)(nil)

func newFSM() *fsm { return &fsm{state: newState()} }

// Apply applies one command. The result is nil or, if the command can't be
// decoded, an error; then it changes nothing, on any node.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies commands under one lock. Hashing the values is most of the
// work and happens before it, so readers hardly wait.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	changes := make([]change, len(logs))
	for i, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		var err error
		if changes[i], err = prepare(l.Data); err != nil {
			results[i] = err
		}
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			f.state.apply(changes[i])
			f.state.index = l.Index
		}
	}
	return results
}

// Snapshot takes microseconds to a millisecond, whatever the state's size.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &snapshot{f.state.freeze()}, nil
}

// Restore replaces the state at once when all of the snapshot has been read and
// its hash is right. Until then, and if it fails, the old state stands.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	s, err := readSnapshot(r)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
	f.restores++
	return nil
}

// get returns the entry of key, if there is one, and the index of the state it
// is from. The value must not be changed.
func (f *fsm) get(key string) (e entry, found bool, index uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	e, found = f.state.data.get(key)
	return e, found, f.state.index
}

// member returns the HTTP address of a server, "" if it isn't known.
func (f *fsm) member(id raft.ServerID) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.members[string(id)]
}

// summary is what there is to say about the state without its content.
type summary struct {
	index    uint64
	hash     digest
	keys     int
	bytes    int64
	restores int
}

func (f *fsm) summary() summary {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return summary{
		index:    f.state.index,
		hash:     f.state.hash(),
		keys:     f.state.data.keys,
		bytes:    f.state.data.bytes,
		restores: f.restores,
	}
}
