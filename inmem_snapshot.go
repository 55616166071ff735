package raft

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// InmemSnapshotStore is a [SnapshotStore] in memory, for tests. It keeps the one
// snapshot that was closed last. Its methods may be called from several goroutines
// at once; they take the embedded lock themselves.
type InmemSnapshotStore struct {
	sync.RWMutex                // guards the rest
	latest       *inmemSnapshot // nil: none yet
	lastMsec     int64          // in a snapshot's name
}

// inmemSnapshot is a finished snapshot. It is immutable, so readers share it and
// one that is being read outlives its replacement.
type inmemSnapshot struct {
	meta  SnapshotMeta
	state []byte
}

// InmemSnapshotSink is the sink of an [InmemSnapshotStore]. It is for one goroutine.
type InmemSnapshotSink struct {
	store *InmemSnapshotStore
	meta  SnapshotMeta
	state bytes.Buffer
	end   sinkEnd
}

// NewInmemSnapshotStore returns an empty store.
func NewInmemSnapshotStore() *InmemSnapshotStore { return &InmemSnapshotStore{} }

// Create begins a snapshot. The present one stays until the sink is closed.
func (m *InmemSnapshotStore) Create(version SnapshotVersion, index, term uint64, configuration Configuration,
	configurationIndex uint64, trans Transport) (SnapshotSink, error) {
	if version != SnapshotVersionMax {
		return nil, fmt.Errorf("unsupported snapshot version %d", version)
	}
	return &InmemSnapshotSink{store: m, meta: SnapshotMeta{
		Version:            version,
		ID:                 snapshotID(term, index, m.nextMsec()),
		Index:              index,
		Term:               term,
		Configuration:      configuration.Clone(),
		ConfigurationIndex: configurationIndex,
	}}, nil
}

// nextMsec returns the time, or what follows what it returned last: no two snapshots
// have one name.
func (m *InmemSnapshotStore) nextMsec() int64 {
	m.Lock()
	defer m.Unlock()
	m.lastMsec = max(time.Now().UnixMilli(), m.lastMsec+1)
	return m.lastMsec
}

// List returns the latest snapshot, if there is one.
func (m *InmemSnapshotStore) List() ([]*SnapshotMeta, error) {
	s := m.get()
	if s == nil {
		return []*SnapshotMeta{}, nil
	}
	return []*SnapshotMeta{s.metaCopy()}, nil
}

// Open opens the latest snapshot, and no other.
func (m *InmemSnapshotStore) Open(id string) (*SnapshotMeta, io.ReadCloser, error) {
	s := m.get()
	if s == nil || s.meta.ID != id {
		return nil, nil, fmt.Errorf("[ERR] snapshot: failed to open snapshot id: %s", id)
	}
	return s.metaCopy(), io.NopCloser(bytes.NewReader(s.state)), nil
}

func (m *InmemSnapshotStore) get() *inmemSnapshot {
	m.RLock()
	defer m.RUnlock()
	return m.latest
}

// metaCopy returns metadata that the caller may change.
func (s *inmemSnapshot) metaCopy() *SnapshotMeta {
	meta := s.meta
	meta.Configuration = meta.Configuration.Clone()
	return &meta
}

// Write appends to the snapshot.
func (s *InmemSnapshotSink) Write(p []byte) (int, error) {
	if s.end.done {
		return 0, errSinkEnded
	}
	return s.state.Write(p)
}

// Close makes the snapshot the latest one. After Cancel it fails.
func (s *InmemSnapshotSink) Close() error {
	return s.end.close(func() error {
		s.meta.Size = int64(s.state.Len())
		s.store.Lock()
		defer s.store.Unlock()
		if old := s.store.latest; old == nil || newerSnapshot(&old.meta, &s.meta) <= 0 {
			s.store.latest = &inmemSnapshot{meta: s.meta, state: s.state.Bytes()}
		}
		return nil
	})
}

// ID returns the snapshot's name.
func (s *InmemSnapshotSink) ID() string { return s.meta.ID }

// Cancel forgets the snapshot, unless it was closed.
func (s *InmemSnapshotSink) Cancel() error {
	return s.end.cancel(func() error {
		s.state.Reset()
		return nil
	})
}
