package rafttest

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// MockMonotonicLogStore is an in-memory [raft.MonotonicLogStore]. It refuses an
// entry that would overwrite another or leave a gap, so a test with it shows
// whether the rules for such stores are kept. Its zero value is an empty store.
type MockMonotonicLogStore struct {
	once  sync.Once
	store *raft.InmemStore

	mu sync.Mutex // held while entries are checked and stored
}

func (m *MockMonotonicLogStore) inmem() *raft.InmemStore {
	m.once.Do(func() { m.store = raft.NewInmemStore() })
	return m.store
}

// IsMonotonic returns true.
func (m *MockMonotonicLogStore) IsMonotonic() bool { return true }

// FirstIndex implements [raft.LogStore].
func (m *MockMonotonicLogStore) FirstIndex() (uint64, error) { return m.inmem().FirstIndex() }

// LastIndex implements [raft.LogStore].
func (m *MockMonotonicLogStore) LastIndex() (uint64, error) { return m.inmem().LastIndex() }

// GetLog implements [raft.LogStore].
func (m *MockMonotonicLogStore) GetLog(index uint64, log *raft.Log) error {
	return m.inmem().GetLog(index, log)
}

// StoreLog stores an entry, see StoreLogs.
func (m *MockMonotonicLogStore) StoreLog(log *raft.Log) error {
	return m.StoreLogs([]*raft.Log{log})
}

// StoreLogs stores entries. Each must directly follow the one before it; the
// first of an empty store may have any index. If one does not, none is stored.
func (m *MockMonotonicLogStore) StoreLogs(logs []*raft.Log) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, err := m.LastIndex()
	if err != nil {
		return err
	}
	for _, log := range logs {
		if last != 0 && log.Index != last+1 {
			return fmt.Errorf("log store is monotonic: entry %d after %d", log.Index, last)
		}
		last = log.Index
	}
	return m.inmem().StoreLogs(logs)
}

// DeleteRange deletes a prefix or a suffix of the log, anything else is refused
// because a gap would be left.
func (m *MockMonotonicLogStore) DeleteRange(min, max uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, err := m.FirstIndex()
	if err != nil {
		return err
	}
	last, err := m.LastIndex()
	if err != nil {
		return err
	}
	if min <= max && min > first && max < last {
		return fmt.Errorf("log store is monotonic: deleting %d to %d of %d to %d leaves a gap", min, max, first, last)
	}
	return m.inmem().DeleteRange(min, max)
}
