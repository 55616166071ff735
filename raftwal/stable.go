package raftwal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// seal notes the body of a record, which follows headSize bytes of buf, in its head.
func (h *head) seal(buf []byte) {
	h.length = uint32(len(buf) - headSize)
	h.sum = crc32.Checksum(buf[headSize:], table)
}

// valueHead is the room that a value needs at most besides its key and its bytes.
const valueHead = 32

// SetAll implements [raft.BatchStableStore]. All values of a store are written again at
// the beginning of each segment; they may have 64 MiB together.
func (s *Store) SetAll(values []raft.StableValue) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	room, all := 0, 0
	for _, v := range values {
		room += len(v.Key) + len(v.Bytes) + valueHead
	}
	for key, val := range s.values {
		all += len(key) + len(val) + valueHead
	}
	if all+room > maxRecord {
		return fmt.Errorf("raftwal: %d bytes of stable values are more than %d: a store is for a few small ones", all+room, maxRecord)
	}
	var body []byte
	return s.write(head{kind: recordValues}, room, func(b []byte, _ *segment, h *head) ([]byte, error) {
		b = appendValues(b, values)
		h.seal(b)
		body = b[headSize:]
		return b, nil
	}, func(*segment) {
		_ = parseValues(body, s.values) // is what appendValues wrote
	})
}

// Set implements [raft.StableStore].
func (s *Store) Set(key, val []byte) error {
	if val == nil {
		val = []byte{}
	}
	return s.SetAll([]raft.StableValue{{Key: key, Bytes: val}})
}

// SetUint64 implements [raft.StableStore]. It stores 8 bytes, big-endian.
func (s *Store) SetUint64(key []byte, val uint64) error {
	return s.SetAll([]raft.StableValue{{Key: key, Number: val}})
}

// Get implements [raft.StableStore]. For a missing key it returns [ErrKeyNotFound].
func (s *Store) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	val, ok := s.values[string(key)]
	if !ok {
		return nil, ErrKeyNotFound
	}
	return bytes.Clone(val), nil
}

// GetUint64 implements [raft.StableStore]. For a missing key it returns
// [ErrKeyNotFound]. A value that has not 8 bytes is an error.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	val, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(val) != 8 {
		return 0, fmt.Errorf("raftwal: the value of key %q has %d bytes and is no number", key, len(val))
	}
	return binary.BigEndian.Uint64(val), nil
}
