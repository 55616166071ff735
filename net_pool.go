package raft

import (
	"bufio"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft/internal/msgpack"
)

// This file is the dialing side's connections. The pool owns the set of all that
// are open, so that Close reaches them wherever they are in use, and which of
// them are idle.

// streamBuffer is the size of the buffer on the side of a connection that carries
// requests; the other side carries answers and has bufio's default. Larger values
// go past it.
const streamBuffer = 64 << 10

// peerConn is a connection that this node has dialed. Who has taken it from the
// pool or dialed it owns it; a pipeline has one goroutine write and another read.
type peerConn struct {
	conn net.Conn
	addr ServerAddress // as dialed
	era  int           // the pool's when it was dialed

	out io.Writer // conn, perhaps with a deadline for every write
	w   *bufio.Writer
	r   *bufio.Reader
	d   *msgpack.Stream
}

// How the deadlines of a dialed connection are set.
type deadlines bool

const (
	absoluteDeadline deadlines = false // by the user of the connection
	progressDeadline deadlines = true  // anew for each write
)

// dial connects to addr. It returns at the latest with Close; a StreamLayer that
// is still dialing then is left to itself, and what it brings is closed.
func (n *NetworkTransport) dial(addr ServerAddress, d deadlines) (*peerConn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	if n.IsShutdown() {
		return nil, ErrTransportShutdown
	}
	dialed := make(chan result)
	go func() {
		conn, err := n.stream.Dial(addr, n.timeout)
		select {
		case dialed <- result{conn, err}:
		case <-n.stopping:
			if err == nil {
				conn.Close()
			}
		}
	}()
	select {
	case res := <-dialed:
		if res.err != nil {
			return nil, n.cause(res.err)
		}
		return n.register(res.conn, addr, d)
	case <-n.stopping:
		return nil, ErrTransportShutdown
	}
}

// register makes a peerConn of conn and puts it under the control of the pool.
func (n *NetworkTransport) register(conn net.Conn, addr ServerAddress, d deadlines) (*peerConn, error) {
	c := &peerConn{conn: conn, addr: addr, out: conn}
	if d == progressDeadline && n.timeout > 0 {
		c.out = &deadlineWriter{conn, n.timeout}
	}
	c.w = bufio.NewWriterSize(c.out, streamBuffer)
	c.r = bufio.NewReader(conn)
	c.d = msgpack.NewStream(c.r)
	if !n.pool.add(c) {
		conn.Close()
		return nil, ErrTransportShutdown
	}
	return c, nil
}

// connPool keeps the dialed connections.
type connPool struct {
	maxIdle int // for each address

	mu     sync.Mutex
	open   map[*peerConn]struct{} // all of them
	idle   map[ServerAddress][]*peerConn
	era    int // connections of an earlier one are not kept
	closed bool
}

func newConnPool(maxIdle int) *connPool {
	return &connPool{
		maxIdle: maxIdle,
		open:    make(map[*peerConn]struct{}),
		idle:    make(map[ServerAddress][]*peerConn),
	}
}

// add registers a new connection, which its caller owns. It returns false if the
// pool is closed.
func (p *connPool) add(c *peerConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	c.era = p.era
	p.open[c] = struct{}{}
	return true
}

// take returns the connection to addr that was used last, nil if none is idle.
func (p *connPool) take(addr ServerAddress) *peerConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle[addr]
	if len(idle) == 0 {
		return nil
	}
	last := len(idle) - 1
	c := idle[last]
	idle[last] = nil
	p.idle[addr] = idle[:last]
	return c
}

// put makes a connection idle whose last answer has been read completely, or
// closes it if there are enough. One on which more has arrived than was asked for
// is closed too: that would be taken for the next answer.
func (p *connPool) put(c *peerConn) {
	if c.r.Buffered() > 0 || !p.keep(c) {
		p.discard(c)
	}
}

func (p *connPool) keep(c *peerConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.era != p.era || len(p.idle[c.addr]) >= p.maxIdle {
		return false
	}
	p.idle[c.addr] = append(p.idle[c.addr], c)
	return true
}

// discard closes a connection that its caller owns.
func (p *connPool) discard(c *peerConn) {
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
	c.conn.Close()
}

// closeIdle closes the idle connections to addr.
func (p *connPool) closeIdle(addr ServerAddress) {
	p.mu.Lock()
	idle := p.idle[addr]
	delete(p.idle, addr)
	p.mu.Unlock()
	for _, c := range idle {
		p.discard(c)
	}
}

// renew closes all idle connections, and those in use when they are put back.
func (p *connPool) renew() {
	p.mu.Lock()
	p.era++
	idle := p.idle
	p.idle = make(map[ServerAddress][]*peerConn)
	p.mu.Unlock()
	for _, conns := range idle {
		for _, c := range conns {
			p.discard(c)
		}
	}
}

// close takes the pool out of use and returns every connection, idle or not, for
// the caller to close.
func (p *connPool) close() []*peerConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	clear(p.idle)
	return slices.Collect(maps.Keys(p.open))
}

// deadlineWriter gives each write to a connection a time of its own, if the
// connection has deadlines.
type deadlineWriter struct {
	conn    net.Conn
	timeout time.Duration
}

func (w *deadlineWriter) Write(p []byte) (int, error) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
	return w.conn.Write(p)
}
