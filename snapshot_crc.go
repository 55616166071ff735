package raft

import (
	"encoding/binary"
	"hash/crc64"
	"sync"
)

// This file computes the checksum of a snapshot's state, which is most of the work of
// whoever reads or writes one, faster than hash/crc64 does: that waits for one step
// before the next, while the thirds of a block don't depend on each other.

var snapshotCRC = crc64.MakeTable(crc64.ECMA)

// crcThird is the size of a third of a block.
const crcThird = 1 << 10

// crcTables returns tables for a state's byte at each of its eight places.
//
// Afterwards the state is that of so many zero bytes later: eight for step, crcThird
// for leap. A CRC is linear: the state after some bytes is what becomes of the old state
// after so many zero bytes, xor what becomes of state zero after those bytes.
var crcTables = sync.OnceValue(func() *struct{ step, leap [8]crc64.Table } {
	t := new(struct{ step, leap [8]crc64.Table })
	zeros := make([]byte, crcThird)
	for place := range 8 {
		for b := range 256 {
			state := uint64(b) << (8 * place)
			t.step[place][b] = ^crc64.Update(^state, snapshotCRC, zeros[:8])
			t.leap[place][b] = ^crc64.Update(^state, snapshotCRC, zeros)
		}
	}
	return t
})

// stateCRC is the checksum of a state: hash/crc64 of polynomial ECMA. It is an io.Writer
// that never fails.
type stateCRC uint64

func (c *stateCRC) Write(p []byte) (int, error) {
	t, n := crcTables(), len(p)
	state := ^uint64(*c)
	for ; len(p) >= 3*crcThird; p = p[3*crcThird:] {
		p0, p1, p2 := (*[crcThird]byte)(p), (*[crcThird]byte)(p[crcThird:]), (*[crcThird]byte)(p[2*crcThird:])
		var s1, s2 uint64
		for i := 0; i < crcThird; i += 8 {
			state = advanceCRC(&t.step, state^binary.LittleEndian.Uint64(p0[i:]))
			s1 = advanceCRC(&t.step, s1^binary.LittleEndian.Uint64(p1[i:]))
			s2 = advanceCRC(&t.step, s2^binary.LittleEndian.Uint64(p2[i:]))
		}
		state = advanceCRC(&t.leap, state) ^ s1
		state = advanceCRC(&t.leap, state) ^ s2
	}
	*c = stateCRC(crc64.Update(^state, snapshotCRC, p))
	return n, nil
}

// advanceCRC shifts all of s for each byte: to take them from its halves is slower.
func advanceCRC(t *[8]crc64.Table, s uint64) uint64 {
	return t[0][byte(s)] ^ t[1][byte(s>>8)] ^ t[2][byte(s>>16)] ^ t[3][byte(s>>24)] ^
		t[4][byte(s>>32)] ^ t[5][byte(s>>40)] ^ t[6][byte(s>>48)] ^ t[7][s>>56]
}

// sum returns the checksum as meta.json has it.
func (c stateCRC) sum() []byte { return binary.BigEndian.AppendUint64(nil, uint64(c)) }
