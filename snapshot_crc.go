package raft

import (
	"encoding/binary"
	"hash/crc64"
	"sync"
)

// This file computes the checksum of a snapshot's state, which is most of the work of
// whoever reads or writes one, half as fast again as hash/crc64 does: that waits for one
// step before the next, while two halves of a block don't depend on each other.

var snapshotCRC = crc64.MakeTable(crc64.ECMA)

// crcHalf is the size of half a block.
const crcHalf = 2 << 10

// crcTables returns tables for a state's byte at each of its eight places.
//
// Afterwards the state is that of so many zero bytes later: eight for step, crcHalf for
// leap. A CRC is linear: the state after some bytes is what becomes of the old state
// after so many zero bytes, xor what becomes of state zero after those bytes.
var crcTables = sync.OnceValue(func() *struct{ step, leap [8]crc64.Table } {
	t := new(struct{ step, leap [8]crc64.Table })
	zeros := make([]byte, crcHalf)
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
	for len(p) >= 2*crcHalf {
		first, second := (*[crcHalf]byte)(p), (*[crcHalf]byte)(p[crcHalf:])
		var other uint64
		for i := 0; i < crcHalf; i += 8 {
			state = advanceCRC(&t.step, state^binary.LittleEndian.Uint64(first[i:]))
			other = advanceCRC(&t.step, other^binary.LittleEndian.Uint64(second[i:]))
		}
		state = advanceCRC(&t.leap, state) ^ other
		p = p[2*crcHalf:]
	}
	*c = stateCRC(crc64.Update(^state, snapshotCRC, p))
	return n, nil
}

func advanceCRC(t *[8]crc64.Table, state uint64) uint64 {
	lo, hi := uint32(state), uint32(state>>32)
	return t[0][byte(lo)] ^ t[1][byte(lo>>8)] ^ t[2][byte(lo>>16)] ^ t[3][lo>>24] ^
		t[4][byte(hi)] ^ t[5][byte(hi>>8)] ^ t[6][byte(hi>>16)] ^ t[7][hi>>24]
}

// sum returns the checksum as meta.json has it.
func (c stateCRC) sum() []byte { return binary.BigEndian.AppendUint64(nil, uint64(c)) }
