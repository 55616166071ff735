package node

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/interop/node/control"
)

// machine is the state machine: every command that was ever applied, in order,
// and a hash over them. It forgives nothing: a command applied twice is in it
// twice.
type machine struct {
	mu       sync.Mutex
	records  []control.Record // append-only; elements never change
	chain    [sha256.Size]byte
	restores int
}

// parseCommand reads the head of a command, "CLIENT SEQ ANYTHING".
func parseCommand(data []byte) (client, seq uint32) {
	if _, err := fmt.Sscanf(string(data[:min(len(data), 32)]), "%d %d ", &client, &seq); err != nil {
		return 0, 0
	}
	return client, seq
}

// sum hashes parts of a command or an entry, with their lengths.
func sum(parts ...[]byte) uint64 {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Apply returns the command's control.Record.
func (m *machine) Apply(l *raft.Log) interface{} {
	client, seq := parseCommand(l.Data)
	rec := control.Record{Index: l.Index, Term: l.Term, Client: client, Seq: seq, Sum: sum(l.Data)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.append(rec)
	return rec
}

func (m *machine) append(rec control.Record) {
	m.records = append(m.records, rec)
	m.chain = sha256.Sum256(append(m.chain[:], encodeRecord(rec)...))
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	return image(m.applied()), nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	var fresh machine
	in := bufio.NewReader(r)
	for buf := make([]byte, recordSize); ; {
		if _, err := io.ReadFull(in, buf); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("snapshot after %d records: %w", len(fresh.records), err)
		}
		fresh.append(decodeRecord(buf))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records, m.chain = fresh.records, fresh.chain
	m.restores++
	return nil
}

// applied returns all records; the slice must not be changed.
func (m *machine) applied() []control.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[:len(m.records):len(m.records)]
}

// describe fills in the part of a status that the machine knows.
func (m *machine) describe(st *control.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st.Count = len(m.records)
	st.Chain = hex.EncodeToString(m.chain[:8])
	st.Installs = m.restores
	if st.Count > 0 {
		st.Applied = m.records[st.Count-1].Index
	}
}

// forgetRestores makes describe count restores from now on.
func (m *machine) forgetRestores() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restores = 0
}

// image is a snapshot: the records that there were.
type image []control.Record

// Persist implements raft.FSMSnapshot.
func (s image) Persist(sink raft.SnapshotSink) error {
	out := bufio.NewWriter(sink)
	for _, rec := range s {
		if _, err := out.Write(encodeRecord(rec)); err != nil {
			_ = sink.Cancel()
			return err
		}
	}
	if err := out.Flush(); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s image) Release() {}

const recordSize = 8 + 8 + 4 + 4 + 8

func encodeRecord(r control.Record) []byte {
	b := make([]byte, 0, recordSize)
	b = binary.BigEndian.AppendUint64(b, r.Index)
	b = binary.BigEndian.AppendUint64(b, r.Term)
	b = binary.BigEndian.AppendUint32(b, r.Client)
	b = binary.BigEndian.AppendUint32(b, r.Seq)
	return binary.BigEndian.AppendUint64(b, r.Sum)
}

func decodeRecord(b []byte) control.Record {
	return control.Record{
		Index:  binary.BigEndian.Uint64(b[0:]),
		Term:   binary.BigEndian.Uint64(b[8:]),
		Client: binary.BigEndian.Uint32(b[16:]),
		Seq:    binary.BigEndian.Uint32(b[20:]),
		Sum:    binary.BigEndian.Uint64(b[24:]),
	}
}
