package raftwal

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"slices"
)

// This file reads the segments when a store is opened.

// openAll opens the segments that belong together: the last one and those whose numbers
// lead up to it. What lies before a gap is of no use any more: the removal of the file
// between was durable, and that of the older one was not.
func (s *Store) openAll(names []string) (useless []string, err error) {
	for i := len(names) - 1; i >= 0; i-- {
		name := filepath.Join(s.dir, names[i])
		if len(s.segments) > 0 && segmentName(s.dir, s.segments[0].number-1) != name {
			for _, old := range names[:i+1] {
				useless = append(useless, filepath.Join(s.dir, old))
			}
			return useless, nil
		}
		g, err := s.openSegment(name)
		if err != nil {
			return nil, err
		}
		s.segments = append([]*segment{g}, s.segments...)
	}
	return nil, nil
}

// openSegment opens a file and reads its header. end is where the segment before it ends,
// until replay puts it right.
func (s *Store) openSegment(name string) (*segment, error) {
	f, err := s.fs.Open(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, errors.Join(err, f.Close())
	}
	h, ok := parseHeader(b)
	if !ok || segmentName(s.dir, h.number) != name {
		return nil, errors.Join(fmt.Errorf("%w: %s does not begin as it should", ErrCorrupt, name), f.Close())
	}
	return &segment{number: h.number, salt: h.salt, name: name, f: f, end: int64(h.prevEnd)}, nil
}

// replay takes in the records of all segments, and returns where the last one begins.
func (s *Store) replay() (last int64, err error) {
	r := reader{buffered: bufio.NewReaderSize(nil, readSize)}
	for i, g := range s.segments {
		end := int64(-1) // of the last one: where the records end
		if i+1 < len(s.segments) {
			end = s.segments[i+1].end
		}
		if g.written, err = g.f.Size(); err != nil {
			return 0, err
		}
		if last, err = s.replaySegment(g, end, i == 0, &r); err != nil {
			return 0, err
		}
	}
	return last, s.covers()
}

// replaySegment takes in the records of g, up to end, or as far as they are whole if end
// is negative.
func (s *Store) replaySegment(g *segment, end int64, oldest bool, r *reader) (last int64, err error) {
	r.seek(g, headerSize)
	for g.end = headerSize; g.end != end; {
		h, body, err := r.record(g)
		switch {
		case err == nil && (h.kind == recordState) != (g.end == headerSize):
			err = errMisplaced
		case err == nil:
			err = s.take(g, h, body, oldest)
		case err != errTorn:
			return 0, fmt.Errorf("raftwal: reading %s: %w", g.name, err)
		}
		if err == errTorn && end < 0 && g.end > headerSize {
			return last, r.checkTorn(g)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %s at %d: %w", ErrCorrupt, g.name, g.end, err)
		}
		last, g.end = g.end, g.end+h.size()
		if end >= 0 && g.end > end {
			return 0, fmt.Errorf("%w: %s: a record reaches to %d, but the segment ends at %d", ErrCorrupt, g.name, g.end, end)
		}
	}
	return last, nil
}

var errMisplaced = errors.New("a record that does not belong there")

// reader reads segments from their beginning to their end.
type reader struct {
	buffered *bufio.Reader
	body     []byte // kept for the next record
}

const readSize = 1 << 20

// seek goes to an offset.
func (r *reader) seek(g *segment, at int64) {
	r.buffered.Reset(io.NewSectionReader(g.f, at, g.written-at))
}

// record reads the record at the end of g. The body is valid until the next call. The
// error is errTorn if there is none, any other is one of reading.
func (r *reader) record(g *segment) (head, []byte, error) {
	var b [headSize]byte
	if _, err := io.ReadFull(r.buffered, b[:]); err != nil {
		return head{}, nil, atEnd(err)
	}
	h, err := parseHead(b[:], g.salt, g.end)
	if err != nil || h.size() > g.written-g.end {
		return head{}, nil, errTorn
	}
	n := int(h.size() - headSize)
	r.body = slices.Grow(r.body[:0], n)[:n]
	if _, err := io.ReadFull(r.buffered, r.body); err != nil {
		return head{}, nil, atEnd(err)
	}
	body := r.body[:h.length]
	if h.kind != recordEntries && crc32.Checksum(body, table) != h.sum {
		return head{}, nil, errTorn
	}
	return h, body, nil
}

// atEnd makes the end of a file errTorn.
func atEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errTorn
	}
	return err
}

// checkTorn looks whether the record that is not whole is the last one. If another follows
// it was acknowledged, and is damaged.
func (r *reader) checkTorn(g *segment) error {
	at := g.end + alignment
	for r.seek(g, at); ; at += alignment {
		b, err := r.buffered.Peek(headSize)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("raftwal: reading %s: %w", g.name, err)
		}
		if _, err := parseHead(b, g.salt, at); err == nil {
			return fmt.Errorf("%w: %s at %d: what was written there is gone, but what follows it at %d is not", ErrCorrupt, g.name, g.end, at)
		}
		_, _ = r.buffered.Discard(alignment) // is there
	}
}

// take takes in a record.
func (s *Store) take(g *segment, h head, body []byte, oldest bool) error {
	if s.next > 0 {
		s.first = max(s.first, h.first) // what was deleted at the front before
	}
	switch h.kind {
	case recordState:
		if oldest {
			s.first, s.next = h.first, h.index
		} else if h.index != s.next {
			return fmt.Errorf("the log ends before %d here and before %d in the file before", h.index, s.next)
		}
		clear(s.values)
		if err := parseValues(body, s.values); err != nil {
			return err
		}
	case recordValues:
		if err := parseValues(body, s.values); err != nil {
			return err
		}
	case recordTruncate:
		if h.index == 0 || h.index > s.next {
			return errMisplaced
		}
		s.truncate(h.index)
	case recordEntries:
		if err := s.takeEntries(g, h, body); err != nil {
			return err
		}
	default:
		return fmt.Errorf("a record of kind %d, which this version does not know", h.kind)
	}
	s.commit = h.commit
	if (s.first == 0) != (s.next == 0) || s.next > 0 && s.first >= s.next {
		return errMisplaced
	}
	return nil
}

// takeEntries checks the entries of a record and notes where they are.
func (s *Store) takeEntries(g *segment, h head, body []byte) error {
	frames := make([]place, 0, min(uint64(h.sum), uint64(len(body)/frameHead)))
	rest := body
	for i := range uint64(h.sum) {
		at := g.end + headSize + int64(len(body)-len(rest))
		content, next, err := frame(rest, h.index+i, g.salt)
		if err != nil {
			return err
		}
		frames = append(frames, place{uint32(at), uint32(frameHead + len(content))})
		rest = next
	}
	if len(rest) > 0 || h.sum == 0 || h.index == 0 || h.index > math.MaxUint64-uint64(h.sum) {
		return errMisplaced
	}
	if s.next > 0 && h.index != s.next {
		return fmt.Errorf("entry %d follows entry %d", h.index, s.next-1)
	}
	if s.next == 0 {
		s.first = h.index
	}
	s.next = h.index + uint64(h.sum)
	g.add(h.index, frames)
	return nil
}
