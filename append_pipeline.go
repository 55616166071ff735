package raft

import (
	"sync"
	"time"
)

// This file is what the pipelines of both transports have in common.

// pendingAppend is one request of a pipeline. It is completed once, by the
// goroutine that receives the pipeline's answers.
type pendingAppend struct {
	future
	start time.Time
	args  *AppendEntriesRequest
	resp  *AppendEntriesResponse
}

func newPendingAppend(args *AppendEntriesRequest, resp *AppendEntriesResponse) *pendingAppend {
	a := &pendingAppend{start: time.Now(), args: args, resp: resp}
	a.init()
	return a
}

// Start is when AppendEntries was called, which is not later than when the
// request was sent.
func (a *pendingAppend) Start() time.Time { return a.start }

func (a *pendingAppend) Request() *AppendEntriesRequest { return a.args }

func (a *pendingAppend) Response() *AppendEntriesResponse { return a.resp }

// fail completes the request without an answer.
func (a *pendingAppend) fail(err error) {
	*a.resp = AppendEntriesResponse{}
	a.respond(err)
}

// pipelineEnd is whether and why a pipeline is out of use. The first reason
// stays.
type pipelineEnd struct {
	broken chan struct{} // closed when it is out of use, for whatever reason
	closed chan struct{} // closed by Close: nobody waits for futures any more

	mu  sync.Mutex // also held to queue a request, so none is queued later
	err error      // why it is broken
}

func newPipelineEnd() pipelineEnd {
	return pipelineEnd{broken: make(chan struct{}), closed: make(chan struct{})}
}

// fail takes the pipeline out of use and reports whether it was in use.
func (p *pipelineEnd) fail(err error) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return false
	}
	p.err = err
	close(p.broken)
	return true
}

// failure returns why the pipeline is out of use, nil if it is not.
func (p *pipelineEnd) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// abandon notes that nobody waits for futures any more.
func (p *pipelineEnd) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
}
