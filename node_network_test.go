package raft_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// This file is the network of the whole-node tests. Every message takes the latency;
// what is sent over a cut link is lost, so its sender waits for its own deadline, as
// with a real partition; a server that is down refuses at once.

// wireTimeout is how long a request may take. Snapshots may take ten times as long.
const wireTimeout = 500 * time.Millisecond

type network struct {
	mu      sync.Mutex
	latency time.Duration
	servers map[raft.ServerAddress]*wire
	cuts    map[link]bool
	hook    hook
}

// link is one direction between two servers.
type link struct{ from, to raft.ServerAddress }

// hook sees every request before it travels. It may block; an error breaks the
// request, and the pipeline that carries it.
type hook func(l link, req any) error

func newNetwork(latency time.Duration) *network {
	return &network{latency: latency, servers: map[raft.ServerAddress]*wire{}, cuts: map[link]bool{}}
}

// join connects a server, in place of an earlier one of the same address.
func (n *network) join(addr raft.ServerAddress) *wire {
	ctx, cancel := context.WithCancel(context.Background())
	w := &wire{net: n, addr: addr, requests: make(chan raft.RPC, 16), ctx: ctx, cancel: cancel}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[addr] = w
	return w
}

// cut loses everything that is sent from one server to another, from now on.
func (n *network) cut(from, to raft.ServerAddress) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[link{from, to}] = true
}

// heal undoes all cuts.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// intercept sets the hook.
func (n *network) intercept(h hook) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hook = h
}

// travel takes a message that was sent at some time over a link, and returns who is at
// the end of it.
func (n *network) travel(ctx context.Context, sent time.Time, l link) (*wire, error) {
	if err := sleep(ctx, time.Until(sent.Add(n.latency))); err != nil {
		return nil, err
	}
	n.mu.Lock()
	lost, w := n.cuts[l], n.servers[l.to]
	n.mu.Unlock()
	if lost {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if w == nil || w.ctx.Err() != nil {
		return nil, fmt.Errorf("no connection to %v", l.to)
	}
	return w, nil
}

// sleep is time.Sleep, and not a timer with a channel: a bubble under the race detector
// does not survive many of those that are due at once (as of Go 1.26).
func sleep(ctx context.Context, d time.Duration) error {
	time.Sleep(d)
	return ctx.Err()
}

// wire is a server's place in a network.
type wire struct {
	net      *network
	addr     raft.ServerAddress
	requests chan raft.RPC
	ctx      context.Context // until Close
	cancel   context.CancelFunc
}

var (
	_ raft.Transport   = (*wire)(nil)
	_ raft.WithPreVote = (*wire)(nil)
	_ raft.WithClose   = (*wire)(nil)
)

func (w *wire) Consumer() <-chan raft.RPC                                  { return w.requests }
func (w *wire) LocalAddr() raft.ServerAddress                              { return w.addr }
func (w *wire) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }
func (w *wire) DecodePeer(b []byte) raft.ServerAddress                     { return raft.ServerAddress(b) }
func (w *wire) SetHeartbeatHandler(func(raft.RPC))                         {}
func (w *wire) Close() error                                               { w.cancel(); return nil }

// call does one exchange.
func (w *wire) call(to raft.ServerAddress, limit time.Duration, req, resp any, data io.Reader) error {
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	answer, err := w.request(ctx, time.Now(), to, req, data)
	if err != nil {
		return err
	}
	return w.answer(ctx, to, answer, resp)
}

// request takes a request to a server, and returns where its answer will be.
func (w *wire) request(ctx context.Context, sent time.Time, to raft.ServerAddress, req any, data io.Reader) (<-chan raft.RPCResponse, error) {
	l := link{w.addr, to}
	w.net.mu.Lock()
	hook := w.net.hook
	w.net.mu.Unlock()
	if hook != nil {
		if err := hook(l, req); err != nil {
			return nil, err
		}
	}
	peer, err := w.net.travel(ctx, sent, l)
	if err != nil {
		return nil, err
	}
	answer := make(chan raft.RPCResponse, 1)
	select {
	case peer.requests <- raft.RPC{Command: req, Reader: data, RespChan: answer}:
		return answer, nil
	case <-peer.ctx.Done():
		return nil, fmt.Errorf("%v closed the connection", to)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answer waits for an answer, which travels too, and makes resp a copy of it.
func (w *wire) answer(ctx context.Context, from raft.ServerAddress, answer <-chan raft.RPCResponse, resp any) error {
	var a raft.RPCResponse
	select {
	case a = <-answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := w.net.travel(ctx, time.Now(), link{from, w.addr}); err != nil {
		return err
	}
	if body := reflect.ValueOf(a.Response); body.IsValid() && !body.IsNil() {
		reflect.ValueOf(resp).Elem().Set(body.Elem())
	}
	if a.Error != nil {
		return errors.New(a.Error.Error()) // only the text travels
	}
	return nil
}

func copyOf[T any](v *T) *T {
	c := *v
	return &c
}

func copyAppend(req *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	c := copyOf(req)
	c.Entries = slices.Clone(req.Entries)
	return c
}

func (w *wire) AppendEntries(_ raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return w.call(to, wireTimeout, copyAppend(req), resp, nil)
}

func (w *wire) RequestVote(_ raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return w.call(to, wireTimeout, copyOf(req), resp, nil)
}

func (w *wire) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return w.call(to, wireTimeout, copyOf(req), resp, nil)
}

func (w *wire) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return w.call(to, wireTimeout, copyOf(req), resp, nil)
}

func (w *wire) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	pr, pw := io.Pipe() // so that the peer never reads after this call has returned
	go func() {
		_, err := io.Copy(pw, io.LimitReader(data, req.Size))
		pw.CloseWithError(err)
	}()
	defer pr.CloseWithError(errors.New("the sender has gone"))
	return w.call(to, 10*wireTimeout, copyOf(req), resp, pr)
}

// wirePipe is a pipeline: requests arrive and answers come out in the order sent.
type wirePipe struct {
	from   *wire
	to     raft.ServerAddress
	ctx    context.Context
	cancel context.CancelFunc
	queue  chan *wireAppend
	done   chan raft.AppendFuture
}

type wireAppend struct {
	start    time.Time
	req      *raft.AppendEntriesRequest
	resp     *raft.AppendEntriesResponse
	answered chan struct{}
	err      error
}

func (a *wireAppend) Start() time.Time                      { return a.start }
func (a *wireAppend) Request() *raft.AppendEntriesRequest   { return a.req }
func (a *wireAppend) Response() *raft.AppendEntriesResponse { return a.resp }
func (a *wireAppend) Error() error                          { <-a.answered; return a.err }

func (w *wire) AppendEntriesPipeline(_ raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	ctx, cancel := context.WithCancel(w.ctx)
	p := &wirePipe{w, to, ctx, cancel, make(chan *wireAppend, 128), make(chan raft.AppendFuture, 128)}
	order := make(chan *wireAppend, 128)
	go p.send(order)
	go p.collect(order)
	return p, nil
}

func (p *wirePipe) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	a := &wireAppend{start: time.Now(), req: req, resp: resp, answered: make(chan struct{})}
	select {
	case p.queue <- a:
		return a, nil
	case <-p.ctx.Done():
		return nil, raft.ErrPipelineShutdown
	}
}

func (p *wirePipe) Consumer() <-chan raft.AppendFuture { return p.done }
func (p *wirePipe) Close() error                       { p.cancel(); return nil }

// send delivers the requests one by one; their answers are awaited side by side.
func (p *wirePipe) send(order chan<- *wireAppend) {
	defer close(order)
	for {
		var a *wireAppend
		select {
		case a = <-p.queue:
		case <-p.ctx.Done():
			return
		}
		order <- a
		ctx, cancel := context.WithTimeout(p.ctx, wireTimeout)
		answer, err := p.from.request(ctx, a.start, p.to, copyAppend(a.req), nil)
		go func() {
			defer cancel()
			if a.err = err; err == nil {
				a.err = p.from.answer(ctx, p.to, answer, a.resp)
			}
			if a.err != nil {
				*a.resp = raft.AppendEntriesResponse{}
			}
			close(a.answered)
		}()
		if err != nil {
			p.cancel()
		}
	}
}

// collect hands the answered requests out.
func (p *wirePipe) collect(order <-chan *wireAppend) {
	for a := range order {
		<-a.answered
		select {
		case p.done <- a:
		default: // nobody has looked for longer than any window
		}
	}
}
