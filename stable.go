package raft

import (
	"encoding/binary"
	"fmt"
	"time"
)

// StableStore keeps a few values that must survive a crash: the current term and
// the vote.
type StableStore interface {
	// Set stores a value. When it returns nil the value survives a crash.
	Set(key []byte, val []byte) error

	// Get returns a value. For a missing key it returns nil and either no error
	// or one with the text "not found".
	Get(key []byte) ([]byte, error)

	// SetUint64 is Set for a number.
	SetUint64(key []byte, val uint64) error

	// GetUint64 returns a number, for a missing key as Get does.
	GetUint64(key []byte) (uint64, error)
}

// BatchStableStore is an optional extension of [StableStore] for stores that can
// write several values in one step.
type BatchStableStore interface {
	// SetAll stores all values, or none if it fails, as Set and SetUint64 would:
	// a number is stored as SetUint64 stores it.
	SetAll(values []StableValue) error
}

// StableValue is a key with its value for a [BatchStableStore]: Bytes, or Number
// if Bytes is nil.
type StableValue struct {
	Key    []byte
	Bytes  []byte
	Number uint64
}

// hardState is what a node must never forget (R1): its term, and whom it voted
// for in that term.
type hardState struct {
	term uint64
	vote candidate // zero: none in this term
}

// candidate is whom a vote is for. Records of hashicorp/raft have only an
// address, ours both.
type candidate struct {
	id   ServerID
	addr ServerAddress
}

// is reports whether two names stand for the same server. IDs decide where both
// have one: addresses are recycled (S9).
func (c candidate) is(d candidate) bool {
	if c.id != "" && d.id != "" {
		return c.id == d.id
	}
	return c.addr == d.addr
}

// The keys of the hard state. hashicorp/raft reads and writes the first three; the fourth
// is ours and adds the ServerID. The last one is ours too: how long promises to leaders
// have been at most, see lease.go.
var (
	keyCurrentTerm  = []byte("CurrentTerm")
	keyLastVoteCand = []byte("LastVoteCand")
	keyLastVoteTerm = []byte("LastVoteTerm")
	keyLastVoteID   = []byte("LastVoteID")
	keyLeasePromise = []byte("LeasePromise")
)

// saveHardState makes h durable. LastVoteTerm is written last and alone makes the
// vote valid, so a crash between the writes loses the vote (which nobody has been
// told of yet) and never turns an older vote into one of this term (S10). A bare
// change of term writes the term only: the vote is of an older term by that.
func saveHardState(s StableStore, h hardState) error {
	values := []StableValue{{Key: keyCurrentTerm, Number: h.term}}
	if h.vote != (candidate{}) {
		values = append(values,
			StableValue{Key: keyLastVoteCand, Bytes: []byte(h.vote.addr)},
			StableValue{Key: keyLastVoteID, Bytes: encodeVoteID(h)},
			StableValue{Key: keyLastVoteTerm, Number: h.term})
	}
	if b, ok := s.(BatchStableStore); ok {
		return b.SetAll(values)
	}
	for _, v := range values {
		var err error
		if v.Bytes != nil {
			err = s.Set(v.Key, v.Bytes)
		} else {
			err = s.SetUint64(v.Key, v.Number)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", v.Key, err)
		}
	}
	return nil
}

// loadHardState reads what saveHardState or hashicorp/raft wrote.
func loadHardState(s StableStore) (hardState, error) {
	term, err := stableUint64(s, keyCurrentTerm)
	if err != nil {
		return hardState{}, fmt.Errorf("failed to load current term: %w", err)
	}
	h := hardState{term: term}
	voteTerm, err := stableUint64(s, keyLastVoteTerm)
	if err != nil {
		return hardState{}, fmt.Errorf("failed to load last vote term: %w", err)
	}
	if voteTerm != term || voteTerm == 0 {
		return h, nil
	}
	addr, err := stableBytes(s, keyLastVoteCand)
	if err != nil {
		return hardState{}, fmt.Errorf("failed to load last vote candidate: %w", err)
	}
	if len(addr) == 0 {
		return h, nil
	}
	h.vote.addr = ServerAddress(addr)
	rec, err := stableBytes(s, keyLastVoteID)
	if err != nil {
		return hardState{}, fmt.Errorf("failed to load last vote ID: %w", err)
	}
	h.vote.id = decodeVoteID(rec, h)
	return h, nil
}

// savePromise makes durable how long a promise to a leader may be.
func savePromise(s StableStore, d time.Duration) error {
	if err := s.SetUint64(keyLeasePromise, uint64(d)); err != nil {
		return fmt.Errorf("%s: %w", keyLeasePromise, err)
	}
	return nil
}

// loadPromise returns how long a promise may be that this server has made, 0 if it has
// made none.
func loadPromise(s StableStore) (time.Duration, error) {
	d, err := stableUint64(s, keyLeasePromise)
	if err != nil {
		return 0, fmt.Errorf("failed to load lease promise: %w", err)
	}
	if d > uint64(maxPromise) {
		return 0, fmt.Errorf("lease promise of %d ns in the stable store: no promise is longer than %v", d, maxPromise)
	}
	return time.Duration(d), nil
}

// encodeVoteID is the value of LastVoteID: the term, the address with its length,
// and the ServerID.
func encodeVoteID(h hardState) []byte {
	b := binary.BigEndian.AppendUint64(nil, h.term)
	b = binary.AppendUvarint(b, uint64(len(h.vote.addr)))
	b = append(b, h.vote.addr...)
	return append(b, h.vote.id...)
}

// decodeVoteID returns the ServerID in rec if rec belongs to the vote in h, which
// it does not if hashicorp/raft has voted since.
func decodeVoteID(rec []byte, h hardState) ServerID {
	if len(rec) < 8 || binary.BigEndian.Uint64(rec) != h.term {
		return ""
	}
	n, k := binary.Uvarint(rec[8:])
	if k <= 0 || n > uint64(len(rec)-8-k) {
		return ""
	}
	rest := rec[8+k:]
	if string(rest[:n]) != string(h.vote.addr) {
		return ""
	}
	return ServerID(rest[n:])
}

func stableUint64(s StableStore, key []byte) (uint64, error) {
	v, err := s.GetUint64(key)
	if isNotFound(err) {
		return 0, nil
	}
	return v, err
}

func stableBytes(s StableStore, key []byte) ([]byte, error) {
	v, err := s.Get(key)
	if isNotFound(err) {
		return nil, nil
	}
	return v, err
}
