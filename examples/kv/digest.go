package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// A digest is a hash of a set of facts that does not depend on their order: the
// sum of the SHA-256 of each, in four lanes of 64 bits that wrap around. So it
// is kept up to date in constant time when one fact is added or taken away, and
// two nodes that hold the same facts have the same digest.
//
// It finds nodes that differ by accident. It is no proof against someone who
// chooses keys and values in order to deceive it.
type digest [4]uint64

// The kinds of facts, so that a member never looks like a key.
const (
	factKey    = 'k'
	factMember = 'm'
	factIndex  = 'i'
)

// digestOf hashes one fact. The key's length goes first, so that moving a byte
// between key and value makes another fact.
func digestOf(kind byte, key string, value []byte) digest {
	head := make([]byte, 0, 1+binary.MaxVarintLen64+len(key))
	head = append(head, kind)
	head = binary.AppendUvarint(head, uint64(len(key)))
	head = append(head, key...)
	h := sha256.New()
	h.Write(head)
	h.Write(value)
	return digestFrom([sha256.Size]byte(h.Sum(nil)))
}

func digestFrom(b [sha256.Size]byte) (d digest) {
	for i := range d {
		d[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return d
}

func (d digest) bytes() (b [sha256.Size]byte) {
	for i, lane := range d {
		binary.BigEndian.PutUint64(b[8*i:], lane)
	}
	return b
}

func (d *digest) add(fact digest) {
	for i := range d {
		d[i] += fact[i]
	}
}

func (d *digest) remove(fact digest) {
	for i := range d {
		d[i] -= fact[i]
	}
}

func (d digest) String() string {
	b := d.bytes()
	return hex.EncodeToString(b[:])
}

// etag is the digest of one key and value as an HTTP entity tag.
func (d digest) etag() string { return fmt.Sprintf("%q", d.String()) }
