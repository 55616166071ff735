package raft

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// This file is the transport within one process. An inmemLink is the connection
// of one transport to another, in one direction; the transport owns the set of
// its links.

const (
	// inmemQueue is how many requests wait for the consumer before senders do.
	inmemQueue = 16

	inmemTimeout = 500 * time.Millisecond

	// slowCalls is how many timeouts InstallSnapshot and TimeoutNow may take.
	slowCalls = 10
)

var (
	errInmemSend    = errors.New("send timed out")
	errInmemCommand = errors.New("command timed out")
)

// NewInmemAddr returns a new random address, which looks like a UUID.
func NewInmemAddr() ServerAddress {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return ServerAddress(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// InmemTransport is a [Transport] for tests: it reaches other InmemTransports of
// the same process, once it is connected to them. Messages are copied, but the
// entries and byte slices in them are not; both sides must treat those as
// immutable. It uses channels and timers only, so it works with testing/synctest.
type InmemTransport struct {
	// RWMutex guards peers.
	sync.RWMutex
	peers map[ServerAddress]*inmemLink

	// Immutable.
	addr    ServerAddress
	timeout time.Duration

	// Safe for any goroutine.
	requests  chan RPC
	heartbeat heartbeatHandler
}

var _ LoopbackTransport = (*InmemTransport)(nil)

// NewInmemTransport returns a transport and its address, a random one if addr is
// empty. Its calls time out after half a second.
func NewInmemTransport(addr ServerAddress) (ServerAddress, *InmemTransport) {
	return NewInmemTransportWithTimeout(addr, inmemTimeout)
}

// NewInmemTransportWithTimeout is NewInmemTransport with another timeout.
// InstallSnapshot and TimeoutNow may take ten times as long.
func NewInmemTransportWithTimeout(addr ServerAddress, timeout time.Duration) (ServerAddress, *InmemTransport) {
	if addr == "" {
		addr = NewInmemAddr()
	}
	return addr, &InmemTransport{
		peers:    make(map[ServerAddress]*inmemLink),
		addr:     addr,
		timeout:  timeout,
		requests: make(chan RPC, inmemQueue),
	}
}

// inmemLink is a connection to a peer.
type inmemLink struct {
	addr ServerAddress
	peer *InmemTransport
	cut  chan struct{} // closed when it is no more
}

// Connect makes peer reachable from here, not the other way round. t must be an
// *InmemTransport. What is under way over an earlier connection fails.
func (i *InmemTransport) Connect(peer ServerAddress, t Transport) {
	link := &inmemLink{addr: peer, peer: t.(*InmemTransport), cut: make(chan struct{})}
	i.Lock()
	defer i.Unlock()
	i.disconnect(peer)
	i.peers[peer] = link
}

// Disconnect makes peer unreachable from here. Calls under way and pipelines to
// it fail.
func (i *InmemTransport) Disconnect(peer ServerAddress) {
	i.Lock()
	defer i.Unlock()
	i.disconnect(peer)
}

// DisconnectAll makes all peers unreachable from here.
func (i *InmemTransport) DisconnectAll() {
	i.Lock()
	defer i.Unlock()
	for peer := range i.peers {
		i.disconnect(peer)
	}
}

// disconnect cuts the link to a peer, if there is one. The lock is held.
func (i *InmemTransport) disconnect(peer ServerAddress) {
	if link := i.peers[peer]; link != nil {
		close(link.cut)
		delete(i.peers, peer)
	}
}

// Close is DisconnectAll. The transport can be connected again.
func (i *InmemTransport) Close() error {
	i.DisconnectAll()
	return nil
}

// Consumer returns the channel of incoming requests. It is never closed.
func (i *InmemTransport) Consumer() <-chan RPC { return i.requests }

// LocalAddr returns the address given to NewInmemTransport.
func (i *InmemTransport) LocalAddr() ServerAddress { return i.addr }

// EncodePeer returns the bytes of addr.
func (i *InmemTransport) EncodePeer(_ ServerID, addr ServerAddress) []byte { return []byte(addr) }

// DecodePeer is the inverse of EncodePeer.
func (i *InmemTransport) DecodePeer(buf []byte) ServerAddress { return ServerAddress(buf) }

// SetHeartbeatHandler makes cb answer heartbeats instead of whoever reads
// Consumer. Each call has a goroutine of its own.
func (i *InmemTransport) SetHeartbeatHandler(cb func(rpc RPC)) { i.heartbeat.set(cb) }

// link returns the connection to a peer.
func (i *InmemTransport) link(target ServerAddress) (*inmemLink, error) {
	i.RLock()
	defer i.RUnlock()
	if link := i.peers[target]; link != nil {
		return link, nil
	}
	return nil, errUnconnected(target)
}

func errUnconnected(target ServerAddress) error {
	return fmt.Errorf("failed to connect to peer: %v", target)
}

// AppendEntries sends a request and waits for its answer.
func (i *InmemTransport) AppendEntries(_ ServerID, target ServerAddress, args *AppendEntriesRequest, resp *AppendEntriesResponse) error {
	return inmemCall(i, target, i.timeout, copyAppend(args), nil, resp)
}

// RequestVote sends a request and waits for its answer.
func (i *InmemTransport) RequestVote(_ ServerID, target ServerAddress, args *RequestVoteRequest, resp *RequestVoteResponse) error {
	req := *args
	return inmemCall(i, target, i.timeout, &req, nil, resp)
}

// RequestPreVote sends a request and waits for its answer.
func (i *InmemTransport) RequestPreVote(_ ServerID, target ServerAddress, args *RequestPreVoteRequest, resp *RequestPreVoteResponse) error {
	req := *args
	return inmemCall(i, target, i.timeout, &req, nil, resp)
}

// TimeoutNow sends a request and waits for its answer.
func (i *InmemTransport) TimeoutNow(_ ServerID, target ServerAddress, args *TimeoutNowRequest, resp *TimeoutNowResponse) error {
	req := *args
	return inmemCall(i, target, slowCalls*i.timeout, &req, nil, resp)
}

// InstallSnapshot sends a request and waits for its answer. The peer reads from
// data meanwhile, args.Size bytes at most, and not after it has returned.
func (i *InmemTransport) InstallSnapshot(_ ServerID, target ServerAddress, args *InstallSnapshotRequest, resp *InstallSnapshotResponse, data io.Reader) error {
	if args.Size < 0 {
		return errNegativeSize
	}
	req := *args
	snapshot := newSnapshotReader(data, args.Size)
	defer snapshot.revoke()
	return inmemCall(i, target, slowCalls*i.timeout, &req, snapshot, resp)
}

// copyAppend returns a copy of a request that does not change with it.
func copyAppend(args *AppendEntriesRequest) *AppendEntriesRequest {
	req := *args
	req.Entries = slices.Clone(args.Entries)
	req.wire = entryWires{}
	return &req
}

// inmemCall does one exchange: resp becomes a copy of what req is answered with.
func inmemCall[R any](i *InmemTransport, target ServerAddress, timeout time.Duration, req interface{}, data io.Reader, resp *R) error {
	link, err := i.link(target)
	if err != nil {
		return err
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	answer := make(chan RPCResponse, 1)
	rpc := RPC{Command: req, Reader: data, RespChan: answer}
	if beat := link.peer.heartbeat.of(req); beat != nil {
		go beat(rpc)
	} else {
		select {
		case link.peer.requests <- rpc:
		case <-link.cut:
			return errUnconnected(target)
		case <-timer.C:
			return errInmemSend
		}
	}
	select {
	case got := <-answer:
		return copyAnswer(got, resp)
	case <-link.cut:
		return errUnconnected(target)
	case <-timer.C:
		return errInmemCommand
	}
}

// copyAnswer makes resp a copy of what an RPC was answered with, zero if that
// has no body, and returns the answer's error.
func copyAnswer[R any](got RPCResponse, resp *R) error {
	var zero R
	*resp = zero
	switch body := got.Response.(type) {
	case nil:
	case *R:
		if body != nil {
			*resp = *body
		}
	default:
		return errors.Join(got.Error, fmt.Errorf("answer is a %T, want a %T", body, resp))
	}
	return got.Error
}
