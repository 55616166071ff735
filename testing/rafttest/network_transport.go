package rafttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// This file is one server's place in a Network. A roundTrip is a request and its
// answer.

// inboxSize is how many requests a server takes without a goroutine that waits for
// room.
const inboxSize = 128

var (
	errTimeout      = errors.New("no answer in time")
	errNegativeSize = errors.New("a snapshot of negative size")
)

type endpoint struct {
	// Immutable.
	net  *Network
	addr raft.ServerAddress

	// Safe for any goroutine.
	requests chan raft.RPC
	consumer gate          // held while the server is paused
	closed   chan struct{} // closed by Close
	closing  sync.Once

	// Guarded by the lock of the network.
	backlog   []raft.RPC     // what requests had no room for; pump runs unless it is empty
	heartbeat func(raft.RPC) // of SetHeartbeatHandler; may be nil
}

var (
	_ raft.Transport   = (*endpoint)(nil)
	_ raft.WithPreVote = (*endpoint)(nil)
	_ raft.WithClose   = (*endpoint)(nil)
)

func newEndpoint(n *Network, addr raft.ServerAddress) *endpoint {
	return &endpoint{net: n, addr: addr, requests: make(chan raft.RPC, inboxSize), closed: make(chan struct{})}
}

// Consumer blocks while the server is paused. A node asks for the channel each time
// it waits for events, so that stops it.
func (e *endpoint) Consumer() <-chan raft.RPC {
	e.consumer.pass(e.closed)
	return e.requests
}

func (e *endpoint) LocalAddr() raft.ServerAddress { return e.addr }

func (e *endpoint) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

func (e *endpoint) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler makes cb answer heartbeats, each on a goroutine of its own.
func (e *endpoint) SetHeartbeatHandler(cb func(raft.RPC)) {
	f := e.net.lock()
	defer f.mu.Unlock()
	e.heartbeat = cb
}

// Close takes the server down: calls under way return, and it refuses requests.
func (e *endpoint) Close() error {
	e.close()
	return nil
}

func (e *endpoint) close() { e.closing.Do(func() { close(e.closed) }) }

func (e *endpoint) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// put gives the server a request. It needs the lock.
func (e *endpoint) put(rpc raft.RPC) {
	if e.heartbeat != nil && isHeartbeat(rpc.Command) {
		go e.beat(e.heartbeat, rpc)
		return
	}
	if len(e.backlog) == 0 {
		select {
		case e.requests <- rpc:
			return
		default:
			go e.pump()
		}
	}
	e.backlog = append(e.backlog, rpc)
}

// beat gives a heartbeat to its handler when the server is not paused.
func (e *endpoint) beat(handle func(raft.RPC), rpc raft.RPC) {
	e.consumer.pass(e.closed)
	if !e.isClosed() {
		handle(rpc)
	}
}

// isHeartbeat reports whether a request is one of those that a handler answers: without
// entries, and without anything about the log.
func isHeartbeat(req any) bool {
	r, ok := req.(*raft.AppendEntriesRequest)
	return ok && r.Term != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

// pump hands the backlog over until there is none.
func (e *endpoint) pump() {
	for {
		f := e.net.lock()
		if len(e.backlog) == 0 {
			f.mu.Unlock()
			return
		}
		rpc := e.backlog[0]
		f.mu.Unlock()
		select {
		case e.requests <- rpc:
		case <-e.closed:
			return
		}
		f = e.net.lock()
		e.backlog = slices.Delete(e.backlog, 0, 1)
		f.mu.Unlock()
	}
}

func (e *endpoint) AppendEntries(_ raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return call(e, to, requestTimeout, args, nil, resp)
}

func (e *endpoint) RequestVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return call(e, to, requestTimeout, args, nil, resp)
}

func (e *endpoint) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return call(e, to, requestTimeout, args, nil, resp)
}

func (e *endpoint) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return call(e, to, requestTimeout, args, nil, resp)
}

func (e *endpoint) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if args.Size < 0 {
		return errNegativeSize
	}
	s := newSnapshotStream(e.net, link{e.addr, to}, io.LimitReader(data, args.Size))
	defer s.end()
	return call(e, to, snapshotTimeout, args, s, resp)
}

// call does one round trip: resp becomes a copy of what the request is answered with.
func call[R any](e *endpoint, to raft.ServerAddress, limit time.Duration, args any, data *snapshotStream, resp *R) error {
	x := newRoundTrip(e, to, args, &stream{net: e.net}, &stream{net: e.net})
	x.data = data
	expired := make(chan struct{})
	defer time.AfterFunc(limit, func() { close(expired) }).Stop()
	if err := x.begin(); err != nil {
		return err
	}
	answer, failed := x.answer, data.failures()
	for {
		select {
		case a := <-answer:
			x.reply(a)
			answer = nil
		case a := <-x.back:
			return copyAnswer(a, resp)
		case err := <-failed:
			return err
		case <-e.closed:
			return raft.ErrTransportShutdown
		case <-expired:
			return fmt.Errorf("%s: %w", to, errTimeout)
		}
	}
}

// copyAnswer makes resp a copy of an answer's body, and returns the answer's error,
// of which only the text travels.
func copyAnswer[R any](a raft.RPCResponse, resp *R) error {
	var body R
	if b, ok := a.Response.(*R); ok && b != nil {
		body = *b
	}
	*resp = body
	if a.Error != nil {
		return errors.New(a.Error.Error())
	}
	return nil
}

// roundTrip is a request and its answer.
type roundTrip struct {
	link
	endpoint *endpoint // of the sender
	request  any
	data     *snapshotStream // nil unless the request is followed by a snapshot

	there, home *stream
	answer      chan raft.RPCResponse // has room for the answer, there
	back        chan raft.RPCResponse // has room for the answer, here
}

func newRoundTrip(e *endpoint, to raft.ServerAddress, args any, there, home *stream) *roundTrip {
	return &roundTrip{
		link: link{e.addr, to}, endpoint: e, request: copyRequest(args), there: there, home: home,
		answer: make(chan raft.RPCResponse, 1), back: make(chan raft.RPCResponse, 1),
	}
}

// begin asks the hook and sends the request.
func (x *roundTrip) begin() error {
	if x.endpoint.isClosed() {
		return raft.ErrTransportShutdown
	}
	if err := x.endpoint.net.intercepted(x.link, x.request); err != nil {
		return err
	}
	x.send()
	return nil
}

// send lets the request travel, and now and then a repeat.
func (x *roundTrip) send() {
	f := x.endpoint.net.lock()
	defer f.mu.Unlock()
	if x.data == nil && f.happens(f.duplication) {
		f.repeat(x) // first: once it is sent the request is the receiver's
	}
	f.send(&packet{link: x.link, stream: x.there, arrive: x.deliver})
}

// deliver gives the request to the server. It needs the lock.
func (x *roundTrip) deliver(f *fabric) {
	peer := f.endpoints[x.to]
	if peer == nil || peer.isClosed() {
		f.counts.Refused++
		x.sendHome(f, raft.RPCResponse{Error: fmt.Errorf("no connection to %v", x.to)})
		return
	}
	rpc := raft.RPC{Command: x.request, RespChan: x.answer}
	if x.data != nil {
		rpc.Reader = x.data
	}
	peer.put(rpc)
}

// reply lets the answer travel.
func (x *roundTrip) reply(a raft.RPCResponse) {
	f := x.endpoint.net.lock()
	defer f.mu.Unlock()
	x.sendHome(f, a)
}

func (x *roundTrip) sendHome(f *fabric, a raft.RPCResponse) {
	f.send(&packet{link: link{x.to, x.from}, stream: x.home, arrive: func(*fabric) { x.back <- a }})
}

// repeat delivers the request of a round trip once more, later.
func (f *fabric) repeat(x *roundTrip) {
	f.counts.Duplicated++
	request := copyRequest(x.request)
	s := &stream{net: x.endpoint.net}
	s.under = append(s.under, &packet{link: x.link, stream: s, arrive: func(f *fabric) {
		if peer := f.endpoints[x.to]; peer != nil && !peer.isClosed() {
			peer.put(raft.RPC{Command: request, RespChan: make(chan raft.RPCResponse, 1)})
		}
	}})
	time.AfterFunc(span{0, maxLateness}.draw(f.rng), s.next)
}

// copyRequest returns a copy of a request, which shares its entries.
func copyRequest(args any) any {
	switch args := args.(type) {
	case *raft.AppendEntriesRequest:
		c := *args
		c.Entries = slices.Clone(args.Entries)
		return &c
	case *raft.RequestVoteRequest:
		return copyOf(args)
	case *raft.RequestPreVoteRequest:
		return copyOf(args)
	case *raft.TimeoutNowRequest:
		return copyOf(args)
	case *raft.InstallSnapshotRequest:
		return copyOf(args)
	default:
		panic(fmt.Sprintf("rafttest: a request of type %T", args))
	}
}

func copyOf[T any](v *T) *T {
	c := *v
	return &c
}
