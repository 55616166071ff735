package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// mode is what a link does with connections and what arrives on them.
type mode int

const (
	open    mode = iota
	cut          // connections are reset, new ones too: a firewall that rejects
	swallow      // new connections are accepted, and nothing arrives: a firewall that drops, a peer that is gone
	stall        // nothing is read any more; it arrives, in order, when the link is open again
	delay        // all that arrives is late
	slow         // a few kilobytes a second
)

func (m mode) String() string {
	return [...]string{"open", "cut", "swallow", "stall", "delay", "slow"}[m]
}

const (
	chunk       = 16 << 10
	delayed     = 60 * time.Millisecond // of each chunk
	slowRate    = 32 << 10              // bytes a second
	dialTimeout = 2 * time.Second
)

// link carries all connections that one node opens to another, with requests in
// one direction and answers in the other. Its methods may be called from any
// goroutine.
type link struct {
	// hits counts what the link has done to connections and to what was on its
	// way: proof that a fault was felt.
	hits atomic.Int64

	mu      sync.Mutex
	mode    mode
	changed chan struct{} // closed when mode is no longer this one
	conns   map[*conn]struct{}
}

// conn is a connection through a link: two sockets.
type conn struct {
	ends   [2]*net.TCPConn
	dead   atomic.Bool // something was swallowed: neither end hears anything any more
	closed chan struct{}
	once   sync.Once
}

func newLink() *link {
	return &link{changed: make(chan struct{}), conns: map[*conn]struct{}{}}
}

// set changes the mode. Connections that are dead stay so.
func (l *link) set(m mode) {
	l.mu.Lock()
	l.mode = m
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	if m == cut {
		l.reset()
	}
}

func (l *link) state() (mode, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode, l.changed
}

// reset ends all connections with a reset.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		l.hits.Add(1)
		c.reset()
	}
}

// carry connects in to the server at addr and returns when the connection is over.
func (l *link) carry(in *net.TCPConn, addr string) {
	if m, _ := l.state(); m == cut {
		l.hits.Add(1)
		abort(in)
		return
	}
	out, err := net.DialTimeout("tcp", addr, dialTimeout)
	if err != nil {
		abort(in) // the server is down
		return
	}
	c := &conn{ends: [2]*net.TCPConn{in, out.(*net.TCPConn)}, closed: make(chan struct{})}
	if !l.add(c) {
		c.reset()
		return
	}
	defer l.remove(c)
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(c, 0, 1) })
	pumps.Go(func() { l.pump(c, 1, 0) })
	pumps.Wait()
}

// add fails if the link has been cut meanwhile.
func (l *link) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mode == cut {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *link) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// pump carries one direction until either end is closed. The end of one direction
// is the end of the other: neither Raft nor HTTP closes half a connection.
func (l *link) pump(c *conn, from, to int) {
	defer c.close()
	buf := make([]byte, chunk)
	for {
		n, err := c.ends[from].Read(buf)
		if n > 0 && l.pass(c, n) {
			if _, err := c.ends[to].Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass holds n bytes up for as long as they are to be, and reports whether they
// arrive at all.
func (l *link) pass(c *conn, n int) bool {
	for {
		m, changed := l.state()
		var wait time.Duration
		switch {
		case c.dead.Load():
			return false
		case m == open:
			return true
		case m == cut:
			return false
		case m == swallow:
			l.hits.Add(1)
			c.dead.Store(true)
			return false
		case m == stall:
			l.hits.Add(1)
			select {
			case <-changed:
				continue
			case <-c.closed:
				return false
			}
		case m == delay:
			wait = delayed
		case m == slow:
			wait = time.Duration(n) * time.Second / slowRate
		}
		l.hits.Add(1)
		select {
		case <-time.After(wait):
			return true
		case <-c.closed:
			return false
		}
	}
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.closed)
		c.ends[0].Close()
		c.ends[1].Close()
	})
}

func (c *conn) reset() {
	for _, end := range c.ends {
		_ = end.SetLinger(0)
	}
	c.close()
}

// abort closes a connection with a reset.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}
