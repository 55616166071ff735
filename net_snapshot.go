package raft

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// This file moves snapshots over connections. A snapshotReader owns the incoming
// stream for as long as an InstallSnapshot is being answered.

// snapshotChunk is how much of a snapshot is sent under one deadline.
const snapshotChunk = 64 << 10

// sendSnapshot copies exactly size bytes from data to w. What comes before the
// last chunk is sent even if data then proves too short or too long; the last one
// is not, so the receiver never takes such a snapshot for complete.
func sendSnapshot(w io.Writer, data io.Reader, size int64) error {
	buf := make([]byte, min(size, snapshotChunk))
	for left := size; left > 0; {
		chunk := buf[:min(left, int64(len(buf)))]
		if n, err := io.ReadFull(data, chunk); err != nil {
			return sourceError(err, size-left+int64(n), size)
		}
		left -= int64(len(chunk))
		if left == 0 {
			if err := expectEnd(data, size); err != nil {
				return err
			}
		}
		if _, err := w.Write(chunk); err != nil {
			return fmt.Errorf("send snapshot: %w", err)
		}
	}
	if size == 0 {
		return expectEnd(data, size)
	}
	return nil
}

func sourceError(err error, have, size int64) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("snapshot ends after %d of %d bytes", have, size)
	}
	return fmt.Errorf("read snapshot: %w", err)
}

// expectEnd fails if data is not at its end.
func expectEnd(data io.Reader, size int64) error {
	var b [1]byte
	switch _, err := io.ReadFull(data, b[:]); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("snapshot is longer than its %d bytes", size)
	default:
		return fmt.Errorf("read snapshot: %w", err)
	}
}

// snapshotReader is the Reader of an InstallSnapshot: size bytes of a stream that
// goes on behind them. A stream that ends early fails with io.ErrUnexpectedEOF.
// Once the RPC has been answered it is revoked, so whoever still holds it cannot
// take what follows.
type snapshotReader struct {
	// turn is held while the other fields are used. It is a channel because a
	// goroutine that waits for it may have to wait for the network.
	turn chan struct{}
	src  io.Reader
	left int64
	err  error // sticks
}

func newSnapshotReader(src io.Reader, size int64) *snapshotReader {
	return &snapshotReader{turn: make(chan struct{}, 1), src: src, left: size}
}

var errSnapshotAnswered = errors.New("snapshot read after its RPC was answered")

func (s *snapshotReader) Read(p []byte) (int, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.read(p)
}

func (s *snapshotReader) read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.src.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		s.err = err
		return n, err
	}
	return n, nil
}

// revoke ends the reader, after a Read under way.
func (s *snapshotReader) revoke() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.end()
}

// drain reads what its holder has left of the snapshot and ends the reader. It
// returns the error that makes what follows unreadable.
func (s *snapshotReader) drain() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	defer s.end()
	for buf := make([]byte, min(s.left, snapshotChunk)); s.left > 0; {
		if _, err := s.read(buf); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshotReader) end() {
	if s.err == nil {
		s.err = errSnapshotAnswered
	}
}

// stallReader reads from a connection and fails when nothing arrives for the
// timeout, if the connection has deadlines.
type stallReader struct {
	r       *bufio.Reader // reads from conn
	conn    net.Conn
	timeout time.Duration
}

func (s *stallReader) Read(p []byte) (int, error) {
	if s.r.Buffered() == 0 {
		_ = s.conn.SetReadDeadline(time.Now().Add(s.timeout))
	}
	return s.r.Read(p)
}
