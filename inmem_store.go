package raft

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

var errKeyNotFound = errors.New("not found")

// InmemStore is a [LogStore], [RangeLogStore], [StableStore] and [BatchStableStore] in
// memory, for tests: it survives nothing. It is safe for concurrent use, and its zero
// value is an empty store. It keeps the pointers to entries that it is given.
type InmemStore struct {
	mu      sync.RWMutex
	logs    []*Log // by index, gaps allowed
	values  map[string][]byte
	numbers map[string]uint64
}

// NewInmemStore returns an empty store.
func NewInmemStore() *InmemStore { return &InmemStore{} }

// FirstIndex implements [LogStore].
func (s *InmemStore) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.logs) == 0 {
		return 0, nil
	}
	return s.logs[0].Index, nil
}

// LastIndex implements [LogStore].
func (s *InmemStore) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.logs) == 0 {
		return 0, nil
	}
	return s.logs[len(s.logs)-1].Index, nil
}

// GetLog implements [LogStore]. The entry's Data is shared with the store.
func (s *InmemStore) GetLog(index uint64, log *Log) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.search(index)
	if !ok {
		return ErrLogNotFound
	}
	*log = *s.logs[i]
	return nil
}

// ReadLogs implements [RangeLogStore]. Nothing is stored or deleted meanwhile.
func (s *InmemStore) ReadLogs(first, last uint64, visit func(*Log) bool) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, _ := s.search(first)
	for ; first <= last; first++ {
		if i == len(s.logs) || s.logs[i].Index != first {
			return ErrLogNotFound
		}
		if !visit(s.logs[i]) {
			break
		}
		i++
	}
	return nil
}

// ReadsLogsOf implements [RangeLogStore].
func (s *InmemStore) ReadsLogsOf() LogStore { return s }

// StoreLog implements [LogStore].
func (s *InmemStore) StoreLog(log *Log) error { return s.StoreLogs([]*Log{log}) }

// StoreLogs implements [LogStore].
func (s *InmemStore) StoreLogs(logs []*Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range logs {
		if i, ok := s.search(l.Index); ok {
			s.logs[i] = l
		} else {
			s.logs = slices.Insert(s.logs, i, l)
		}
	}
	return nil
}

// DeleteRange implements [LogStore].
func (s *InmemStore) DeleteRange(min, max uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ := s.search(min)
	to, ok := s.search(max)
	if ok {
		to++
	}
	if from < to {
		s.logs = slices.Delete(s.logs, from, to)
	}
	return nil
}

// search returns the position of an entry, or where it would be.
func (s *InmemStore) search(index uint64) (int, bool) {
	return slices.BinarySearchFunc(s.logs, index, func(l *Log, index uint64) int {
		return cmp.Compare(l.Index, index)
	})
}

// Set implements [StableStore].
func (s *InmemStore) Set(key []byte, val []byte) error {
	return s.SetAll([]StableValue{{Key: key, Bytes: nonNil(val)}})
}

// SetUint64 implements [StableStore]. Numbers are kept apart from what Set
// stores under the same key.
func (s *InmemStore) SetUint64(key []byte, val uint64) error {
	return s.SetAll([]StableValue{{Key: key, Number: val}})
}

// SetAll implements [BatchStableStore].
func (s *InmemStore) SetAll(values []StableValue) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values, s.numbers = map[string][]byte{}, map[string]uint64{}
	}
	for _, v := range values {
		if v.Bytes != nil {
			s.values[string(v.Key)] = bytes.Clone(v.Bytes)
		} else {
			s.numbers[string(v.Key)] = v.Number
		}
	}
	return nil
}

// nonNil makes an empty value of nil, so that it stays a value.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Get implements [StableStore]. For a missing key it returns an error with the
// text "not found".
func (s *InmemStore) Get(key []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	val, ok := s.values[string(key)]
	if !ok {
		return nil, errKeyNotFound
	}
	return bytes.Clone(val), nil
}

// GetUint64 implements [StableStore]. For a missing key it returns 0 and no
// error.
func (s *InmemStore) GetUint64(key []byte) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.numbers[string(key)], nil
}

// InmemCommitTrackingStore is an [InmemStore] that is a [CommitTrackingLogStore]
// too.
type InmemCommitTrackingStore struct {
	InmemStore
	commit atomic.Uint64
}

// NewInmemCommitTrackingStore returns an empty store.
func NewInmemCommitTrackingStore() *InmemCommitTrackingStore { return &InmemCommitTrackingStore{} }

// ReadsLogsOf implements [RangeLogStore].
func (s *InmemCommitTrackingStore) ReadsLogsOf() LogStore { return s }

// StageCommitIndex implements [CommitTrackingLogStore]. The index takes effect at
// once.
func (s *InmemCommitTrackingStore) StageCommitIndex(index uint64) error {
	s.commit.Store(index)
	return nil
}

// GetCommitIndex implements [CommitTrackingLogStore]. It returns what was staged
// last.
func (s *InmemCommitTrackingStore) GetCommitIndex() (uint64, error) {
	return s.commit.Load(), nil
}
