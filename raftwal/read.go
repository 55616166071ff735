package raftwal

import (
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// This file reads entries.

// GetLog implements [raft.LogStore]. Data and Extensions are the caller's own. If it
// fails, log is as it was.
func (s *Store) GetLog(index uint64, log *raft.Log) error {
	p, err := s.readPiece(index, index, piece{})
	if err != nil {
		return err
	}
	return p.entry(0, log)
}

// ReadLogs implements [raft.RangeLogStore]. Writing does not wait for visit.
func (s *Store) ReadLogs(first, last uint64, visit func(*raft.Log) bool) error {
	var p piece
	var e raft.Log
	for first <= last {
		var err error
		if p, err = s.readPiece(first, last, p); err != nil {
			return err
		}
		for i := range p.frames {
			if err := p.entry(i, &e); err != nil {
				return err
			}
			if !visit(&e) {
				return nil
			}
		}
		first += uint64(len(p.frames))
	}
	return nil
}

// ReadsLogsOf implements [raft.RangeLogStore].
func (s *Store) ReadsLogsOf() raft.LogStore { return s }

// piece is what is read of a segment at a time: a few entries, and what lies between.
type piece struct {
	g      *segment // for its name and salt, the file may be closed
	index  uint64   // of the first entry
	frames []place
	buf    []byte // from the first frame on
}

// pieceSize bounds a piece, unless an entry is larger.
const pieceSize = 256 << 10

// readPiece reads the entry at an index and some that follow it, up to last. It uses the
// memory of an earlier piece.
func (s *Store) readPiece(index, last uint64, old piece) (piece, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return piece{}, ErrClosed
	case index < s.first || index >= s.next || index == 0:
		return piece{}, raft.ErrLogNotFound
	}
	g := s.holder(index)
	frames := g.frames[index-g.base : min(last, g.next()-1)-g.base+1]
	n := 1
	for n < len(frames) && frames[n].end()-frames[0].at <= pieceSize {
		n++
	}
	p := piece{g: g, index: index, frames: append(old.frames[:0], frames[:n]...)}
	size := int(frames[n-1].end() - frames[0].at)
	p.buf = slices.Grow(old.buf[:0], size)[:size]
	if _, err := g.f.ReadAt(p.buf, int64(frames[0].at)); err != nil {
		return piece{}, fmt.Errorf("raftwal: reading entry %d: %w", index, err)
	}
	return p, nil
}

// entry decodes an entry of the piece, which aliases it.
func (p *piece) entry(i int, log *raft.Log) error {
	index, at := p.index+uint64(i), p.frames[i]
	b := p.buf[at.at-p.frames[0].at:][:at.size]
	content, _, err := frame(b, index, p.g.salt)
	if err != nil {
		return fmt.Errorf("%w: entry %d, in %s at %d, is not what was written", ErrCorrupt, index, p.g.name, at.at)
	}
	return parseEntry(content, index, log)
}
