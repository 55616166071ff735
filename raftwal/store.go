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
	// is 0. What is deleted at the front of the log gives its space back a file at a
	// time.
	SegmentSize int64

	// NoSync leaves out all flushes. A crash of the machine may then make the node
	// forget votes and entries that others count on: it is for tests.
	NoSync bool
}

const defaultSegmentSize = 64 << 20

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
// [raft.MonotonicLogStore], a [raft.CommitTrackingLogStore] and a
// [raft.BatchStableStore]. It is safe for concurrent use; reading does not wait for
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
	fresh   bool  // the last segment may be written to
	lost    error // a flush failed: nothing is written any more
	noted   bool  // the first index is on disk
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
	if options.SegmentSize < 0 {
		return nil, fmt.Errorf("raftwal: segment size %d", options.SegmentSize)
	}
	if err := os.Mkdir(options.Dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	// Whoever made the directory may not have lived to sync its name.
	if err := (osFS{}).SyncDir(filepath.Dir(options.Dir)); err != nil {
		return nil, err
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
	if !s.noted && s.lost == nil {
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
	if s.spare != nil {
		errs = append(errs, s.spare.f.Close())
	}
	return errors.Join(errs...)
}

// write makes a record durable and then publishes what it says. body appends the record's
// body to b, for a segment of that salt, and may set sum and the like in h; it takes room
// bytes at most. The caller holds s.writing.
func (s *Store) write(h head, room int, body func(b []byte, g *segment, h *head) ([]byte, error), publish func(g *segment, at int64)) error {
	switch {
	case s.closed: // only changes while writing is held
		return ErrClosed
	case s.lost != nil:
		return s.lost
	}
	g, err := s.segmentFor(headSize + int64(room) + alignment)
	if err != nil {
		return err
	}
	h.first, h.commit = max(h.first, s.first), max(h.commit, s.commit)
	buf := append(s.buf[:0], make([]byte, headSize)...)
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
	written, err := g.write(buf, s.sync)
	if err != nil {
		s.fresh = false // what lies behind its end is of no use
		if lost := new(syncError); errors.As(err, &lost) {
			s.lost = fmt.Errorf("raftwal: an earlier flush failed, reopen the store: %w", err)
		}
		return fmt.Errorf("raftwal: %s: %w", g.name, err)
	}
	s.mu.Lock()
	at := g.end
	g.end, g.written = at+h.size(), written
	s.commit = h.commit
	if publish != nil {
		publish(g, at)
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
		if g := s.segments[len(s.segments)-1]; g.end+size <= s.limit || len(g.offsets) == 0 && g.end < s.limit/2 {
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
	room, err := s.makeRoom()
	if err != nil {
		return err
	}
	g := &segment{number: h.number, salt: h.salt, f: room.f, step: s.step, end: headerSize, written: room.written, name: segmentName(s.dir, h.number)}
	state := s.state(g)
	written, err := g.writeFrom(0, append(h.append(nil), state...), s.sync)
	if err == nil {
		err = s.fs.Rename(room.name, g.name)
	}
	if err == nil && s.sync {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return errors.Join(err, room.f.Close())
	}
	g.end, g.written = headerSize+int64(len(state)), written
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, g)
	s.fresh = true
	return nil
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

// spare is a file that is not a segment, or not yet.
type spare struct {
	name    string
	f       file
	written int64
}

// makeRoom returns a file for the next segment: an old one if there is one, whose blocks
// need not be allocated again.
func (s *Store) makeRoom() (*spare, error) {
	if old := s.spare; old != nil {
		s.spare = nil
		// Its old name must be gone for good before it gets another content.
		if err := s.fs.SyncDir(s.dir); err != nil {
			return nil, errors.Join(err, old.f.Close())
		}
		return old, nil
	}
	name := filepath.Join(s.dir, "next"+tmpSuffix)
	f, err := s.fs.Create(name)
	if err != nil {
		return nil, err
	}
	return &spare{name: name, f: f}, nil
}

// removeOld removes the segments at the front that have no entries any more, but the last
// one. What fails is tried again when the store is opened.
func (s *Store) removeOld() {
	for len(s.segments) > 1 && (len(s.segments[0].offsets) == 0 || s.segments[0].next() <= s.first) {
		g := s.segments[0]
		s.mu.Lock() // until nobody reads it
		s.segments = s.segments[1:]
		s.mu.Unlock()
		s.retire(g)
	}
}

// retire keeps the file of an old segment as a spare, or removes it.
func (s *Store) retire(g *segment) {
	if s.spare == nil && g.written >= s.limit/2 {
		name := filepath.Join(s.dir, "spare"+tmpSuffix)
		if s.fs.Rename(g.name, name) == nil {
			s.spare = &spare{name: name, f: g.f, written: g.written}
			return
		}
	}
	_ = s.fs.Remove(g.name) // load removes what is left
	_ = g.f.Close()         // was only read
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
	if err := s.replay(); err != nil {
		return err
	}
	for _, name := range useless {
		if err := s.fs.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
