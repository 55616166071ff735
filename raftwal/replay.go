package raftwal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
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

// replay takes in the records of all segments.
func (s *Store) replay() error {
	var buf []byte
	for i, g := range s.segments {
		end := int64(-1) // of the last one: where the records end
		if i+1 < len(s.segments) {
			end = s.segments[i+1].end
		}
		size, err := g.f.Size()
		if err != nil {
			return err
		}
		if int64(cap(buf)) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if n, err := g.f.ReadAt(buf, 0); int64(n) < size {
			return fmt.Errorf("raftwal: %s: %w", g.name, err)
		}
		g.written = size
		if err := s.replaySegment(g, buf, end, i == 0); err != nil {
			return err
		}
	}
	return s.covers()
}

// replaySegment takes in the records in buf, the content of g, up to end, or as far as
// they are whole if end is negative.
func (s *Store) replaySegment(g *segment, buf []byte, end int64, oldest bool) error {
	for g.end = headerSize; g.end != end; {
		h, body, err := record(buf, g)
		switch {
		case err == nil && (h.kind == recordState) != (g.end == headerSize):
			err = errMisplaced
		case err == nil:
			err = s.take(g, h, body, oldest)
		}
		if errors.Is(err, errTorn) && end < 0 && g.end > headerSize {
			return g.checkTorn(buf)
		}
		if err != nil {
			return fmt.Errorf("%w: %s at %d: %w", ErrCorrupt, g.name, g.end, err)
		}
		g.end += h.size()
		if end >= 0 && g.end > end {
			return fmt.Errorf("%w: %s: a record reaches to %d, but the segment ends at %d", ErrCorrupt, g.name, g.end, end)
		}
	}
	return nil
}

var errMisplaced = errors.New("a record that does not belong there")

// record reads the record at the end of g.
func record(buf []byte, g *segment) (head, []byte, error) {
	if g.end > int64(len(buf)) {
		return head{}, nil, errTorn
	}
	h, err := parseHead(buf[g.end:], g.salt, g.end)
	if err != nil {
		return head{}, nil, err
	}
	if h.size() > int64(len(buf))-g.end {
		return head{}, nil, errTorn
	}
	body := buf[g.end+headSize:][:h.length]
	if h.kind != recordEntries && crc32.Checksum(body, table) != h.sum {
		return head{}, nil, errTorn
	}
	return h, body, nil
}

// checkTorn looks whether the record that is not whole is the last one. If another follows
// it was acknowledged, and is damaged.
func (g *segment) checkTorn(buf []byte) error {
	for at := g.end + alignment; at+headSize <= int64(len(buf)); at += alignment {
		if _, err := parseHead(buf[at:], g.salt, at); err == nil {
			return fmt.Errorf("%w: %s at %d: what was written there is gone, but what follows it at %d is not", ErrCorrupt, g.name, g.end, at)
		}
	}
	return nil
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
	}
	s.commit = h.commit
	if (s.first == 0) != (s.next == 0) || s.next > 0 && s.first >= s.next {
		return errMisplaced
	}
	return nil
}

// takeEntries checks the entries of a record and notes where they are.
func (s *Store) takeEntries(g *segment, h head, body []byte) error {
	offsets := make([]uint32, 0, min(int(h.sum), len(body)/frameHead))
	rest := body
	for i := range uint64(h.sum) {
		offsets = append(offsets, uint32(g.end)+headSize+uint32(len(body)-len(rest)))
		var err error
		if _, rest, err = frame(rest, h.index+i, g.salt); err != nil {
			return err
		}
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
	g.add(h.index, offsets)
	return nil
}
