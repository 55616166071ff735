package rafttest

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// MockFSM remembers every command that it applied. Its zero value is ready to
// use. The mutex guards all of it: a test may hold it to hold the node's FSM up.
type MockFSM struct {
	sync.Mutex
	logs           [][]byte
	configurations []raft.Configuration
}

// Apply remembers the command and returns how many there are, an int.
func (m *MockFSM) Apply(log *raft.Log) interface{} {
	m.Lock()
	defer m.Unlock()
	return m.apply(log)
}

// apply needs the lock.
func (m *MockFSM) apply(log *raft.Log) int {
	m.logs = append(m.logs, bytes.Clone(log.Data))
	return len(m.logs)
}

// Logs returns the commands applied, oldest first. The caller owns the slice but
// not the commands.
func (m *MockFSM) Logs() [][]byte {
	m.Lock()
	defer m.Unlock()
	return slices.Clone(m.logs)
}

// Snapshot returns a [MockSnapshot].
func (m *MockFSM) Snapshot() (raft.FSMSnapshot, error) {
	return &MockSnapshot{logs: m.Logs()}, nil
}

// Restore replaces the commands by those of a [MockSnapshot].
func (m *MockFSM) Restore(snapshot io.ReadCloser) error {
	defer snapshot.Close()
	var logs [][]byte
	if err := json.NewDecoder(snapshot).Decode(&logs); err != nil {
		return err
	}
	m.Lock()
	defer m.Unlock()
	m.logs = logs
	return nil
}

// storeConfiguration needs the lock, as apply does.
func (m *MockFSM) storeConfiguration(c raft.Configuration) {
	m.configurations = append(m.configurations, c.Clone())
}

func (m *MockFSM) storedConfigurations() []raft.Configuration {
	m.Lock()
	defer m.Unlock()
	return slices.Clone(m.configurations)
}

// MockSnapshot is the state of a [MockFSM] at the time of its Snapshot.
type MockSnapshot struct {
	logs [][]byte
}

// Persist writes the commands and closes the sink, or cancels it.
func (s *MockSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s.logs); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

// Release does nothing.
func (s *MockSnapshot) Release() {}

// MockFSMConfigStore is a [raft.ConfigurationStore]: a [MockFSM], in FSM, that
// remembers configurations as well.
type MockFSMConfigStore struct {
	raft.FSM
}

// StoreConfiguration remembers the configuration; [Cluster.EnsureSame] compares
// what the servers were told. It does nothing if there is no MockFSM in FSM.
func (m *MockFSMConfigStore) StoreConfiguration(_ uint64, configuration raft.Configuration) {
	mock := mockFSM(m.FSM)
	if mock == nil {
		return
	}
	mock.Lock()
	defer mock.Unlock()
	mock.storeConfiguration(configuration)
}

// WrappingFSM is an FSM around another one. A test's own FSM that wraps a
// [MockFSM] implements it so that the cluster's helpers find the MockFSM.
type WrappingFSM interface {
	Underlying() raft.FSM
}

// mockFSM returns the MockFSM within an FSM, nil if there is none.
func mockFSM(fsm raft.FSM) *MockFSM {
	for {
		switch f := fsm.(type) {
		case *MockFSM:
			return f
		case *MockFSMConfigStore:
			fsm = f.FSM
		case WrappingFSM:
			fsm = f.Underlying()
		default:
			return nil
		}
	}
}
