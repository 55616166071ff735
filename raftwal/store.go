package raftwal

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// Options say how New opens a store.
type Options struct {
	// Dir is the directory of the files. It is made if it does not exist; the directory
	// that it is in must exist.
	Dir string

	// SegmentSize is the size in bytes from which on a new file is begun; 64 MiB if it
	// is 0, 1 GiB at most. What is deleted at the front of the log gives its space back
	// a file at a time.
	SegmentSize int64

	// NoSync leaves out all flushes. A crash of the machine may then make the node
	// forget votes and entries that others count on, or leave a directory that can't be
	// opened: it is for tests.
	NoSync bool
}

const (
	defaultSegmentSize = 64 << 20
	maxSegment         = 1 << 30
)

var (
	// ErrKeyNotFound is what [Store.Get] and [Store.GetUint64] return for a key that
	// the store does not have. Its text is known to every version of raft.
	ErrKeyNotFound = errors.New("not found")

	// ErrClosed is what every call returns after Close.
	ErrClosed = errors.New("raftwal: the store is closed")

	// ErrLocked is what opening a directory returns that another store has open.
	ErrLocked = errors.New("raftwal: the directory is in use by another store")

	// ErrCorrupt is wrapped by the error about a file that does not hold what was
	// written to it. Take the server out of the cluster and add it again empty, or
	// restore the directory.
	ErrCorrupt = errors.New("raftwal: the log is damaged")
)

// Store is a [raft.LogStore] and a [raft.StableStore] in a directory. It is also a
// [raft.RangeLogStore], a [raft.MonotonicLogStore], a [raft.CommitTrackingLogStore] and
// a [raft.BatchStableStore]. It is safe for concurrent use; reading does not wait for
// writing.
type Store struct {
	// Immutable.
	dir     string
	limit   int64 // of a segment
	step    int64 // by how much files grow
	sync    bool
	fs      fileSystem
	release func() error // unlocks the directory

	// staged is the commit index for the next StoreLogs, 0 if there is none.
	staged atomic.Uint64

	// writing is held by a call that writes, throughout. It guards these.
	writing sync.Mutex
	buf     []byte
	fresh   bool // the last segment may be written to
	noted   bool // the first index is on disk
	spare   *spare

	// mu guards what is read, which changes only when it is durable.
	mu       sync.RWMutex
	segments []*segment // oldest first
	first    uint64     // the log is [first, next)
	next     uint64
	commit   uint64
	values   map[string][]byte
	closed   bool
}

var (
	_ raft.LogStore               = (*Store)(nil)
	_ raft.RangeLogStore          = (*Store)(nil)
	_ raft.MonotonicLogStore      = (*Store)(nil)
	_ raft.CommitTrackingLogStore = (*Store)(nil)
	_ raft.StableStore            = (*Store)(nil)
	_ raft.BatchStableStore       = (*Store)(nil)
)

// Open is New with defaults.
func Open(dir string) (*Store, error) { return New(Options{Dir: dir}) }

// New opens a store, which must not be open elsewhere. It reads all of the log, to find
// its end and to see that it is whole.
func New(options Options) (*Store, error) {
	if options.SegmentSize < 0 || options.SegmentSize > maxSegment {
		return nil, fmt.Errorf("raftwal: a segment size of %d is not between 0 and %d", options.SegmentSize, maxSegment)
	}
	if options.Dir == "" {
		return nil, errors.New("raftwal: no directory is given")
	}
	if err := makeDir(filepath.Clean(options.Dir), !options.NoSync); err != nil {
		return nil, fmt.Errorf("raftwal: %w", err)
	}
	release, err := lock(filepath.Join(options.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	s, err := openStore(options, osFS{})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	s.release = release
	return s, nil
}

// makeDir makes the directory if it does not exist, and its name durable: who made it
// may not have lived to see to that. If it was there and its parent can't be read, that
// is somebody else's affair.
func makeDir(dir string, sync bool) error {
	made := os.Mkdir(dir, 0o700)
	switch {
	case made != nil && !errors.Is(made, os.ErrExist):
		return made
	case !sync:
		return nil
	}
	err := osFS{}.SyncDir(filepath.Dir(dir))
	if made != nil && errors.Is(err, os.ErrPermission) {
		return nil
	}
	return err
}

func openStore(options Options, fsys fileSystem) (*Store, error) {
	s := &Store{
		dir: options.Dir, limit: options.SegmentSize, step: growStep, sync: !options.NoSync, fs: fsys,
		release: func() error { return nil },
		values:  make(map[string][]byte), noted: true,
	}
	if s.limit == 0 {
		s.limit = defaultSegmentSize
	}
	s.step = min(s.step, s.limit)
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

// Close writes what is left to note and closes the files.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.RLock()
	closed := s.closed
	s.mu.RUnlock()
	if closed {
		return nil
	}
	var err error
	if !s.noted {
		err = s.write(head{kind: recordValues}, 0, nil, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return errors.Join(err, s.closeFiles(), s.release())
}

func (s *Store) closeFiles() error {
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.f.Close())
	}
	return errors.Join(errs...)
}

// write makes a record durable and then publishes what it says. body appends the record's
// body to b, for that segment, and may change h; it takes room bytes at most. The caller
// holds s.writing.
//
// If it fails the record may be in the file, whole or in part. So the next one goes into
// another segment, which notes that this one ends before it. That holds for a failed
// flush too: everything before was flushed on its own.
func (s *Store) write(h head, room int, body func(b []byte, g *segment, h *head) ([]byte, error), publish func(*segment)) error {
	if s.closed { // only changes while writing is held
		return ErrClosed
	}
	g, err := s.segmentFor(headSize + int64(room) + alignment)
	if err != nil {
		return err
	}
	h.first, h.commit = max(h.first, s.first), max(h.commit, s.commit)
	buf := append(slices.Grow(s.buf[:0], headSize+room+alignment), make([]byte, headSize)...)
	if body != nil {
		if buf, err = body(buf, g, &h); err != nil {
			return err
		}
	}
	h.length = uint32(len(buf) - headSize)
	buf = append(buf, make([]byte, int(h.size())-len(buf))...)
	h.put(buf, g.salt, g.end)
	if cap(buf) <= maxKept {
		s.buf = buf
	}
	if err := g.write(g.end, buf, s.sync); err != nil {
		s.fresh = false
		return fmt.Errorf("raftwal: writing to %s: %w", g.name, err)
	}
	s.mu.Lock()
	g.end += h.size()
	s.commit = h.commit
	if publish != nil {
		publish(g)
	}
	s.mu.Unlock()
	s.noted = true
	s.removeOld()
	return nil
}

// maxKept is the largest buffer that is kept for the next record.
const maxKept = 8 << 20

// segmentFor returns the segment for a record of at most so many bytes.
func (s *Store) segmentFor(size int64) (*segment, error) {
	if s.fresh {
		if g := s.segments[len(s.segments)-1]; g.end+size <= s.limit || len(g.frames) == 0 && g.end < s.limit/2 {
			return g, nil
		}
	}
	if err := s.roll(); err != nil {
		return nil, fmt.Errorf("raftwal: beginning a segment: %w", err)
	}
	return s.segments[len(s.segments)-1], nil
}

// roll begins a segment. If it fails nothing may be added to the last one any more: the
// file of the new one may be there, and says where the last one ends.
func (s *Store) roll() error {
	s.fresh = false
	h := header{number: 1, salt: newSalt()}
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		h.number, h.prevEnd = last.number+1, uint64(last.end)
	}
	g := &segment{number: h.number, salt: h.salt, step: s.step, name: segmentName(s.dir, h.number)}
	begin := append(h.append(nil), s.state(g)...)
	g.end = int64(len(begin))
	if err := s.install(g, begin); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, g)
	s.fresh = true
	return nil
}

// install makes the file of a segment, which has its name only when begin is in it, and
// durable. A file is renamed while it is closed: not every system does it otherwise.
func (s *Store) install(g *segment, begin []byte) error {
	name, err := s.makeRoom(g)
	if err != nil {
		return err
	}
	err = errors.Join(g.write(0, begin, s.sync), g.f.Close())
	if err == nil {
		err = s.fs.Rename(name, g.name)
	}
	if err == nil && s.sync {
		err = s.fs.SyncDir(s.dir)
	}
	if err == nil {
		g.f, err = s.fs.Open(g.name)
	}
	if err != nil {
		_ = s.fs.Remove(name) // on a full disk its room counts; it may have been renamed
	}
	return err
}

// state is the record that begins a segment.
func (s *Store) state(g *segment) []byte {
	var all []raft.StableValue
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		all = append(all, raft.StableValue{Key: []byte(key), Bytes: s.values[key]})
	}
	buf := appendValues(make([]byte, headSize), all)
	h := head{kind: recordState, index: s.next, first: s.first, commit: s.commit}
	h.seal(buf)
	buf = append(buf, make([]byte, int(h.size())-len(buf))...)
	h.put(buf, g.salt, headerSize)
	return buf
}

// spare is the file of an old segment. It is closed.
type spare struct {
	name    string
	written int64
}

// makeRoom opens a file for a segment, and returns its name: an old one if there is one,
// whose blocks need not be allocated again.
func (s *Store) makeRoom(g *segment) (name string, err error) {
	old := s.spare
	if old == nil {
		name = filepath.Join(s.dir, "next"+tmpSuffix)
		g.f, err = s.fs.Create(name)
		return name, err
	}
	s.spare = nil
	if s.sync {
		// Its old name must be gone for good before it gets another content.
		if err := s.fs.SyncDir(s.dir); err != nil {
			return "", err
		}
	}
	g.written = old.written
	g.f, err = s.fs.Open(old.name)
	return old.name, err
}

// removeOld removes the segments at the front that have no entries any more, but the last
// one. What fails is tried again when the store is opened.
func (s *Store) removeOld() {
	for len(s.segments) > 1 && (len(s.segments[0].frames) == 0 || s.segments[0].next() <= s.first) {
		g := s.segments[0]
		s.mu.Lock() // until nobody reads it
		s.segments = s.segments[1:]
		s.mu.Unlock()
		s.retire(g)
	}
}

// retire keeps the file of an old segment as a spare, or removes it.
func (s *Store) retire(g *segment) {
	_ = g.f.Close() // was only read since the last flush
	if s.spare == nil && g.written >= s.limit/2 {
		name := filepath.Join(s.dir, "spare"+tmpSuffix)
		if s.fs.Rename(g.name, name) == nil {
			s.spare = &spare{name: name, written: g.written}
			return
		}
	}
	_ = s.fs.Remove(g.name) // what is left is removed after the next opening
}

// load reads the segments.
func (s *Store) load() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	var found []string
	for _, name := range names {
		switch filepath.Ext(name) {
		case tmpSuffix:
			if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
				return err
			}
		case suffix:
			found = append(found, name)
		}
	}
	slices.SortFunc(found, strings.Compare)
	useless, err := s.openAll(found)
	if err != nil {
		return err
	}
	last, err := s.replay()
	if err != nil {
		return err
	}
	if err := s.settle(last); err != nil {
		return fmt.Errorf("raftwal: making durable what was read: %w", err)
	}
	for _, name := range useless {
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// settle makes durable what was read and may not be: a process that was killed leaves a
// record, the last one, or a name that was not flushed. A flush that failed even leaves
// what no flush takes to the disk any more, unless it is written again.
func (s *Store) settle(last int64) error {
	if !s.sync || len(s.segments) == 0 {
		return nil
	}
	g := s.segments[len(s.segments)-1]
	buf := make([]byte, g.end-last)
	if _, err := g.f.ReadAt(buf, last); err != nil {
		return err
	}
	if err := g.write(last, buf, true); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}
