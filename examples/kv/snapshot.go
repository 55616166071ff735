package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// A snapshot is, with every number a uvarint and every string behind its length,
//
//	magic | index
//	number of members | (server ID | HTTP address) ...
//	number of keys    | (key | value) ...
//	seal (32 bytes)
//
// It is written and read as a stream. The seal, a hash of all the facts, is
// computed again by the reader, so a snapshot that lost or changed a byte is
// never restored.

const snapshotMagic = "kvsnap1\n"

// maxString bounds one string of a snapshot: what a length says that isn't
// believed. It is the largest log entry.
const maxString = 1 << 30

var errBadSnapshot = errors.New("bad snapshot")

// snapshot is a state on its way to disk.
type snapshot struct{ state *frozenState }

var _ raft.FSMSnapshot = (*snapshot)(nil)

// Persist writes the snapshot to sink and closes it, or cancels it.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := writeSnapshot(sink, s.state); err != nil {
		return errors.Join(fmt.Errorf("writing snapshot: %w", err), sink.Cancel())
	}
	return sink.Close()
}

// Release lets go of the state: what has been overwritten since can be freed.
func (s *snapshot) Release() { s.state = nil }

func writeSnapshot(w io.Writer, s *frozenState) error {
	e := encoder{w: bufio.NewWriterSize(w, 256<<10)}
	e.raw([]byte(snapshotMagic))
	e.number(s.index)
	e.number(uint64(len(s.members)))
	for id, addr := range s.members {
		e.string(id)
		e.string(addr)
	}
	e.number(uint64(s.data.keys))
	for _, shard := range s.data.shards {
		for key, entry := range shard {
			e.string(key)
			e.number(uint64(len(entry.value)))
			e.raw(entry.value)
		}
	}
	sum := seal(s.index, s.hash())
	e.raw(sum[:])
	return e.w.Flush()
}

// seal hashes the state and its index.
func seal(index uint64, state digest) [sha256.Size]byte {
	state.add(digestOf(factIndex, "", binary.AppendUvarint(nil, index)))
	return state.bytes()
}

// encoder writes the parts of a snapshot. It needs no error checks in between:
// a bufio.Writer keeps its first error and Flush returns it.
type encoder struct{ w *bufio.Writer }

func (e encoder) raw(b []byte) { e.w.Write(b) }

func (e encoder) number(n uint64) {
	e.raw(binary.AppendUvarint(e.w.AvailableBuffer(), n))
}

func (e encoder) string(s string) {
	e.number(uint64(len(s)))
	e.w.WriteString(s)
}

// readSnapshot reads all of r into a new state.
func readSnapshot(r io.Reader) (*state, error) {
	d := &decoder{r: bufio.NewReaderSize(r, 256<<10)}
	s := d.state()
	want := seal(s.index, s.hash())
	sum := d.raw(uint64(len(want)))
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", errBadSnapshot, d.err)
	}
	if !bytes.Equal(sum, want[:]) {
		return nil, fmt.Errorf("%w: its content has the seal %x, it says %x", errBadSnapshot, want, sum)
	}
	if _, err := d.r.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("%w: it goes on after its end", errBadSnapshot)
	}
	return s, nil
}

// decoder reads the parts of a snapshot. After the first error it returns zero
// values only.
type decoder struct {
	r   *bufio.Reader
	err error
}

func (d *decoder) state() *state {
	s := newState()
	if magic := d.raw(uint64(len(snapshotMagic))); d.err == nil && string(magic) != snapshotMagic {
		d.err = fmt.Errorf("it starts with %q", magic)
	}
	s.index = d.number()
	for n := d.number(); n > 0 && d.err == nil; n-- {
		id, addr := string(d.bytes()), string(d.bytes())
		s.members[id] = addr
	}
	for n := d.number(); n > 0 && d.err == nil; n-- {
		key, value := string(d.bytes()), d.bytes()
		s.data.put(key, entry{value: value, sum: digestOf(factKey, key, value)})
	}
	return s
}

func (d *decoder) number() uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d.r)
	d.fail(err)
	return n
}

func (d *decoder) bytes() []byte { return d.raw(d.number()) }

// raw reads n bytes. It allocates no more than it gets, give or take a megabyte,
// whatever n is.
func (d *decoder) raw(n uint64) []byte {
	if d.err != nil {
		return nil
	}
	if n > maxString {
		d.err = fmt.Errorf("a length of %d", n)
		return nil
	}
	if n <= 1<<20 {
		b := make([]byte, n)
		_, err := io.ReadFull(d.r, b)
		d.fail(err)
		return b
	}
	var b bytes.Buffer
	_, err := io.CopyN(&b, d.r, int64(n))
	d.fail(err)
	return bytes.Clone(b.Bytes())
}

// fail records err. The end of the stream is always too early.
func (d *decoder) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		d.err = err
	}
}
