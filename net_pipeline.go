package raft

import (
	"fmt"
	"time"
)

// This file is the pipeline over a connection: a write loop that sends requests, and
// runs while there are any, and a read loop that receives their answers. A request
// passes from AppendEntries through both; the read loop completes it.

// netPipeline is an AppendPipeline over a connection of its own.
type netPipeline struct {
	// Immutable.
	net  *NetworkTransport
	conn *peerConn

	// A pendingAppend goes through these in turn. Each has room for all slots, so
	// only finished can block, when its reader is slow.
	slots    chan struct{} // one is held by each unanswered request
	queued   writeQueue[pendingAppend]
	sent     chan *pendingAppend // closed when the pipeline is broken and nothing queued
	finished chan AppendFuture

	end pipelineEnd
}

// AppendEntriesPipeline opens a pipeline over a new connection.
//
// Its AppendEntries blocks while MaxRPCsInFlight requests are unanswered;
// otherwise it hands the request to a goroutine that sends it, so args must not
// be changed until the future is done. An answer in which the peer reports an
// error fails that future only. Any other failure fails all requests that are
// unanswered and every later call; the response of such a future is zero.
func (n *NetworkTransport) AppendEntriesPipeline(id ServerID, target ServerAddress) (AppendPipeline, error) {
	if n.inFlight < 2 {
		return nil, ErrPipelineReplicationNotSupported
	}
	c, err := n.dial(n.address(id, target), progressDeadline)
	if err != nil {
		return nil, err
	}
	p := &netPipeline{
		net:      n,
		conn:     c,
		slots:    make(chan struct{}, n.inFlight),
		sent:     make(chan *pendingAppend, n.inFlight),
		finished: make(chan AppendFuture, n.inFlight),
		end:      newPipelineEnd(),
	}
	if !n.spawn(p.readLoop) {
		n.pool.discard(c)
		return nil, ErrTransportShutdown
	}
	return p, nil
}

func (p *netPipeline) AppendEntries(args *AppendEntriesRequest, resp *AppendEntriesResponse) (AppendFuture, error) {
	select {
	case p.slots <- struct{}{}:
	case <-p.end.broken:
		return nil, p.end.failure()
	}
	a := newPendingAppend(args, resp)
	first, err := p.queue(a)
	if err != nil {
		return nil, err
	}
	if first && !p.net.spawn(p.writeLoop) {
		p.fail(ErrTransportShutdown)
		p.writeLoop() // which sends nothing any more
	}
	return a, nil
}

// queue adds a request to those to be sent, and reports whether nobody sends any.
func (p *netPipeline) queue(a *pendingAppend) (first bool, err error) {
	p.end.mu.Lock()
	defer p.end.mu.Unlock()
	if p.end.err != nil {
		return false, p.end.err
	}
	return p.queued.add(a), nil
}

func (p *netPipeline) Consumer() <-chan AppendFuture { return p.finished }

// Close fails what is unanswered with ErrPipelineShutdown and closes the
// connection. Nothing more may come out of Consumer.
func (p *netPipeline) Close() error {
	p.end.abandon()
	p.fail(ErrPipelineShutdown)
	return nil
}

// fail takes the pipeline out of use.
func (p *netPipeline) fail(err error) {
	if !p.end.fail(err) {
		return
	}
	p.net.pool.discard(p.conn)
	if p.queued.end() {
		close(p.sent)
	}
}

// failBy takes the pipeline out of use because of an error of the connection.
func (p *netPipeline) failBy(doing string, err error) {
	if p.net.IsShutdown() {
		p.fail(ErrTransportShutdown)
		return
	}
	p.fail(fmt.Errorf("append pipeline: %s: %w", doing, err))
}

// writeLoop sends the requests, and flushes when there are no more to send. What
// it can no longer send it passes on all the same, to be failed in order.
func (p *netPipeline) writeLoop() {
	for {
		if a := p.queued.next(); a != nil {
			writeAppendEntries(p.conn.w, a.args, p.net.newTimeFormat)
			p.sent <- a
			continue
		}
		if err := p.conn.w.Flush(); err != nil {
			p.failBy("send", err)
		}
		if done, last := p.queued.rest(); done {
			if last {
				close(p.sent)
			}
			return
		}
	}
}

// readLoop receives the answers and completes the requests, all of them and in
// the order sent.
func (p *netPipeline) readLoop() {
	for a := range p.sent {
		p.receive(a)
		<-p.slots
		select {
		case p.finished <- a:
		case <-p.end.closed:
		case <-p.net.stopping:
		}
	}
}

// receive completes a request with its answer or with why there is none.
func (p *netPipeline) receive(a *pendingAppend) {
	refusal, err := p.readAnswer(a.resp)
	if err != nil {
		p.failBy("receive", err)
	}
	if err := p.end.failure(); err != nil {
		a.fail(err)
		return
	}
	a.respond(refused(refusal))
}

func (p *netPipeline) readAnswer(resp *AppendEntriesResponse) (refusal string, err error) {
	if p.net.timeout > 0 {
		_ = p.conn.conn.SetReadDeadline(time.Now().Add(p.net.timeout))
	}
	if _, err := p.conn.r.Peek(1); err != nil {
		return "", err
	}
	return readResponse(p.conn.d, resp)
}
