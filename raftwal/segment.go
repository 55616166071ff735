package raftwal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
)

// segment is one file of the log. The entries in it have consecutive indexes: what was
// written and truncated again is not among them.
type segment struct {
	// Immutable.
	number uint64
	salt   uint64
	name   string
	f      file
	step   int64 // by how much the file grows at least, see growStep

	// Owned by the writer, changed under Store.mu.
	end     int64 // of the last record
	written int64 // the file has blocks up to here, behind end of no meaning
	base    uint64
	offsets []uint32 // of the frames of the entries from base on
}

// The header of a segment:
//
//	0   magic      8 bytes
//	8   number     8
//	16  salt       8
//	24  where the segment before ends, 0 if there was none    8
//	32  checksum   4, and 4 of padding
const (
	magic      = "raftwal1"
	headerSize = 40
	suffix     = ".wal"
	tmpSuffix  = ".tmp"
)

// header is what a segment says of itself.
type header struct{ number, salt, prevEnd uint64 }

func (h header) append(b []byte) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.salt)
	b = binary.LittleEndian.AppendUint64(b, h.prevEnd)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[at:], table))
	return append(b, 0, 0, 0, 0)
}

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[:8]) != magic || crc32.Checksum(b[:32], table) != binary.LittleEndian.Uint32(b[32:]) {
		return header{}, false
	}
	return header{
		number:  binary.LittleEndian.Uint64(b[8:]),
		salt:    binary.LittleEndian.Uint64(b[16:]),
		prevEnd: binary.LittleEndian.Uint64(b[24:]),
	}, true
}

func segmentName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", number, suffix))
}

func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// growStep is by how much the file of a segment grows: a flush that makes a file
// longer takes twice as long as one that does not.
const growStep = 1 << 20

// write writes a record, whose bytes buf are, behind the last one, and makes it durable.
// The caller moves end.
func (g *segment) write(buf []byte, sync bool) (written int64, err error) {
	return g.writeFrom(g.end, buf, sync)
}

// writeFrom writes bytes at an offset, makes them durable, and returns up to where the
// file has blocks now.
func (g *segment) writeFrom(at int64, buf []byte, sync bool) (written int64, err error) {
	end := at + int64(len(buf))
	written = g.written
	if end > written {
		written = end
		if int64(len(buf)) < g.step {
			written += g.step
			if _, err := g.f.WriteAt(zeros[:g.step], end); err != nil {
				return 0, err
			}
		}
	}
	if _, err := g.f.WriteAt(buf, at); err != nil {
		return 0, err
	}
	if !sync {
		return written, nil
	}
	if err := g.f.Sync(); err != nil {
		return 0, &syncError{err}
	}
	return written, nil
}

var zeros [growStep]byte

// syncError is a failed flush: what the file holds is not known any more.
type syncError struct{ error }

func (e *syncError) Unwrap() error { return e.error }

// next is the index behind the last entry of the segment.
func (g *segment) next() uint64 { return g.base + uint64(len(g.offsets)) }

// add notes the offsets of entries that follow what the segment has.
func (g *segment) add(index uint64, offsets []uint32) {
	if len(g.offsets) == 0 {
		g.base = index
	}
	g.offsets = append(g.offsets, offsets...)
}

// truncate forgets the entries from an index on.
func (g *segment) truncate(index uint64) {
	switch {
	case index <= g.base:
		g.offsets = nil
	case index < g.next():
		g.offsets = g.offsets[:index-g.base]
	}
}
