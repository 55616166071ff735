package raft

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// This file owns the directory of snapshots:
//
//	base/snapshots/TERM-INDEX-MILLISECONDS/meta.json   what the snapshot is, and its checksum
//	base/snapshots/TERM-INDEX-MILLISECONDS/state.bin   what the FSM wrote
//	base/snapshots/....tmp/                            not a snapshot: being written, being removed, or a leftover
//
// A name without .tmp is the promise that the snapshot is whole. It is given by a
// rename after everything inside is durable, and taken back by a rename before
// anything inside is removed, so at no moment does a crash leave half a snapshot
// under such a name.

const (
	snapshotsDir   = "snapshots"
	metaName       = "meta.json"
	stateName      = "state.bin"
	permTestName   = "permTest"
	tmpSuffix      = ".tmp"
	snapshotBuffer = 64 << 10
)

// tmpName matches the directories that this store makes and may clean up.
var tmpName = regexp.MustCompile(`^\d+-\d+-\d+\` + tmpSuffix + `$`)

// FileSnapshotStore is a [SnapshotStore] in a directory of the local file system.
// It keeps the newest few snapshots. What was closed without an error survives a
// crash. Its methods may be called from several goroutines at once.
//
// Opening, listing and reading change nothing on disk. What a crash left behind of
// unfinished snapshots is removed when the next snapshot is finished.
type FileSnapshotStore struct {
	dir    string // base/snapshots, absolute
	retain int
	logger hclog.Logger
	fs     fileSystem

	buffer int   // of a sink, see stateWriter
	flush  int64 // likewise

	mu        sync.Mutex
	leftovers []string        // paths of .tmp directories to be removed
	suspects  map[string]bool // snapshots that somebody failed to read

	// names is held by who lists the snapshots and, exclusively, by who gives one its
	// name or takes it: a directory that changes while it is read may show neither the
	// old snapshot nor the new one.
	names sync.RWMutex
}

// FileSnapshotSink writes one snapshot of a [FileSnapshotStore]. It is for one
// goroutine.
type FileSnapshotSink struct {
	store *FileSnapshotStore
	meta  fileSnapshotMeta
	tmp   string // the directory until it is renamed

	state file
	w     *stateWriter // of state
	end   sinkEnd
}

// fileSnapshotMeta is the content of meta.json. The order of the fields is that of
// the file.
type fileSnapshotMeta struct {
	SnapshotMeta
	CRC []byte
}

// liveSinks holds the .tmp directories that a sink of this process writes, whoever
// opened its store: several stores may be open on one directory, and none may take
// another's snapshot for a leftover.
var liveSinks = struct {
	sync.Mutex
	dirs map[liveSink]bool
}{dirs: make(map[liveSink]bool)}

type liveSink struct {
	fs  fileSystem
	tmp string
}

// NewFileSnapshotStore is [NewFileSnapshotStoreWithLogger] with a logger that writes
// to logOutput, os.Stderr if nil.
func NewFileSnapshotStore(base string, retain int, logOutput io.Writer) (*FileSnapshotStore, error) {
	return NewFileSnapshotStoreWithLogger(base, retain, snapshotLogger(logOutput))
}

// NewFileSnapshotStoreWithLogger opens the snapshots in the directory base/snapshots,
// which is created if missing, and keeps the newest retain of them. It fails if that
// directory can't be read or written. A nil logger stands for one to os.Stderr.
func NewFileSnapshotStoreWithLogger(base string, retain int, logger hclog.Logger) (*FileSnapshotStore, error) {
	if logger == nil {
		logger = snapshotLogger(nil)
	}
	return openFileSnapshotStore(osFS{}, base, retain, logger)
}

func snapshotLogger(output io.Writer) hclog.Logger {
	if output == nil {
		output = os.Stderr
	}
	return hclog.New(&hclog.LoggerOptions{Name: "snapshot", Output: output, Level: hclog.DefaultLevel})
}

func openFileSnapshotStore(fsys fileSystem, base string, retain int, logger hclog.Logger) (*FileSnapshotStore, error) {
	if retain < 1 {
		return nil, errors.New("must retain at least one snapshot")
	}
	dir, err := filepath.Abs(filepath.Join(base, snapshotsDir))
	if err != nil {
		return nil, fmt.Errorf("snapshot path not accessible: %w", err)
	}
	s := &FileSnapshotStore{dir: dir, retain: retain, logger: logger, fs: fsys, buffer: stateBuffer, flush: stateFlush}
	if err := mkdirDurable(fsys, dir); err != nil {
		return nil, fmt.Errorf("snapshot path not accessible: %w", err)
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot path not accessible: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && tmpName.MatchString(e.Name()) {
			s.leftovers = append(s.leftovers, filepath.Join(dir, e.Name()))
		}
	}
	if err := s.testPermissions(); err != nil {
		return nil, fmt.Errorf("permissions test failed: %w", err)
	}
	return s, nil
}

// mkdirDurable makes a directory with its missing parents, so that they survive a
// crash: the snapshots in them will be promised to. A directory that is there may
// have been made a moment ago, by somebody who could not sync its name.
func mkdirDurable(fsys fileSystem, dir string) error {
	parent := filepath.Dir(dir)
	err := fsys.Mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := mkdirDurable(fsys, parent); err != nil {
			return err
		}
		err = fsys.Mkdir(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

func (s *FileSnapshotStore) testPermissions() error {
	path := filepath.Join(s.dir, permTestName)
	f, err := s.fs.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), s.fs.RemoveAll(path))
}

// Create begins a snapshot. It fails for a version other than 1. It becomes visible
// when the sink is closed.
func (s *FileSnapshotStore) Create(version SnapshotVersion, index, term uint64, configuration Configuration,
	configurationIndex uint64, trans Transport) (SnapshotSink, error) {
	if version != SnapshotVersionMax {
		return nil, fmt.Errorf("unsupported snapshot version %d", version)
	}
	peers, err := encodePeers(configuration, trans)
	if err != nil {
		return nil, err
	}
	sink := &FileSnapshotSink{store: s}
	sink.meta.SnapshotMeta = SnapshotMeta{
		Version:            version,
		Index:              index,
		Term:               term,
		Peers:              peers,
		Configuration:      configuration.Clone(),
		ConfigurationIndex: configurationIndex,
	}
	if err := s.begin(sink); err != nil {
		s.logger.Error("failed to create snapshot", "index", index, "error", err)
		return nil, err
	}
	s.logger.Info("creating new snapshot", "path", sink.tmp)
	return sink, nil
}

// begin makes the sink's directory and files.
func (s *FileSnapshotStore) begin(sink *FileSnapshotSink) error {
	if err := s.makeTmp(sink); err != nil {
		return fmt.Errorf("failed to make snapshot directory: %w", err)
	}
	err := sink.writeMeta()
	if err == nil {
		sink.state, err = s.fs.Create(filepath.Join(sink.tmp, stateName))
	}
	if err != nil {
		return errors.Join(err, sink.discard())
	}
	sink.w = newStateWriter(sink.state, s.buffer, s.flush)
	return nil
}

// makeTmp gives the sink a name that nobody has and makes its directory.
func (s *FileSnapshotStore) makeTmp(sink *FileSnapshotSink) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	taken := make(map[string]bool)
	for _, e := range entries {
		taken[strings.TrimSuffix(e.Name(), tmpSuffix)] = true
	}
	meta := &sink.meta
	for msec := time.Now().UnixMilli(); meta.ID == "" || taken[meta.ID]; msec++ {
		meta.ID = snapshotID(meta.Term, meta.Index, msec)
	}
	sink.tmp = filepath.Join(s.dir, meta.ID+tmpSuffix)
	sink.setLive(true)
	if err := s.fs.Mkdir(sink.tmp); err != nil {
		sink.setLive(false)
		return err
	}
	return nil
}

// List returns the newest snapshots, as many as the store keeps, newest first: by
// term, index and time of creation. It trusts a snapshot's metadata; whether the
// state is whole is found out by Open. Directories that are no snapshots are left
// out with a warning.
func (s *FileSnapshotStore) List() ([]*SnapshotMeta, error) {
	all, err := s.list()
	if err != nil {
		return nil, err
	}
	return all[:min(len(all), s.retain)], nil
}

func (s *FileSnapshotStore) list() ([]*SnapshotMeta, error) {
	s.names.RLock()
	defer s.names.RUnlock()
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		s.logger.Error("failed to scan snapshot directory", "error", err)
		return nil, err
	}
	var metas []*SnapshotMeta
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		meta, err := s.readMeta(e.Name())
		if err != nil {
			s.logger.Warn("ignoring what is no usable snapshot", "name", e.Name(), "error", err)
			continue
		}
		metas = append(metas, &meta.SnapshotMeta)
	}
	slices.SortFunc(metas, func(a, b *SnapshotMeta) int { return newerSnapshot(b, a) })
	return metas, nil
}

// readMeta reads the metadata of the snapshot in a directory. The directory's name
// is the snapshot's: one that was copied or renamed by hand is refused, lest one
// snapshot be taken for another.
func (s *FileSnapshotStore) readMeta(name string) (*fileSnapshotMeta, error) {
	f, err := s.fs.Open(filepath.Join(s.dir, name, metaName))
	if err != nil {
		return nil, err
	}
	defer f.Close() // was only read
	var meta fileSnapshotMeta
	if err := json.NewDecoder(bufio.NewReader(f)).Decode(&meta); err != nil {
		return nil, fmt.Errorf("%s: %w", metaName, err)
	}
	if meta.Version < SnapshotVersionMin || meta.Version > SnapshotVersionMax {
		return nil, fmt.Errorf("unsupported snapshot version %d", meta.Version)
	}
	if meta.ID != name {
		return nil, fmt.Errorf("metadata is that of snapshot %q", meta.ID)
	}
	return &meta, nil
}

// Open returns a snapshot for reading. It has read the state once by then to verify
// its checksum and fails with the text "CRC mismatch" if it is damaged. It fails, too,
// if the state does not have the size that the metadata says.
func (s *FileSnapshotStore) Open(id string) (*SnapshotMeta, io.ReadCloser, error) {
	meta, f, err := s.openState(id)
	if err != nil {
		return nil, nil, err
	}
	if err := verifyState(f, meta); err != nil {
		s.logger.Error("failed to verify state of snapshot", "id", id, "error", err)
		_ = f.Close() // was only read
		return nil, nil, err
	}
	return &meta.SnapshotMeta, &fileSnapshotReader{bufio.NewReaderSize(f, snapshotBuffer), f}, nil
}

// openState opens the state of a snapshot, and believes it to be what its metadata says.
func (s *FileSnapshotStore) openState(id string) (*fileSnapshotMeta, file, error) {
	if id == "" || id == "." || id == ".." || strings.ContainsAny(id, `/\`) || strings.HasSuffix(id, tmpSuffix) {
		return nil, nil, fmt.Errorf("invalid snapshot ID %q", id)
	}
	meta, err := s.readMeta(id)
	if err != nil {
		s.logger.Error("failed to get metadata of snapshot", "id", id, "error", err)
		return nil, nil, err
	}
	f, err := s.fs.Open(filepath.Join(s.dir, id, stateName))
	if err != nil {
		s.logger.Error("failed to open state of snapshot", "id", id, "error", err)
		return nil, nil, err
	}
	return meta, f, nil
}

// verifyState compares a state with what its metadata says of it, and goes back to
// its beginning.
func verifyState(f file, meta *fileSnapshotMeta) error {
	var crc stateCRC
	size, err := io.Copy(&crc, f)
	if err != nil {
		return err
	}
	if err := meta.check(crc, size); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

var errCRCMismatch = errors.New("CRC mismatch")

// check compares a state that has been read with what its metadata says of it. Metadata
// with another size than that of a state whose checksum is right is damaged, and not to
// be believed in the rest; nor could the snapshot ever be sent.
func (m *fileSnapshotMeta) check(crc stateCRC, size int64) error {
	if !bytes.Equal(crc.sum(), m.CRC) {
		return errCRCMismatch
	}
	if size != m.Size {
		return fmt.Errorf("state has %d bytes, its metadata says %d", size, m.Size)
	}
	return nil
}

type fileSnapshotReader struct {
	*bufio.Reader
	io.Closer
}

// suspect makes a snapshot one that is verified before it is read.
func (s *FileSnapshotStore) suspect(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspects == nil {
		s.suspects = make(map[string]bool)
	}
	s.suspects[id] = true
}

func (s *FileSnapshotStore) isSuspect(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspects[id]
}

// ReapSnapshots removes all snapshots but the newest that the store keeps, and what
// crashes left behind. The store does it itself when a snapshot is finished.
func (s *FileSnapshotStore) ReapSnapshots() error { return s.reap("") }

// reap is ReapSnapshots, but spares the snapshot named keep: the one that was just
// finished is about to be opened, even if it sorts below others, as it does where
// those are of a history that was given up.
func (s *FileSnapshotStore) reap(keep string) error {
	all, err := s.list()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, meta := range all[min(len(all), s.retain):] {
		if meta.ID == keep {
			continue
		}
		path := filepath.Join(s.dir, meta.ID)
		s.logger.Info("reaping snapshot", "path", path)
		err := s.rename(path, path+tmpSuffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // which another call removed
			s.logger.Error("failed to reap snapshot", "path", path, "error", err)
			errs = append(errs, err)
			continue
		}
		s.leftovers = append(s.leftovers, path+tmpSuffix)
		delete(s.suspects, meta.ID)
	}
	return errors.Join(append(errs, s.removeLeftovers())...)
}

// rename makes a snapshot appear or disappear.
func (s *FileSnapshotStore) rename(from, to string) error {
	s.names.Lock()
	defer s.names.Unlock()
	return s.fs.Rename(from, to)
}

// removeLeftovers keeps what it fails to remove for the next time. s.mu is held.
func (s *FileSnapshotStore) removeLeftovers() error {
	if len(s.leftovers) == 0 {
		return nil
	}
	if err := s.fs.SyncDir(s.dir); err != nil { // the renames, before what they hide goes
		s.logger.Error("failed to sync snapshot directory", "error", err)
		return err
	}
	var errs []error
	s.leftovers = slices.DeleteFunc(s.leftovers, func(path string) bool {
		if s.isLive(path) {
			return false
		}
		err := s.fs.RemoveAll(path)
		if err != nil {
			s.logger.Error("failed to remove leftover of a snapshot", "path", path, "error", err)
			errs = append(errs, err)
		}
		return err == nil
	})
	return errors.Join(errs...)
}

func (s *FileSnapshotStore) isLive(tmp string) bool {
	liveSinks.Lock()
	defer liveSinks.Unlock()
	return liveSinks.dirs[liveSink{s.fs, tmp}]
}

func (s *FileSnapshotSink) setLive(live bool) {
	liveSinks.Lock()
	defer liveSinks.Unlock()
	if live {
		liveSinks.dirs[liveSink{s.store.fs, s.tmp}] = true
	} else {
		delete(liveSinks.dirs, liveSink{s.store.fs, s.tmp})
	}
}

// ID returns the snapshot's name.
func (s *FileSnapshotSink) ID() string { return s.meta.ID }

// Write appends to the state. After an error the snapshot can't be finished.
func (s *FileSnapshotSink) Write(b []byte) (int, error) {
	if s.end.done {
		return 0, errSinkEnded
	}
	n, err := s.w.Write(b)
	s.meta.Size += int64(n)
	return n, err
}

// ReadFrom appends what a reader has until its end. After an error other than the
// reader's the snapshot can't be finished.
func (s *FileSnapshotSink) ReadFrom(r io.Reader) (int64, error) {
	if s.end.done {
		return 0, errSinkEnded
	}
	n, err := s.w.ReadFrom(r)
	s.meta.Size += n
	return n, err
}

// Close finishes the snapshot: when it returns nil the snapshot survives a crash and
// is listed. When it returns an error there is no such snapshot. Older snapshots
// beyond those that the store keeps are then removed; if that fails, it is logged.
// Later calls return the same; after Cancel, Close fails.
func (s *FileSnapshotSink) Close() error {
	return s.end.close(func() error {
		defer s.setLive(false)
		if err := s.finish(); err != nil {
			s.store.logger.Error("failed to finish snapshot", "id", s.meta.ID, "error", err)
			return errors.Join(err, s.discard())
		}
		_ = s.store.reap(s.meta.ID) // logs its failures; this snapshot is safe whatever becomes of the others
		return nil
	})
}

// Cancel removes what was written, unless the sink was closed.
func (s *FileSnapshotSink) Cancel() error {
	return s.end.cancel(func() error {
		defer s.setLive(false)
		return s.discard()
	})
}

// finish makes the snapshot durable and visible: all it consists of first, then its
// name.
func (s *FileSnapshotSink) finish() error {
	if err := s.finishState(); err != nil {
		return err
	}
	if err := s.writeMeta(); err != nil {
		return err
	}
	if err := s.store.fs.SyncDir(s.tmp); err != nil {
		return err
	}
	path := strings.TrimSuffix(s.tmp, tmpSuffix)
	if err := s.store.rename(s.tmp, path); err != nil {
		return err
	}
	if err := s.store.fs.SyncDir(s.store.dir); err != nil {
		// Whether the name is durable is unknown, so it must go again.
		return errors.Join(err, s.store.rename(path, s.tmp), s.store.fs.SyncDir(s.store.dir))
	}
	return nil
}

// finishState makes the state's bytes durable and closes the file.
func (s *FileSnapshotSink) finishState() (err error) {
	if s.meta.CRC, err = s.w.finish(); err != nil {
		return err
	}
	state := s.state
	s.state = nil
	return state.Close()
}

// writeMeta writes meta.json and makes its bytes durable.
func (s *FileSnapshotSink) writeMeta() error {
	f, err := s.store.fs.Create(filepath.Join(s.tmp, metaName))
	if err != nil {
		return err
	}
	err = json.NewEncoder(f).Encode(&s.meta)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// discard closes and removes what there is. What can't be removed is tried again
// when the next snapshot is finished.
func (s *FileSnapshotSink) discard() error {
	s.setLive(false)
	var closeErr error
	if s.state != nil {
		s.w.cancel()
		closeErr = s.state.Close()
		s.state = nil
	}
	err := s.store.fs.RemoveAll(s.tmp)
	if err != nil {
		s.store.mu.Lock()
		s.store.leftovers = append(s.store.leftovers, s.tmp)
		s.store.mu.Unlock()
	}
	return errors.Join(closeErr, err)
}
