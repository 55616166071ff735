package load

import (
	"hash/crc32"
	"math/bits"
	"sync"
)

// A Machine is the state machine of one node: it remembers how many commands it has
// applied, and a digest of them that depends on their order. One goroutine applies;
// others may read meanwhile.
type Machine struct {
	mu    sync.Mutex
	state State
}

// State is all that a [Machine] knows, and thus what a snapshot of it holds.
type State struct {
	Count  uint64 // commands applied
	Digest uint64 // of their contents and order
}

// NewMachine returns a machine that has applied nothing.
func NewMachine() *Machine { return new(Machine) }

// Apply applies a command. It keeps no reference to data, and returns nil: what a
// machine answers is not what is measured.
func (m *Machine) Apply(data []byte) any {
	m.mu.Lock()
	m.state = m.state.after(data)
	m.mu.Unlock()
	return nil
}

// State returns the machine's state.
func (m *Machine) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Restore replaces the machine's state, by one from a snapshot.
func (m *Machine) Restore(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
}

// Count returns the number of commands applied.
func (m *Machine) Count() uint64 { return m.State().Count }

// Digest returns the digest of the commands applied.
func (m *Machine) Digest() uint64 { return m.State().Digest }

// castagnoli is the polynomial that processors have an instruction for: applying must
// cost nothing beside what is measured.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// after returns the state that follows s when data is applied.
func (s State) after(data []byte) State {
	const odd = 0x9e3779b97f4a7c15
	sum := uint64(crc32.Checksum(data, castagnoli))<<32 | uint64(len(data))
	return State{
		Count:  s.Count + 1,
		Digest: (bits.RotateLeft64(s.Digest, 23) ^ sum) * odd,
	}
}
