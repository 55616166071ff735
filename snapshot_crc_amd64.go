package raft

import (
	"encoding/binary"
	"hash/crc64"

	"golang.org/x/sys/cpu"
)

// A checksum is the rest of a division of polynomials, and what precedes a place by d bits
// counts as itself times x^d: so a block can be multiplied by the rest of x^d and added
// to the block d bits behind it, and the sum has the rest that both had. That takes two
// multiplications for 16 bytes, and four such sums don't depend on each other (V. Gopal
// et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction",
// Intel, 2009).

// canFold says whether this processor has the instruction.
var canFold = cpu.X86.HasPCLMULQDQ

// foldBlock is how much one turn of foldBlocks's loop takes.
const foldBlock = 64

// foldFactors are the rests of x^n for the two halves of a sum, first to be moved by 512
// bits and then by 128. Bits are in reverse order, which makes the product of two one bit
// short: hence the odd exponents.
var foldFactors = [4]uint64{restOf(512 + 63), restOf(512 - 1), restOf(128 + 63), restOf(128 - 1)}

// restOf returns x^n modulo the polynomial. The highest bit is that of x^0.
func restOf(n int) uint64 {
	r := uint64(1) << 63
	for range n {
		carry := r & 1
		r = r>>1 ^ crc64.ECMA*carry
	}
	return r
}

// foldBlocks returns 16 bytes that have the rest of p, into whose first 8 bytes state is
// added. The length of p is a multiple of foldBlock and not zero.
//
//go:noescape
func foldBlocks(state uint64, factors *[4]uint64, p []byte) (first, last uint64)

// foldPiece is how much foldBlocks gets at a time. Go can't preempt it, and what stops the
// world waits for it, with everything else: a piece takes some microseconds.
const foldPiece = 64 << 10

// foldCRC adds as much of p to a checksum as can be folded, and returns the rest of p.
func foldCRC(crc uint64, p []byte) (uint64, []byte) {
	for len(p) >= foldBlock {
		n := min(len(p)/foldBlock*foldBlock, foldPiece)
		first, last := foldBlocks(^crc, &foldFactors, p[:n])
		var sum [16]byte
		binary.LittleEndian.PutUint64(sum[:], first)
		binary.LittleEndian.PutUint64(sum[8:], last)
		crc, p = crc64.Update(^uint64(0), snapshotCRC, sum[:]), p[n:]
	}
	return crc, p
}
