package raft

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// This file is NetworkTransport as its users see it: construction, calls,
// closing. It owns the consumer channel, the heartbeat handler and the fact of
// being shut down. The accepting side is in net_server.go, the dialing side in
// net_pool.go and net_pipeline.go, the messages in wire.go.

const (
	// DefaultTimeoutScale is the default of [NetworkTransport].TimeoutScale.
	DefaultTimeoutScale = 256 * 1024 // bytes

	// DefaultMaxRPCsInFlight is how many AppendEntries a pipeline sends without
	// an answer if [NetworkTransportConfig].MaxRPCsInFlight is 0. Receivers of
	// hashicorp/raft process them one by one, so more brings little with them.
	DefaultMaxRPCsInFlight = 2
)

// minStallTimeout is how long, at least, an accepted connection may make no
// progress in the middle of a snapshot or of an answer before it is closed.
const minStallTimeout = 10 * time.Second

// closeTimeout bounds how long Close waits for its goroutines; what may hold one
// up is a heartbeat handler or a StreamLayer that does not return.
const closeTimeout = time.Second

// StreamLayer is what a [NetworkTransport] needs of a network: a listener, and a
// way to connect to other ones. TLS is commonly added here. If its connections have
// no deadlines, a peer that hangs is waited for until Close.
type StreamLayer interface {
	net.Listener

	// Dial connects to a server within timeout; 0 means no bound.
	Dial(address ServerAddress, timeout time.Duration) (net.Conn, error)
}

// ServerAddressProvider knows the present addresses of servers, for clusters in
// which the addresses in the configuration may be outdated. It is asked for
// every connection; if it fails, the address in the configuration is used.
type ServerAddressProvider interface {
	ServerAddr(id ServerID) (ServerAddress, error)
}

// NetworkTransportConfig configures a [NetworkTransport].
type NetworkTransportConfig struct {
	// ServerAddressProvider, if set, overrides the addresses of servers.
	ServerAddressProvider ServerAddressProvider

	// Logger is by default one named raft-net that writes to os.Stderr.
	Logger hclog.Logger

	// Stream is the network. It is required, except for NewTCPTransportWithConfig,
	// which sets it.
	Stream StreamLayer

	// MaxPool is how many idle connections are kept for each address. With 0
	// every request dials.
	MaxPool int

	// MaxRPCsInFlight is how many AppendEntries a pipeline sends without an
	// answer: 0 means DefaultMaxRPCsInFlight, 1 turns pipelining off.
	MaxRPCsInFlight int

	// Timeout bounds dialing, and the wait for the network and for the answer of
	// every request; 0 means no bound. A snapshot is sent under it chunk by
	// chunk, and the wait for its answer is longer in proportion to its size,
	// see NetworkTransport.TimeoutScale.
	Timeout time.Duration

	// MsgpackUseNewTimeFormat makes entries' times be sent in the format that
	// go-msgpack v1.1.5 introduced. Either format is understood.
	MsgpackUseNewTimeFormat bool
}

// NetworkTransport is a [Transport] over a [StreamLayer]. It speaks the wire
// protocol of hashicorp/raft.
//
// A request whose pooled connection turns out to be dead before any of the
// answer has arrived is sent once more, over a new connection, so a peer may get
// it twice. That is safe because every request of the protocol is idempotent.
type NetworkTransport struct {
	// TimeoutScale is the number of bytes of a snapshot for which its answer may
	// take another Timeout, because it comes after the receiver has restored the
	// snapshot; 0 or less means DefaultTimeoutScale. Set it before use.
	TimeoutScale int

	// Immutable.
	stream        StreamLayer
	logger        hclog.Logger
	provider      ServerAddressProvider
	timeout       time.Duration
	stall         time.Duration // the accepting side's bound on no progress
	inFlight      int
	newTimeFormat bool

	// Safe for any goroutine.
	requests  chan RPC
	heartbeat heartbeatHandler
	pool      *connPool
	stopping  chan struct{} // closed by Close

	goroutines sync.WaitGroup

	mu       sync.Mutex
	shutdown bool
	accepted map[*serverConn]struct{}
}

var (
	_ Transport   = (*NetworkTransport)(nil)
	_ WithPreVote = (*NetworkTransport)(nil)
	_ WithClose   = (*NetworkTransport)(nil)
)

// NewNetworkTransport returns a transport on stream that keeps up to maxPool idle
// connections for each address and logs to logOutput, or os.Stderr if that is
// nil. See [NetworkTransportConfig] for the parameters.
func NewNetworkTransport(stream StreamLayer, maxPool int, timeout time.Duration, logOutput io.Writer) *NetworkTransport {
	return NewNetworkTransportWithLogger(stream, maxPool, timeout, newNetLogger(logOutput))
}

// NewNetworkTransportWithLogger is NewNetworkTransport with a logger.
func NewNetworkTransportWithLogger(stream StreamLayer, maxPool int, timeout time.Duration, logger hclog.Logger) *NetworkTransport {
	return NewNetworkTransportWithConfig(&NetworkTransportConfig{
		Stream:  stream,
		MaxPool: maxPool,
		Timeout: timeout,
		Logger:  logger,
	})
}

// NewNetworkTransportWithConfig returns a transport, which accepts connections
// from now on. If config has no Logger it gets the default one.
func NewNetworkTransportWithConfig(config *NetworkTransportConfig) *NetworkTransport {
	if config.Logger == nil {
		config.Logger = newNetLogger(nil)
	}
	n := &NetworkTransport{
		TimeoutScale:  DefaultTimeoutScale,
		stream:        config.Stream,
		logger:        config.Logger,
		provider:      config.ServerAddressProvider,
		timeout:       config.Timeout,
		stall:         max(config.Timeout, minStallTimeout),
		inFlight:      config.MaxRPCsInFlight,
		newTimeFormat: config.MsgpackUseNewTimeFormat,
		requests:      make(chan RPC),
		pool:          newConnPool(config.MaxPool),
		stopping:      make(chan struct{}),
		accepted:      make(map[*serverConn]struct{}),
	}
	if n.inFlight == 0 {
		n.inFlight = DefaultMaxRPCsInFlight
	}
	n.goroutines.Go(n.acceptLoop)
	return n
}

func newNetLogger(output io.Writer) hclog.Logger {
	if output == nil {
		output = os.Stderr
	}
	return hclog.New(&hclog.LoggerOptions{Name: "raft-net", Output: output, Level: hclog.DefaultLevel})
}

// Consumer returns the channel of incoming requests. It is never closed.
func (n *NetworkTransport) Consumer() <-chan RPC { return n.requests }

// SetHeartbeatHandler makes cb answer heartbeats instead of whoever reads
// Consumer. It is called on the goroutine that reads from the peer and must
// answer through the RPC's RespChan; until it has, nothing more is read from that
// connection of the peer.
func (n *NetworkTransport) SetHeartbeatHandler(cb func(rpc RPC)) { n.heartbeat.set(cb) }

// LocalAddr returns the address of the StreamLayer.
func (n *NetworkTransport) LocalAddr() ServerAddress {
	return ServerAddress(n.stream.Addr().String())
}

// EncodePeer returns the server's address as it stands in messages: the one that
// the ServerAddressProvider knows, else addr.
func (n *NetworkTransport) EncodePeer(id ServerID, addr ServerAddress) []byte {
	return []byte(n.address(id, addr))
}

// DecodePeer is the inverse of EncodePeer.
func (n *NetworkTransport) DecodePeer(buf []byte) ServerAddress { return ServerAddress(buf) }

// address returns where a server is reached.
func (n *NetworkTransport) address(id ServerID, addr ServerAddress) ServerAddress {
	if n.provider == nil {
		return addr
	}
	now, err := n.provider.ServerAddr(id)
	if err != nil {
		n.logger.Warn("unable to get address for server, using fallback address", "id", id, "fallback", addr, "error", err)
		return addr
	}
	return now
}

// maxRPCsInFlight returns how many requests a pipeline has under way at most;
// below 2 there are no pipelines.
func (n *NetworkTransport) maxRPCsInFlight() int { return n.inFlight }

// AppendEntries sends a request and waits for its answer. An error that the peer
// answered with has exactly the peer's text.
func (n *NetworkTransport) AppendEntries(id ServerID, target ServerAddress, args *AppendEntriesRequest, resp *AppendEntriesResponse) error {
	return n.call(id, target, resp, func(c *peerConn) { writeAppendEntries(c.w, args, n.newTimeFormat) })
}

// RequestVote sends a request and waits for its answer, like AppendEntries.
func (n *NetworkTransport) RequestVote(id ServerID, target ServerAddress, args *RequestVoteRequest, resp *RequestVoteResponse) error {
	return n.call(id, target, resp, func(c *peerConn) { writeRequest(c.w, rpcRequestVote, args) })
}

// RequestPreVote sends a request and waits for its answer, like AppendEntries. A
// server before v1.7.0 closes the connection, which shows as io.EOF.
func (n *NetworkTransport) RequestPreVote(id ServerID, target ServerAddress, args *RequestPreVoteRequest, resp *RequestPreVoteResponse) error {
	return n.call(id, target, resp, func(c *peerConn) { writeRequest(c.w, rpcRequestPreVote, args) })
}

// TimeoutNow sends a request and waits for its answer, like AppendEntries.
func (n *NetworkTransport) TimeoutNow(id ServerID, target ServerAddress, args *TimeoutNowRequest, resp *TimeoutNowResponse) error {
	return n.call(id, target, resp, func(c *peerConn) { writeRequest(c.w, rpcTimeoutNow, args) })
}

// call does one exchange over a pooled connection or a new one. If a pooled one
// is dead the peer has probably been restarted since, so its other idle
// connections go too, and the request is sent over a new one.
func (n *NetworkTransport) call(id ServerID, target ServerAddress, resp incoming, send func(*peerConn)) error {
	addr := n.address(id, target)
	if c := n.pool.take(addr); c != nil {
		dead, err := n.exchange(c, resp, send)
		if !dead {
			return err
		}
		n.pool.closeIdle(addr)
	}
	c, err := n.dial(addr, absoluteDeadline)
	if err != nil {
		return err
	}
	_, err = n.exchange(c, resp, send)
	return err
}

// exchange sends a request and receives its answer, and gives the connection
// back or closes it. It reports as dead a connection that was closed before
// anything of the answer had arrived.
func (n *NetworkTransport) exchange(c *peerConn, resp incoming, send func(*peerConn)) (dead bool, err error) {
	if n.timeout > 0 {
		_ = c.conn.SetDeadline(time.Now().Add(n.timeout))
	}
	send(c)
	answered := false
	err = c.w.Flush()
	if err == nil {
		_, err = c.r.Peek(1)
		answered = err == nil
	}
	if !answered {
		n.pool.discard(c)
		return !isTimeout(err) && !n.IsShutdown(), n.cause(err)
	}
	refusal, err := readResponse(c.d, resp)
	if err != nil {
		n.pool.discard(c)
		return false, n.cause(err)
	}
	n.pool.put(c)
	return false, refused(refusal)
}

// InstallSnapshot sends a request and the snapshot, of which data must have
// exactly args.Size bytes, and waits for the answer, which comes when the peer
// has restored it. The transfer may take as long as it makes progress.
func (n *NetworkTransport) InstallSnapshot(id ServerID, target ServerAddress, args *InstallSnapshotRequest, resp *InstallSnapshotResponse, data io.Reader) error {
	if args.Size < 0 {
		return errNegativeSize
	}
	// A new connection, because the request cannot be repeated over another one.
	c, err := n.dial(n.address(id, target), progressDeadline)
	if err != nil {
		return err
	}
	defer n.pool.discard(c)
	writeRequest(c.w, rpcInstallSnapshot, args)
	if err := c.w.Flush(); err != nil {
		return n.cause(err)
	}
	if err := sendSnapshot(c.out, data, args.Size); err != nil {
		return n.cause(err)
	}
	if n.timeout > 0 {
		_ = c.conn.SetReadDeadline(time.Now().Add(n.restoreTimeout(args.Size)))
	}
	if _, err := c.r.Peek(1); err != nil {
		return n.cause(err)
	}
	refusal, err := readResponse(c.d, resp)
	if err != nil {
		return n.cause(err)
	}
	return refused(refusal)
}

// restoreTimeout is how long the answer to a snapshot may take.
func (n *NetworkTransport) restoreTimeout(size int64) time.Duration {
	scale := int64(n.TimeoutScale)
	if scale <= 0 {
		scale = DefaultTimeoutScale
	}
	times := max(size/scale, 1)
	if times > math.MaxInt64/int64(n.timeout) {
		return math.MaxInt64
	}
	return n.timeout * time.Duration(times)
}

// refused returns the error that a peer answered with, nil if it was none.
func refused(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// cause returns why a connection failed: because of Close, or err.
func (n *NetworkTransport) cause(err error) error {
	if err != nil && n.IsShutdown() {
		return ErrTransportShutdown
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// IsShutdown reports whether Close has been called.
func (n *NetworkTransport) IsShutdown() bool {
	select {
	case <-n.stopping:
		return true
	default:
		return false
	}
}

// CloseStreams makes connections be established anew, for instance because
// certificates have changed: idle ones are closed now, those in use for a request
// when it is done, and accepted ones when what was read from them has been
// answered. Pipelines and the listener stay.
func (n *NetworkTransport) CloseStreams() {
	n.pool.renew()
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.accepted {
		c.stopReading()
	}
}

// Close closes the listener and all connections and makes calls under way return
// [ErrTransportShutdown]; requests that nobody has taken from Consumer are
// dropped. It waits for its goroutines and the network, for a second at most, and may
// be called again. Its error is that of closing the listener.
func (n *NetworkTransport) Close() error {
	accepted, first := n.shutDown()
	if !first {
		return nil
	}
	// Side by side, because TLS says goodbye when it is closed, which can block, and a
	// listener may wait for its connections.
	listener := make(chan error, 1)
	n.goroutines.Go(func() { listener <- n.stream.Close() })
	for _, c := range accepted {
		n.goroutines.Go(c.close)
	}
	for _, c := range n.pool.close() {
		n.goroutines.Go(func() { c.conn.Close() })
	}
	n.waitForGoroutines()
	select {
	case err := <-listener:
		if err != nil {
			return fmt.Errorf("close listener: %w", err)
		}
	default: // it has not returned, which has been logged
	}
	return nil
}

// shutDown makes it known that the transport is closed, and returns the accepted
// connections of that moment; there will be no more. It reports whether this is
// the first time.
func (n *NetworkTransport) shutDown() (accepted []*serverConn, first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shutdown {
		return nil, false
	}
	n.shutdown = true
	close(n.stopping)
	return slices.Collect(maps.Keys(n.accepted)), true
}

func (n *NetworkTransport) waitForGoroutines() {
	done := make(chan struct{})
	go func() {
		n.goroutines.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		n.logger.Warn("transport closed, but a handler or the network has not returned")
	}
}

// spawn runs f as one of the goroutines that Close waits for, unless it is too
// late for that.
func (n *NetworkTransport) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shutdown {
		return false
	}
	n.goroutines.Go(f)
	return true
}
