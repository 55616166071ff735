package raft

import (
	"errors"
	"time"
)

// This file is the pipeline of the transport within one process.

// inmemInFlight is how many requests a pipeline has under way.
const inmemInFlight = 16

var errInmemEnqueue = errors.New("command enqueue timeout")

// inmemPipeline is an AppendPipeline over an inmemLink. Its read loop completes
// the requests.
type inmemPipeline struct {
	// Immutable.
	link    *inmemLink
	timeout time.Duration

	slots    chan struct{}     // one is held by each unanswered request
	sent     chan inmemRequest // has room for all slots
	finished chan AppendFuture

	end pipelineEnd
}

type inmemRequest struct {
	*pendingAppend
	answer <-chan RPCResponse
}

// AppendEntriesPipeline opens a pipeline with up to 16 requests under way. A
// request that is not answered in time breaks it; an answer in which the peer
// reports an error fails that request only.
func (i *InmemTransport) AppendEntriesPipeline(_ ServerID, target ServerAddress) (AppendPipeline, error) {
	link, err := i.link(target)
	if err != nil {
		return nil, err
	}
	p := &inmemPipeline{
		link:     link,
		timeout:  i.timeout,
		slots:    make(chan struct{}, inmemInFlight),
		sent:     make(chan inmemRequest, inmemInFlight),
		finished: make(chan AppendFuture, inmemInFlight),
		end:      newPipelineEnd(),
	}
	go p.readLoop()
	return p, nil
}

func (p *inmemPipeline) AppendEntries(args *AppendEntriesRequest, resp *AppendEntriesResponse) (AppendFuture, error) {
	select {
	case p.slots <- struct{}{}:
	case <-p.end.broken:
		return nil, p.end.failure()
	}
	if err := p.end.failure(); err != nil {
		return nil, err
	}
	answer := make(chan RPCResponse, 1)
	a := inmemRequest{newPendingAppend(args, resp), answer}
	if err := p.enqueue(RPC{Command: copyAppend(args), RespChan: answer}); err != nil {
		return nil, err
	}
	p.end.mu.Lock()
	defer p.end.mu.Unlock()
	if p.end.err != nil {
		return nil, p.end.err
	}
	p.sent <- a
	return a, nil
}

// enqueue gives a request to the peer.
func (p *inmemPipeline) enqueue(rpc RPC) error {
	if beat := p.link.peer.heartbeat.of(rpc.Command); beat != nil {
		go beat(rpc)
		return nil
	}
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case p.link.peer.requests <- rpc:
		return nil
	case <-p.end.broken:
		return p.end.failure()
	case <-timer.C:
		p.end.fail(errInmemEnqueue)
		return errInmemEnqueue
	}
}

func (p *inmemPipeline) Consumer() <-chan AppendFuture { return p.finished }

// Close fails what is unanswered with ErrPipelineShutdown. Nothing more may come
// out of Consumer.
func (p *inmemPipeline) Close() error {
	p.end.abandon()
	p.end.fail(ErrPipelineShutdown)
	return nil
}

// readLoop waits for the answers and completes the requests, in the order sent,
// until the pipeline is out of use; then it fails what is left.
func (p *inmemPipeline) readLoop() {
	for {
		select {
		case a := <-p.sent:
			p.receive(a)
			continue
		case <-p.link.cut:
			p.end.fail(ErrPipelineShutdown)
		case <-p.end.broken:
		}
		select {
		case a := <-p.sent:
			p.receive(a)
		default:
			return // none can follow
		}
	}
}

// receive completes a request with its answer or with why there is none, and
// hands it on.
func (p *inmemPipeline) receive(a inmemRequest) {
	p.await(a)
	<-p.slots
	select {
	case p.finished <- a:
		return
	default:
	}
	select {
	case p.finished <- a:
	case <-p.end.closed:
	case <-p.link.cut:
	}
}

func (p *inmemPipeline) await(a inmemRequest) {
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case got := <-a.answer:
		a.respond(copyAnswer(got, a.resp))
		return
	case <-p.link.cut:
		p.end.fail(ErrPipelineShutdown)
	case <-p.end.broken:
	case <-timer.C:
		p.end.fail(errInmemCommand)
	}
	a.fail(p.end.failure())
}
