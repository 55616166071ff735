package scenarios

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// AppendEntriesPipeline returns a pipeline that exchanges one request after the other.
func (e *endpoint) AppendEntriesPipeline(_ raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	if !e.pipelining {
		return nil, raft.ErrPipelineReplicationNotSupported
	}
	p := &pipeline{
		end:      e,
		to:       to,
		sent:     make(chan *appendFuture, 8),
		answered: make(chan raft.AppendFuture, 8),
		closed:   make(chan struct{}),
	}
	go p.run()
	return p, nil
}

type pipeline struct {
	end      *endpoint
	to       raft.ServerAddress
	sent     chan *appendFuture
	answered chan raft.AppendFuture

	closed    chan struct{}
	closeOnce sync.Once
}

func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f := &appendFuture{start: time.Now(), req: req, resp: resp, done: make(chan struct{})}
	select {
	case p.sent <- f:
		return f, nil
	case <-p.closed:
		return nil, raft.ErrPipelineShutdown
	}
}

func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answered }

func (p *pipeline) Close() error {
	p.closeOnce.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeline) run() {
	for {
		select {
		case f := <-p.sent:
			f.err = exchange(p.end, p.to, copyAppend(f.req), f.resp, nil)
			close(f.done)
			select {
			case p.answered <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

type appendFuture struct {
	start time.Time
	req   *raft.AppendEntriesRequest
	resp  *raft.AppendEntriesResponse

	done chan struct{} // closed when err and resp are set
	err  error
}

var errNotAnswered = errors.New("asked for the response before there is one")

func (f *appendFuture) Start() time.Time                      { return f.start }
func (f *appendFuture) Request() *raft.AppendEntriesRequest   { return f.req }
func (f *appendFuture) Response() *raft.AppendEntriesResponse { return f.resp }
func (f *appendFuture) Error() error {
	select {
	case <-f.done:
		return f.err
	case <-time.After(exchangeLimit):
		return errNotAnswered
	}
}
