package raft

import (
	"bytes"
	"hash/crc64"
	"math/rand/v2"
	"testing"
)

// The checksum is that of hash/crc64, however the state comes.
func TestStateCRC(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	state := make([]byte, 200<<10) // several pieces, see foldPiece
	for i := range state {
		state[i] = byte(random.Uint32())
	}
	for range 100 {
		part := state[random.IntN(len(state)):]
		want := crc64.New(snapshotCRC)
		var got stateCRC
		for len(part) > 0 {
			n := min(len(part), 1+random.IntN(1<<random.IntN(19)))
			_, _ = want.Write(part[:n])
			if m, err := got.Write(part[:n]); m != n || err != nil {
				t.Fatal(m, err)
			}
			part = part[n:]
			if !bytes.Equal(got.sum(), want.Sum(nil)) {
				t.Fatalf("%x after %d bytes with %d to go, want %x", got.sum(), n, len(part), want.Sum(nil))
			}
		}
	}
}

func BenchmarkStateCRC(b *testing.B) {
	state := make([]byte, snapshotBuffer)
	b.SetBytes(64 << 10)
	var crc stateCRC
	for b.Loop() {
		_, _ = crc.Write(state)
	}
}
