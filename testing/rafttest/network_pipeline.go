package rafttest

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pipelineWindow is how many requests of a pipeline are unanswered, or answered and
// not handed out, before AppendEntries blocks.
const pipelineWindow = 128

// pipeline is a connection for AppendEntries requests: they arrive, and their
// answers come back, in the order sent. One goroutine, run, completes them.
type pipeline struct {
	// Immutable.
	endpoint *endpoint
	to       raft.ServerAddress

	there, home *stream // guarded by the lock of the network

	slots    chan struct{}    // has a token for each request that is not handed out
	sent     chan *pipeAppend // has room for all of them
	finished chan raft.AppendFuture
	broken   chan struct{} // closed when the pipeline is out of use
	closed   chan struct{} // closed by Close
	closing  sync.Once

	mu  sync.Mutex // held to send, so that nothing is sent once it is broken
	err error      // why it is
}

// pipeAppend is a request of a pipeline.
type pipeAppend struct {
	*roundTrip
	start time.Time
	args  *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse
	timer *time.Timer // breaks the pipeline
	done  chan struct{}
	err   error
}

func (a *pipeAppend) Start() time.Time                      { return a.start }
func (a *pipeAppend) Request() *raft.AppendEntriesRequest   { return a.args }
func (a *pipeAppend) Response() *raft.AppendEntriesResponse { return a.resp }

func (a *pipeAppend) Error() error {
	<-a.done
	return a.err
}

func (a *pipeAppend) finish(err error) {
	a.timer.Stop()
	if a.err = err; err != nil {
		*a.resp = raft.AppendEntriesResponse{}
	}
	close(a.done)
}

func (e *endpoint) AppendEntriesPipeline(_ raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	if e.isClosed() {
		return nil, raft.ErrTransportShutdown
	}
	p := &pipeline{
		endpoint: e,
		to:       to,
		there:    &stream{net: e.net},
		home:     &stream{net: e.net},
		slots:    make(chan struct{}, pipelineWindow),
		sent:     make(chan *pipeAppend, pipelineWindow),
		finished: make(chan raft.AppendFuture, pipelineWindow),
		broken:   make(chan struct{}),
		closed:   make(chan struct{}),
	}
	go p.run()
	return p, nil
}

func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	a := &pipeAppend{start: time.Now(), args: args, resp: resp, done: make(chan struct{})}
	select {
	case p.slots <- struct{}{}:
	case <-p.broken:
		return nil, p.failure()
	}
	if p.endpoint.isClosed() {
		return nil, p.fail(raft.ErrTransportShutdown)
	}
	a.roundTrip = newRoundTrip(p.endpoint, p.to, args, p.there, p.home)
	if err := p.endpoint.net.intercepted(a.link, a.request); err != nil {
		return nil, p.fail(err)
	}
	if err := p.send(a); err != nil {
		return nil, err
	}
	return a, nil
}

func (p *pipeline) send(a *pipeAppend) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	a.timer = time.AfterFunc(requestTimeout, func() { p.fail(fmt.Errorf("%s: %w", p.to, errTimeout)) })
	p.sent <- a // has room, by the slots
	a.roundTrip.send()
	return nil
}

func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.finished }

// Close fails what is unanswered. Nothing more may come out of Consumer.
func (p *pipeline) Close() error {
	p.closing.Do(func() { close(p.closed) })
	p.fail(raft.ErrPipelineShutdown)
	return nil
}

// fail takes the pipeline out of use, and returns why it is: the first reason
// stays.
func (p *pipeline) fail(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.broken)
	}
	return p.err
}

func (p *pipeline) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// run takes each answer when it is given, lets it travel home, finishes the request
// when it has arrived and hands it out; all in the order sent.
func (p *pipeline) run() {
	var queue []*pipeAppend // sent and not finished
	answered := 0           // so many of them have an answer on its way home
	var done []*pipeAppend  // finished and not handed out
	for {
		var answer, back chan raft.RPCResponse
		if answered < len(queue) {
			answer = queue[answered].answer
		}
		if len(queue) > 0 {
			back = queue[0].back
		}
		var out chan<- raft.AppendFuture
		var first raft.AppendFuture
		if len(done) > 0 {
			out, first = p.finished, done[0]
		}
		select {
		case a := <-p.sent:
			queue = append(queue, a)
		case r := <-answer:
			queue[answered].reply(r)
			answered++
		case r := <-back: // without an answer before it if the server is down
			queue[0].finish(copyAnswer(r, queue[0].resp))
			done = append(done, queue[0])
			queue, answered = queue[1:], max(answered-1, 0)
		case out <- first:
			done = done[1:]
			<-p.slots
		case <-p.endpoint.closed:
			p.fail(raft.ErrTransportShutdown)
		case <-p.broken:
			p.abort(done, queue)
			return
		}
	}
}

// abort fails all that is not finished, and hands everything out.
func (p *pipeline) abort(done, queue []*pipeAppend) {
	for len(p.sent) > 0 { // none can follow
		queue = append(queue, <-p.sent)
	}
	for _, a := range queue {
		a.finish(p.failure())
	}
	for _, a := range append(done, queue...) {
		select {
		case p.finished <- a:
		case <-p.closed:
		case <-p.endpoint.closed:
		}
	}
}
