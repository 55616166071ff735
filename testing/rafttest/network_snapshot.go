package rafttest

import (
	"errors"
	"io"
)

var errSenderGone = errors.New("the sender of the snapshot has gone")

// snapshotStream is the snapshot behind an InstallSnapshot request. The receiver
// reads the sender's reader through it: not while the link is cut or stalled, and
// not after the call has returned.
type snapshotStream struct {
	net  *Network
	link link
	data io.Reader

	reading chan struct{} // has a token in it while the sender's reader is in use
	failed  chan error    // has room for the one error of the sender's reader
	ended   chan struct{} // closed when the call returns
}

func newSnapshotStream(n *Network, l link, data io.Reader) *snapshotStream {
	return &snapshotStream{
		net: n, link: l, data: data,
		reading: make(chan struct{}, 1), failed: make(chan error, 1), ended: make(chan struct{}),
	}
}

func (s *snapshotStream) Read(p []byte) (int, error) {
	if !s.await() {
		return 0, errSenderGone
	}
	select {
	case s.reading <- struct{}{}:
	case <-s.ended:
		return 0, errSenderGone
	}
	defer func() { <-s.reading }()
	select {
	case <-s.ended:
		return 0, errSenderGone
	default:
		return s.read(p)
	}
}

// read tells the sender of an error, so that it gives up.
func (s *snapshotStream) read(p []byte) (int, error) {
	n, err := s.data.Read(p)
	if err != nil && err != io.EOF {
		select {
		case s.failed <- err:
		default:
		}
	}
	return n, err
}

// await waits until something can pass, and reports false if the call returns
// before that. What a cut has lost is not sent again.
func (s *snapshotStream) await() bool {
	for {
		moves := s.obstacle()
		if moves == nil {
			return true
		}
		select {
		case <-moves:
		case <-s.ended:
			return false
		}
	}
}

// obstacle returns a channel that is closed when what is in the way has gone, and
// nil if nothing is.
func (s *snapshotStream) obstacle() <-chan struct{} {
	f := s.net.lock()
	defer f.mu.Unlock()
	if f.cuts[s.link] {
		return make(chan struct{})
	}
	if st := f.stalled(s.link); st != nil {
		return st.resumed
	}
	return nil
}

// failures returns where an error of the sender's reader will be, if there is one.
func (s *snapshotStream) failures() <-chan error {
	if s == nil {
		return nil
	}
	return s.failed
}

// end makes Read return, now and ever after, and waits for one that is under way.
func (s *snapshotStream) end() {
	close(s.ended)
	s.reading <- struct{}{}
}
