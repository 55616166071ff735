package raftwal

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
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

	written int64 // the writer's: the file has blocks up to here, behind end of no meaning

	// Changed by the writer, under Store.mu.
	end    int64 // of the last record
	base   uint64
	frames []place // of the entries from base on
}

// place is where a frame lies in a segment. maxSegment and maxFrame make it fit.
type place struct{ at, size uint32 }

func (p place) end() uint32 { return p.at + p.size }

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

// write writes bytes at an offset and makes them durable. The caller moves end.
func (g *segment) write(at int64, buf []byte, sync bool) error {
	if _, err := g.f.WriteAt(buf, at); err != nil {
		return err
	}
	if end := at + int64(len(buf)); end > g.written {
		g.written = end
		g.grow(int64(len(buf)))
	}
	if !sync {
		return nil
	}
	return g.f.Sync()
}

// grow makes the file longer than it must be, for later records, if they are small. On a
// full disk it is not, and the record has what room there was.
func (g *segment) grow(size int64) {
	if size >= g.step {
		return
	}
	if _, err := g.f.WriteAt(zeros[:g.step], g.written); err == nil {
		g.written += g.step
	}
}

var zeros [growStep]byte

// next is the index behind the last entry of the segment.
func (g *segment) next() uint64 { return g.base + uint64(len(g.frames)) }

// add notes where entries are that follow what the segment has.
func (g *segment) add(index uint64, frames []place) {
	if len(g.frames) == 0 {
		g.base = index
	}
	if cap(g.frames)-len(g.frames) < len(frames) {
		g.frames = slices.Grow(g.frames, max(len(frames), len(g.frames))) // twofold: append would copy oftener
	}
	g.frames = append(g.frames, frames...)
}

// truncate forgets the entries from an index on.
func (g *segment) truncate(index uint64) {
	switch {
	case index <= g.base:
		g.frames = nil
	case index < g.next():
		g.frames = g.frames[:index-g.base]
	}
}
