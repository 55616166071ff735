package raft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// This file reads a state once where Open reads it twice: to send it to a follower, and
// to restore what was received a moment ago. It is verified on the way.

// streamHold is how much of a state's end is held back, at least, until the checksum of
// everything is known.
const streamHold = 64 << 10

// openStream opens a snapshot that the library reads at once. That of a
// FileSnapshotStore is verified while it is read: who reads a damaged one gets an error
// instead of its end, and the next call verifies first, as Open does.
//
// Only that very type: one that embeds it may have an Open of its own.
func openStream(snaps SnapshotStore, id string) (*SnapshotMeta, io.ReadCloser, error) {
	s, ok := snaps.(*FileSnapshotStore)
	if !ok || s.isSuspect(id) {
		return snaps.Open(id)
	}
	meta, f, err := s.openState(id)
	if err != nil {
		return nil, nil, err
	}
	stream := &stateStream{store: s, meta: meta, f: f, left: meta.Size}
	return &meta.SnapshotMeta, stream, nil
}

// verifyStream verifies what openStream has opened, if the one who read it did not come
// to its end.
func verifyStream(snaps SnapshotStore, id string, stream io.Reader) error {
	if s, ok := stream.(*stateStream); !ok || s.whole {
		return nil
	}
	_, rc, err := snaps.Open(id)
	if err != nil {
		return err
	}
	return rc.Close()
}

// foundDamaged reports whether what openStream has opened proved not to be readable. No
// snapshot does so twice: it is verified before it is opened again.
func foundDamaged(stream io.Reader) bool {
	s, ok := stream.(*stateStream)
	return ok && s.store.isSuspect(s.meta.ID)
}

// stateStream reads a state and verifies it on the way.
type stateStream struct {
	store *FileSnapshotStore
	meta  *fileSnapshotMeta
	f     file
	crc   stateCRC
	left  int64 // to be read of f, by the metadata

	buf   []byte
	ready []byte // of buf, to be handed out
	whole bool   // all has been read and is good
	err   error  // follows what is ready, and sticks
}

func (s *stateStream) Read(p []byte) (int, error) {
	if ahead := min(int64(len(p)), s.left-streamHold); ahead >= streamHold && len(s.ready) == 0 && s.err == nil {
		return s.take(p[:ahead])
	}
	if len(s.ready) == 0 && s.err == nil {
		s.ready, s.err = s.fill()
	}
	if len(s.ready) == 0 {
		return 0, s.err
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// fill reads a piece for those who read little at a time. The last one, not smaller than
// streamHold unless the state is, comes with io.EOF and only if all was good.
func (s *stateStream) fill() ([]byte, error) {
	if s.buf == nil {
		s.buf = make([]byte, max(0, min(s.left, 2*streamHold)))
	}
	if s.left > int64(len(s.buf)) {
		n, err := s.take(s.buf[:streamHold])
		return s.buf[:n], err
	}
	n, err := s.take(s.buf[:max(0, s.left)])
	if err == nil {
		err = s.finish()
	}
	if err != nil {
		return nil, err
	}
	s.whole = true
	return s.buf[:n], io.EOF
}

// take reads the next bytes.
func (s *stateStream) take(p []byte) (int, error) {
	if _, err := io.ReadFull(s.f, p); err == io.EOF || err == io.ErrUnexpectedEOF {
		return 0, s.fail(fmt.Errorf("%w: the state is shorter than its metadata says", errCRCMismatch))
	} else if err != nil {
		return 0, s.fail(err)
	}
	_, _ = s.crc.Write(p) // a hash takes everything
	s.left -= int64(len(p))
	return len(p), nil
}

// finish verifies what has been read, and that it was all.
func (s *stateStream) finish() error {
	rest, err := io.Copy(&s.crc, s.f)
	if err == nil {
		err = s.meta.check(s.crc, s.meta.Size-s.left+rest)
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// fail remembers that the snapshot is to be verified before it is read again.
func (s *stateStream) fail(err error) error {
	s.err = err
	if !errors.Is(err, fs.ErrClosed) { // which says nothing of the snapshot
		s.store.logger.Error("failed to read state of snapshot", "id", s.meta.ID, "error", err)
		s.store.suspect(s.meta.ID)
	}
	return err
}

func (s *stateStream) Close() error { return s.f.Close() }
