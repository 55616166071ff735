package scenarios

import (
	"encoding/json"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// machine is an FSM whose state is the list of commands that it was given.
type machine struct {
	applying  gate                          // holds Apply
	restoring gate                          // holds Restore
	persist   func(raft.SnapshotSink) error // instead of writing the state

	mu    sync.Mutex
	fail  error // of Restore, which then has lost the state
	state []string
	ever  []string // like state, but for Restore
}

func (m *machine) Apply(entry *raft.Log) any {
	m.applying.pass()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = append(m.state, string(entry.Data))
	m.ever = append(m.ever, string(entry.Data))
	return nil
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	return &picture{state: m.commands(), persist: m.persist}, nil
}

func (m *machine) Restore(snapshot io.ReadCloser) error {
	m.restoring.pass()
	defer snapshot.Close()
	if err := m.breaks(); err != nil {
		return err
	}
	var state []string
	if err := json.NewDecoder(snapshot).Decode(&state); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = state
	return nil
}

// breaks loses the state if Restore is to fail.
func (m *machine) breaks() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		m.state = nil
	}
	return m.fail
}

// failRestore makes Restore fail, until it is called with nil.
func (m *machine) failRestore(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// commands returns the state.
func (m *machine) commands() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state)
}

// everApplied returns every command that Apply was given.
func (m *machine) everApplied() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ever)
}

type picture struct {
	state   []string
	persist func(raft.SnapshotSink) error
}

func (p *picture) Persist(sink raft.SnapshotSink) error {
	if p.persist != nil {
		return p.persist(sink)
	}
	if _, err := sink.Write(encodeState(p.state...)); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

func (p *picture) Release() {}

// encodeState returns the snapshot of a machine with these commands.
func encodeState(commands ...string) []byte {
	b, err := json.Marshal(append([]string{}, commands...))
	if err != nil {
		panic(err) // strings have an encoding
	}
	return b
}
