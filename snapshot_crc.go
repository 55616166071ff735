package raft

import (
	"encoding/binary"
	"hash/crc64"
)

// This file computes the checksum of a snapshot's state, which is most of the work of
// whoever reads or writes one. Where a processor multiplies polynomials, it does so
// several times as fast as hash/crc64 can.

var snapshotCRC = crc64.MakeTable(crc64.ECMA)

// stateCRC is the checksum of a state: hash/crc64 of polynomial ECMA. It is an io.Writer
// that never fails.
type stateCRC uint64

func (c *stateCRC) Write(p []byte) (int, error) {
	n := len(p)
	state := uint64(*c)
	if canFold {
		state, p = foldCRC(state, p)
	}
	*c = stateCRC(crc64.Update(state, snapshotCRC, p))
	return n, nil
}

// sum returns the checksum as meta.json has it.
func (c stateCRC) sum() []byte { return binary.BigEndian.AppendUint64(nil, uint64(c)) }
