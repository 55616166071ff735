package raftwal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
)

// This file is the format of records. It owns no state.
//
// A record is a head of headSize bytes and a body, padded to a multiple of 8. The body
// of recordEntries is one frame for each entry: its length and checksum, of 4 bytes each,
// and the entry. That of the others is covered by the checksum in the head.

// kind is what a record says.
type kind byte

const (
	recordState    kind = iota + 1 // all stable values; the log is [first, index)
	recordEntries                  // the entries from index on
	recordValues                   // some stable values
	recordTruncate                 // there are no entries from index on
)

const (
	headSize  = 48
	frameHead = 8
	alignment = 8
)

// head is what every record begins with.
type head struct {
	kind   kind
	length uint32 // of the body, without padding
	sum    uint32 // of the body; for recordEntries how many there are
	index  uint64
	first  uint64 // of the log, from now on
	commit uint64 // the staged commit index
}

// errTorn is why a record does not count. At the end of the last segment it is no error.
var errTorn = errors.New("no valid record")

var table = crc32.MakeTable(crc32.Castagnoli)

// seed begins the checksum of something at a place in a segment: what lies at another
// place, or is left of another segment, does not pass. It is the finalizer of splitmix64.
func seed(salt, place uint64) uint32 {
	x := salt + (place+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32(x ^ x>>31)
}

// put writes h to b, which has headSize bytes, for a record at an offset.
func (h head) put(b []byte, salt uint64, offset int64) {
	clear(b[:headSize])
	binary.LittleEndian.PutUint64(b[40:], salt)
	b[4] = byte(h.kind)
	binary.LittleEndian.PutUint32(b[8:], h.length)
	binary.LittleEndian.PutUint32(b[12:], h.sum)
	binary.LittleEndian.PutUint64(b[16:], h.index)
	binary.LittleEndian.PutUint64(b[24:], h.first)
	binary.LittleEndian.PutUint64(b[32:], h.commit)
	binary.LittleEndian.PutUint32(b, crc32.Update(seed(salt, uint64(offset)), table, b[4:headSize]))
}

// parseHead reads the head of a record at an offset.
func parseHead(b []byte, salt uint64, offset int64) (head, error) {
	if len(b) < headSize || binary.LittleEndian.Uint64(b[40:]) != salt {
		return head{}, errTorn // of what is not a record at all, and spares the checksum
	}
	if crc32.Update(seed(salt, uint64(offset)), table, b[4:headSize]) != binary.LittleEndian.Uint32(b) {
		return head{}, errTorn
	}
	return head{
		kind:   kind(b[4]),
		length: binary.LittleEndian.Uint32(b[8:]),
		sum:    binary.LittleEndian.Uint32(b[12:]),
		index:  binary.LittleEndian.Uint64(b[16:]),
		first:  binary.LittleEndian.Uint64(b[24:]),
		commit: binary.LittleEndian.Uint64(b[32:]),
	}, nil
}

// size is what the record takes in its segment.
func (h head) size() int64 { return aligned(headSize + int64(h.length)) }

func aligned(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// appendFrame appends an entry's frame.
func appendFrame(b []byte, e *raft.Log, salt uint64) ([]byte, error) {
	at := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = binary.LittleEndian.AppendUint64(b, e.Term)
	b = append(b, byte(e.Type))
	b = binary.AppendUvarint(b, uint64(len(e.Extensions)))
	b = append(b, e.Extensions...)
	stamp := len(b)
	b = append(b, 0)
	b, err := e.AppendedAt.AppendBinary(b)
	if err != nil { // an offset from UTC that is out of range
		b, _ = e.AppendedAt.UTC().AppendBinary(b[:stamp+1])
	}
	b[stamp] = byte(len(b) - stamp - 1)
	b = append(b, e.Data...)
	content := b[at+frameHead:]
	if uint64(len(content)) > maxFrame {
		return nil, fmt.Errorf("raftwal: entry %d has %d bytes, more than %d", e.Index, len(content), uint64(maxFrame))
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(content)))
	binary.LittleEndian.PutUint32(b[at+4:], frameSum(content, e.Index, salt))
	return b, nil
}

// frameSum is the checksum of an entry.
func frameSum(content []byte, index, salt uint64) uint32 {
	return crc32.Update(seed(salt, index), table, content)
}

// maxFrame bounds an entry, so that what a place and a head say fits into 32 bits.
const maxFrame = 2 << 30

// frame cuts the frame of an entry off b and checks it.
func frame(b []byte, index, salt uint64) (content, rest []byte, err error) {
	if len(b) < frameHead {
		return nil, nil, errTorn
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if n > uint64(len(b)-frameHead) {
		return nil, nil, errTorn
	}
	content, rest = b[frameHead:frameHead+n], b[frameHead+n:]
	if frameSum(content, index, salt) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, nil, errTorn
	}
	return content, rest, nil
}

var errBadEntry = errors.New("raftwal: the entry is malformed although its checksum is right")

// parseEntry decodes an entry, which aliases b.
func parseEntry(b []byte, index uint64, e *raft.Log) error {
	if len(b) < 9 {
		return errBadEntry
	}
	l := raft.Log{Index: index, Term: binary.LittleEndian.Uint64(b), Type: raft.LogType(b[8])}
	b = b[9:]
	n, k := binary.Uvarint(b)
	if k <= 0 || n >= uint64(len(b)-k) { // a byte follows at least
		return errBadEntry
	}
	b = b[k:]
	if n > 0 {
		l.Extensions = b[:n:n]
	}
	b = b[n:]
	stamp := int(b[0])
	if stamp > len(b)-1 {
		return errBadEntry
	}
	if err := l.AppendedAt.UnmarshalBinary(b[1 : 1+stamp]); err != nil {
		return fmt.Errorf("%w: %w", errBadEntry, err)
	}
	if b = b[1+stamp:]; len(b) > 0 {
		l.Data = b[:len(b):len(b)]
	}
	if l.AppendedAt.IsZero() {
		l.AppendedAt = time.Time{}
	}
	*e = l
	return nil
}

// appendValues appends stable values.
func appendValues(b []byte, values []raft.StableValue) []byte {
	for _, v := range values {
		val := v.Bytes
		if val == nil {
			val = binary.BigEndian.AppendUint64(nil, v.Number)
		}
		b = binary.AppendUvarint(b, uint64(len(v.Key)))
		b = append(b, v.Key...)
		b = binary.AppendUvarint(b, uint64(len(val)))
		b = append(b, val...)
	}
	return b
}

// parseValues reads what appendValues wrote into values.
func parseValues(b []byte, values map[string][]byte) error {
	for len(b) > 0 {
		key, rest, ok1 := cutBytes(b)
		val, rest, ok2 := cutBytes(rest)
		if !ok1 || !ok2 {
			return errors.New("raftwal: stable values are malformed although their checksum is right")
		}
		values[string(key)] = append([]byte{}, val...)
		b = rest
	}
	return nil
}

func cutBytes(b []byte) (val, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}
