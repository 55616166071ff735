package raftwal

import (
	"cmp"
	"fmt"
	"math"

	"github.com/hashicorp/raft"
)

// IsMonotonic implements [raft.MonotonicLogStore]: the entries are always consecutive.
func (s *Store) IsMonotonic() bool { return true }

// FirstIndex implements [raft.LogStore].
func (s *Store) FirstIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, ErrClosed
	}
	return s.first, nil
}

// LastIndex implements [raft.LogStore].
func (s *Store) LastIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, ErrClosed
	}
	return s.last(), nil
}

// last is the last index, 0 if there is none.
func (s *Store) last() uint64 {
	if s.next == 0 {
		return 0
	}
	return s.next - 1
}

// holder returns the segment that has an entry.
func (s *Store) holder(index uint64) *segment {
	i := len(s.segments) - 1
	for len(s.segments[i].frames) == 0 || s.segments[i].base > index {
		i--
	}
	return s.segments[i]
}

// StoreLog implements [raft.LogStore].
func (s *Store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// maxRecord bounds the entries of one record, in bytes.
const maxRecord = 64 << 20

// StoreLogs implements [raft.LogStore]: all entries, and the commit index if one is
// staged, are durable when it returns nil. If it fails none is stored, or the first ones
// of a call with more than 64 MiB. Entries must follow the last one, or be the first.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	commit := s.staged.Swap(0)
	switch {
	case s.closed:
		return ErrClosed
	case len(logs) == 0:
		return nil
	}
	if err := s.checkFollows(logs); err != nil {
		return err
	}
	for len(logs) > 0 {
		n, size := 0, 0
		for n < len(logs) && (n == 0 || size+frameSize(logs[n]) <= maxRecord) {
			size += frameSize(logs[n])
			n++
		}
		if err := s.storeRecord(logs[:n], size, commit); err != nil {
			return err
		}
		logs = logs[n:]
	}
	return nil
}

func (s *Store) checkFollows(logs []*raft.Log) error {
	if s.next > 0 && logs[0].Index != s.next {
		return fmt.Errorf("raftwal: entry %d does not follow the last one, %d; delete what is to be overwritten first", logs[0].Index, s.next-1)
	}
	for i, e := range logs {
		if e.Index == 0 || e.Index == math.MaxUint64 || e.Index != logs[0].Index+uint64(i) {
			return fmt.Errorf("raftwal: entry %d is number %d of a batch that begins with %d", e.Index, i+1, logs[0].Index)
		}
	}
	return nil
}

// frameSize is the room that an entry needs at most.
func frameSize(e *raft.Log) int { return frameHead + 40 + len(e.Extensions) + len(e.Data) }

// storeRecord stores entries in one record.
func (s *Store) storeRecord(logs []*raft.Log, size int, commit uint64) error {
	index := logs[0].Index
	last := index + uint64(len(logs)) - 1
	frames := make([]place, len(logs))
	h := head{kind: recordEntries, index: index, commit: min(commit, last), sum: uint32(len(logs))}
	if s.next == 0 {
		h.first = index
	}
	return s.write(h, size, func(b []byte, g *segment, h *head) (_ []byte, err error) {
		for i, e := range logs {
			at := len(b)
			if b, err = appendFrame(b, e, g.salt); err != nil {
				return nil, err
			}
			frames[i] = place{uint32(g.end + int64(at)), uint32(len(b) - at)}
		}
		return b, nil
	}, func(g *segment) {
		if s.next == 0 {
			s.first = index
		}
		s.next = last + 1
		g.add(index, frames)
	})
}

// DeleteRange implements [raft.LogStore]. The range must reach one end of the log. A
// suffix is gone for good when it returns nil. A prefix may come back after a crash,
// until the next write or Close.
func (s *Store) DeleteRange(min, max uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.next == 0 || min > max || max < s.first || min >= s.next:
		return nil
	case max >= s.next-1:
		return s.deleteSuffix(cmp.Or(min, 1))
	case min > s.first:
		return fmt.Errorf("raftwal: deleting %d to %d of %d to %d leaves a gap", min, max, s.first, s.next-1)
	}
	s.mu.Lock()
	s.first = max + 1
	s.mu.Unlock()
	s.noted = false
	return nil
}

func (s *Store) deleteSuffix(from uint64) error {
	h := head{kind: recordTruncate, index: from}
	return s.write(h, 0, func(b []byte, _ *segment, h *head) ([]byte, error) {
		h.commit = min(h.commit, from-1) // what comes instead is not committed
		return b, nil
	}, func(*segment) { s.truncate(from) })
}

// truncate forgets the entries from an index on.
func (s *Store) truncate(from uint64) {
	s.next = from
	if from <= s.first {
		s.first, s.next, from = 0, 0, 0 // with what was deleted at the front
	}
	for _, g := range s.segments {
		g.truncate(from)
	}
}

// StageCommitIndex implements [raft.CommitTrackingLogStore]. The index goes with the
// next StoreLogs, whether that succeeds or not.
func (s *Store) StageCommitIndex(index uint64) error {
	s.staged.Store(index)
	return nil
}

// GetCommitIndex implements [raft.CommitTrackingLogStore]. It is never above the last
// index.
func (s *Store) GetCommitIndex() (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, ErrClosed
	}
	return min(s.commit, s.last()), nil
}

// covers reports whether the segments have every entry of the log.
func (s *Store) covers() error {
	next := s.first
	for _, g := range s.segments {
		if len(g.frames) == 0 || g.next() <= s.first {
			continue
		}
		if g.base > next {
			break
		}
		next = g.next()
	}
	if next < s.next {
		return fmt.Errorf("%w: the entries from %d on, of %d to %d, are in a file that is missing", ErrCorrupt, next, s.first, s.next-1)
	}
	return nil
}
