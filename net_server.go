package raft

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft/internal/metrics"
	"github.com/hashicorp/raft/internal/msgpack"
)

// This file is the accepting side. A serverConn is one accepted connection. Its
// read loop reads requests and hands them over without waiting for answers; its
// write loop, which runs while there are any, sends the answers in the order of the
// requests. So while one request waits for the disk the next are already there to share
// its fsync. Only heartbeats, which peers send one at a time, the read loop answers itself.

const (
	// maxBacklog and maxBacklogBytes bound the requests of one connection that
	// have been read and not been answered. One request may exceed the latter.
	maxBacklog      = 64
	maxBacklogBytes = 16 << 20

	// acceptBuffer is the size of the read buffer of an accepted connection.
	acceptBuffer = streamBuffer

	minAcceptBackoff = 5 * time.Millisecond
	maxAcceptBackoff = time.Second
)

// acceptLoop accepts connections until the transport is closed.
func (n *NetworkTransport) acceptLoop() {
	backoff := time.Duration(0)
	for {
		conn, err := n.stream.Accept()
		if n.IsShutdown() {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err == nil {
			backoff = 0
			n.serve(conn)
			continue
		}
		backoff = min(max(2*backoff, minAcceptBackoff), maxAcceptBackoff)
		n.logger.Error("failed to accept connection", "error", err)
		if !n.pause(backoff) {
			return
		}
	}
}

// pause waits, and reports whether the transport is still open afterwards.
func (n *NetworkTransport) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-n.stopping:
		return false
	}
}

// serve starts the read loop of an accepted connection.
func (n *NetworkTransport) serve(conn net.Conn) {
	n.logger.Debug("accepted connection", "local-address", n.LocalAddr(), "remote-address", conn.RemoteAddr())
	c := newServerConn(n, conn)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shutdown {
		conn.Close()
		return
	}
	n.accepted[c] = struct{}{}
	n.goroutines.Go(c.readLoop)
}

// exchange is a request that has been read, on its way to being answered.
type exchange struct {
	answer chan RPCResponse // has room for one
	labels []metrics.Label
	cost   int64
	handed time.Time // to whoever answers it

	// answered is closed when there is an answer. Nil, except for a snapshot.
	answered chan struct{}
}

// serverConn is one accepted connection.
type serverConn struct {
	// Immutable.
	net  *NetworkTransport
	conn net.Conn

	// Owned by the read loop.
	r *bufio.Reader
	d *msgpack.Stream

	// Owned by whoever answers: the write loop while there is one.
	w *bufio.Writer

	// Shared.
	exchanges  writeQueue[exchange] // to be answered, in the order read
	unanswered unanswered
	dead       chan struct{} // closed with the connection
	closing    sync.Once

	mu        sync.Mutex // guards these, and the read deadline outside of a snapshot
	ending    bool       // no more requests are to be read
	streaming bool       // a snapshot is being read
}

func newServerConn(n *NetworkTransport, conn net.Conn) *serverConn {
	c := &serverConn{
		net:        n,
		conn:       conn,
		r:          bufio.NewReaderSize(conn, acceptBuffer),
		w:          bufio.NewWriter(&deadlineWriter{conn, n.stall}),
		unanswered: unanswered{shrunk: make(chan struct{}, 1)},
		dead:       make(chan struct{}),
	}
	c.d = msgpack.NewStream(c.r)
	return c
}

// close ends both loops at once.
func (c *serverConn) close() {
	c.closing.Do(func() {
		close(c.dead)
		c.conn.Close()
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		delete(c.net.accepted, c)
	})
}

// stopReading makes the connection end when what has been read is answered; a
// snapshot is read to its end.
func (c *serverConn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	if !c.streaming {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *serverConn) isEnding() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// setStreaming notes that a snapshot begins or ends, and hands over the read
// deadline to its reader or takes it back.
func (c *serverConn) setStreaming(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streaming = on
	_ = c.conn.SetReadDeadline(time.Time{})
}

// readLoop reads requests until the connection or the transport ends. Whatever
// the reason, what was read before is still answered.
func (c *serverConn) readLoop() {
	defer func() {
		if c.exchanges.end() {
			c.close()
		}
	}()
	for c.unanswered.wait(c.dead) && !c.isEnding() {
		err := c.readOne()
		if err == nil {
			continue
		}
		if err != io.EOF && !c.isEnding() && !c.isDead() {
			c.net.logger.Error("failed to read request, closing connection", "remote-address", c.conn.RemoteAddr(), "error", err)
		}
		return
	}
}

// The names of metrics that are emitted for every request.
var (
	metricRPCType    = []string{"raft", "net", "getRPCType"}
	metricRPCDecode  = []string{"raft", "net", "rpcDecode"}
	metricRPCEnqueue = []string{"raft", "net", "rpcEnqueue"}
	metricRPCRespond = []string{"raft", "net", "rpcRespond"}
)

// readOne reads one request and hands it over. io.EOF means that the peer has
// closed the connection between two requests.
func (c *serverConn) readOne() error {
	start := time.Now()
	t, err := c.r.ReadByte()
	if err != nil {
		return err
	}
	metrics.MeasureSince(metricRPCType, start)

	start = time.Now()
	req, err := readRequest(c.d, rpcType(t))
	if err != nil {
		return fmt.Errorf("decode request: %w", err)
	}
	x := &exchange{answer: make(chan RPCResponse, 1), labels: rpcKinds[t].labels, cost: requestCost(req)}
	beat := c.net.heartbeat.of(req)
	if beat != nil {
		x.labels = heartbeatLabels
	}
	metrics.MeasureSinceWithLabels(metricRPCDecode, start, x.labels)

	if s, ok := req.(*InstallSnapshotRequest); ok {
		return c.readSnapshot(x, s)
	}
	return c.hand(x, RPC{Command: req, RespChan: x.answer}, beat)
}

// readSnapshot hands over an InstallSnapshot, waits until it is answered, and
// skips what was not read of the snapshot because it was refused. Only then does
// the next request begin.
func (c *serverConn) readSnapshot(x *exchange, req *InstallSnapshotRequest) error {
	c.setStreaming(true)
	defer c.setStreaming(false)
	x.answered = make(chan struct{})
	data := newSnapshotReader(&stallReader{c.r, c.conn, c.net.stall}, req.Size)
	if err := c.hand(x, RPC{Command: req, Reader: data, RespChan: x.answer}, nil); err != nil {
		return err
	}
	select {
	case <-x.answered:
	case <-c.dead:
		return net.ErrClosed
	}
	if err := data.drain(); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return nil
}

// hand gives a request to the heartbeat handler, or to the consumer, for whom it
// waits without bound.
func (c *serverConn) hand(x *exchange, rpc RPC, beat func(RPC)) error {
	start := time.Now()
	x.handed = start
	c.unanswered.add(x.cost)
	alone := isSentAlone(rpc.Command) && c.exchanges.takeTurn()
	if !alone && c.exchanges.add(x) {
		c.net.goroutines.Go(c.writeLoop)
	}
	if beat != nil {
		beat(rpc)
	} else {
		select {
		case c.net.requests <- rpc:
		case <-c.dead:
			return net.ErrClosed
		}
	}
	metrics.MeasureSinceWithLabels(metricRPCEnqueue, start, x.labels)
	if alone {
		return c.answerAlone(x)
	}
	return nil
}

// isSentAlone reports whether a peer sends nothing more before it has the answer.
func isSentAlone(req interface{}) bool {
	r, ok := req.(*AppendEntriesRequest)
	return ok && isHeartbeat(r)
}

// answerAlone answers the only request there is.
func (c *serverConn) answerAlone(x *exchange) error {
	err := c.answer(x)
	if err == nil {
		err = c.w.Flush()
	}
	if err != nil {
		c.fail(err)
		return err
	}
	c.exchanges.rest() // there is none: the read loop adds them
	return nil
}

// writeLoop sends the answers of the exchanges that there are.
func (c *serverConn) writeLoop() {
	for {
		x := c.exchanges.next()
		if x != nil {
			if err := c.answer(x); err != nil {
				c.fail(err)
				return
			}
			continue
		}
		if err := c.w.Flush(); err != nil {
			c.fail(err)
			return
		}
		if done, last := c.exchanges.rest(); done {
			if last {
				c.close()
			}
			return
		}
	}
}

// fail closes the connection because an answer could not be sent.
func (c *serverConn) fail(err error) {
	if !c.isDead() {
		c.net.logger.Error("failed to send answer, closing connection", "remote-address", c.conn.RemoteAddr(), "error", err)
	}
	c.close()
}

// answer waits for an exchange's answer and writes it. A node that has been shut down
// answers no more: its connections end, as if it had died. A refusal that comes over a
// connection that still works makes a leader of hashicorp/raft that is busy stop
// replicating to this server for good, also when it is back (L4).
func (c *serverConn) answer(x *exchange) error {
	resp, err := c.await(x)
	if err != nil {
		return err
	}
	if resp.Error == ErrRaftShutdown {
		_ = c.w.Flush()
		c.close()
		return net.ErrClosed
	}
	if x.answered != nil {
		close(x.answered)
	}
	if err := writeResponse(c.w, resp); err != nil {
		return err
	}
	metrics.MeasureSinceWithLabels(metricRPCRespond, x.handed, x.labels)
	c.unanswered.remove(x.cost)
	return nil
}

// await returns an exchange's answer. If it is not there yet, what has been
// written is flushed first.
func (c *serverConn) await(x *exchange) (RPCResponse, error) {
	select {
	case resp := <-x.answer:
		return resp, nil
	default:
	}
	if err := c.w.Flush(); err != nil {
		return RPCResponse{}, err
	}
	select {
	case resp := <-x.answer:
		return resp, nil
	case <-c.dead:
		return RPCResponse{}, net.ErrClosed
	}
}

func (c *serverConn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// unanswered counts what has been read from a connection and not been answered. The
// read loop adds, the write loop removes.
type unanswered struct {
	requests, bytes atomic.Int64
	shrunk          chan struct{} // has room for one
}

// wait waits until there is room, and reports whether there is before the
// connection is dead.
func (u *unanswered) wait(dead <-chan struct{}) bool {
	for u.requests.Load() >= maxBacklog || u.bytes.Load() >= maxBacklogBytes {
		select {
		case <-u.shrunk:
		case <-dead:
			return false
		}
	}
	return true
}

func (u *unanswered) add(cost int64) {
	u.requests.Add(1)
	u.bytes.Add(cost)
}

func (u *unanswered) remove(cost int64) {
	u.requests.Add(-1)
	u.bytes.Add(-cost)
	select {
	case u.shrunk <- struct{}{}:
	default:
	}
}

// requestCost is about how much memory a request takes.
func requestCost(req incoming) int64 {
	const small = 512
	r, ok := req.(*AppendEntriesRequest)
	if !ok {
		return small
	}
	cost := int64(small)
	for _, e := range r.Entries {
		if e != nil {
			cost += int64(logSize(e)) + 64
		}
	}
	return cost
}
