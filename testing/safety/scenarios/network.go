package scenarios

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// exchangeLimit is how long an exchange may take: long enough for every gate.
const exchangeLimit = time.Minute

var errCut = errors.New("the link is cut")

// network carries messages between the servers and peers of a scenario, at once, and
// copies of them, as a wire does.
type network struct {
	mu   sync.Mutex
	ends map[raft.ServerAddress]*endpoint
	cuts map[[2]raft.ServerAddress]bool
}

func newNetwork() *network {
	return &network{ends: map[raft.ServerAddress]*endpoint{}, cuts: map[[2]raft.ServerAddress]bool{}}
}

// join returns the endpoint of an address, in place of an earlier one.
func (n *network) join(id raft.ServerID, addr raft.ServerAddress) *endpoint {
	e := &endpoint{net: n, id: id, addr: addr, requests: make(chan raft.RPC, 16), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[addr] = e
	return e
}

// cut makes everything fail at once that is sent from a to b or back.
func (n *network) cut(a, b raft.ServerAddress) { n.setCut(a, b, true) }

func (n *network) heal(a, b raft.ServerAddress) { n.setCut(a, b, false) }

func (n *network) setCut(a, b raft.ServerAddress, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]raft.ServerAddress{a, b}] = cut
	n.cuts[[2]raft.ServerAddress{b, a}] = cut
}

func (n *network) route(from, to raft.ServerAddress) (*endpoint, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cuts[[2]raft.ServerAddress{from, to}] {
		return nil, errCut
	}
	if e := n.ends[to]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("nobody at %s", to)
}

// endpoint is the [raft.Transport] of one server or scripted peer.
type endpoint struct {
	net  *network
	id   raft.ServerID
	addr raft.ServerAddress

	// script answers instead of a server, on the caller's goroutine.
	script func(req any, body io.Reader) (any, error)

	// pipelining makes AppendEntriesPipeline work.
	pipelining bool

	requests  chan raft.RPC
	closed    chan struct{}
	closeOnce sync.Once

	mu        sync.Mutex
	heartbeat func(raft.RPC)
}

var (
	_ raft.Transport   = (*endpoint)(nil)
	_ raft.WithPreVote = (*endpoint)(nil)
	_ raft.WithClose   = (*endpoint)(nil)
)

func (e *endpoint) Consumer() <-chan raft.RPC                                  { return e.requests }
func (e *endpoint) LocalAddr() raft.ServerAddress                              { return e.addr }
func (e *endpoint) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }
func (e *endpoint) DecodePeer(b []byte) raft.ServerAddress                     { return raft.ServerAddress(b) }

func (e *endpoint) Close() error {
	e.closeOnce.Do(func() { close(e.closed) })
	return nil
}

func (e *endpoint) SetHeartbeatHandler(handler func(raft.RPC)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heartbeat = handler
}

func (e *endpoint) AppendEntries(_ raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return exchange(e, to, copyAppend(req), resp, nil)
}

func (e *endpoint) RequestVote(_ raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	c := *req
	return exchange(e, to, &c, resp, nil)
}

func (e *endpoint) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	c := *req
	return exchange(e, to, &c, resp, nil)
}

func (e *endpoint) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	c := *req
	return exchange(e, to, &c, resp, nil)
}

func (e *endpoint) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	c := *req
	return exchange(e, to, &c, resp, data)
}

// exchange sends a request and takes the answer to resp.
func exchange[A any](e *endpoint, to raft.ServerAddress, req any, resp *A, body io.Reader) error {
	answer, err := e.deliver(to, req, body)
	if a, ok := answer.(*A); ok && a != nil {
		*resp = *a
	}
	return err
}

// deliver takes a request to whoever is at an address, and returns the answer.
func (e *endpoint) deliver(to raft.ServerAddress, req any, body io.Reader) (any, error) {
	target, err := e.net.route(e.addr, to)
	if err != nil {
		return nil, err
	}
	answer := make(chan raft.RPCResponse, 1)
	go target.take(raft.RPC{Command: req, Reader: body, RespChan: answer})
	select {
	case a := <-answer:
		return a.Response, a.Error
	case <-e.closed:
		return nil, errors.New("this endpoint is closed")
	case <-target.closed:
		return nil, errors.New("the other endpoint is closed")
	case <-time.After(exchangeLimit):
		return nil, errors.New("no answer")
	}
}

// take lets a server, or a script, have a request. Heartbeats go the fast way if the
// server has offered one.
func (e *endpoint) take(rpc raft.RPC) {
	e.mu.Lock()
	fast := e.heartbeat
	e.mu.Unlock()
	switch {
	case e.script != nil:
		rpc.Respond(e.script(rpc.Command, rpc.Reader))
	case fast != nil && isHeartbeat(rpc.Command):
		fast(rpc)
	default:
		select {
		case e.requests <- rpc:
		case <-e.closed:
		}
	}
}

// isHeartbeat reports whether a request has the shape by which transports know a
// heartbeat.
func isHeartbeat(req any) bool {
	a, ok := req.(*raft.AppendEntriesRequest)
	return ok && a.Term != 0 && len(a.Addr) > 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 &&
		len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

func copyAppend(req *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	c := *req
	c.Entries = slices.Clone(req.Entries)
	for i, entry := range c.Entries {
		if entry != nil {
			copied := *entry
			c.Entries[i] = &copied
		}
	}
	return &c
}
