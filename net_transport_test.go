package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft/internal/leaks"
)

// frame is a request as it goes over the wire, type byte included.
func frame(t rpcType, args interface{}) []byte {
	return append([]byte{byte(t)}, encodeRequest(t, args, false)...)
}

func writeTo(t testing.TB, conn net.Conn, frames ...[]byte) {
	t.Helper()
	if _, err := conn.Write(bytes.Join(frames, nil)); err != nil {
		t.Fatal(err)
	}
}

// answerFrame is an answer as it goes over the wire.
func answerFrame(body outgoing) []byte { return body.encode([]byte{0xa0}) }

func expectBytes(t testing.TB, conn net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %q (%v), want %q", got[:n], err, want)
	}
}

func expectEOF(t testing.TB, conn net.Conn) {
	t.Helper()
	n, err := conn.Read(make([]byte, 1))
	if n > 0 || err == nil || isTimeout(err) {
		t.Fatalf("the connection is open: %d bytes, %v", n, err)
	}
}

// The second request arrives before the first is answered; answers keep the
// requests' order whatever the order in which they are given.
func TestServerReadsAhead(t *testing.T) {
	leaks.Check(t)
	n := newTestTransport(t, nil)
	conn := dialTest(t, n)
	writeTo(t, conn, frame(rpcAppendEntries, realAppend(1)), frame(rpcAppendEntries, realAppend(2)))
	first, second := <-n.Consumer(), <-n.Consumer()
	second.Respond(&AppendEntriesResponse{Term: 2}, nil)
	first.Respond(&AppendEntriesResponse{Term: 1}, nil)
	expectBytes(t, conn, answerFrame(&AppendEntriesResponse{Term: 1}))
	expectBytes(t, conn, answerFrame(&AppendEntriesResponse{Term: 2}))
}

// An answer does not wait for the next one.
func TestServerAnswersAtOnce(t *testing.T) {
	leaks.Check(t)
	n := newTestTransport(t, nil)
	conn := dialTest(t, n)
	writeTo(t, conn, frame(rpcAppendEntries, realAppend(1)), frame(rpcAppendEntries, realAppend(2)))
	first, _ := <-n.Consumer(), <-n.Consumer()
	first.Respond(&AppendEntriesResponse{Term: 1}, nil)
	expectBytes(t, conn, answerFrame(&AppendEntriesResponse{Term: 1}))
}

// How far it reads ahead is bounded in requests and in bytes.
func TestServerReadAheadIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name       string
		size, want int
	}{
		{"small requests", 10, maxBacklog},
		{"large requests", 4 << 20, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaks.Check(t)
			n := newTestTransport(t, nil)
			conn := dialTest(t, n)
			req := realAppend(1)
			req.Entries[0].Data = make([]byte, tt.size)
			b := frame(rpcAppendEntries, req)
			go func() {
				for range maxBacklog + 10 {
					conn.Write(b)
				}
			}()
			var open []RPC
			for range tt.want {
				open = append(open, <-n.Consumer())
			}
			select {
			case <-n.Consumer():
				t.Fatalf("more than %d requests are unanswered", tt.want)
			case <-time.After(50 * time.Millisecond):
			}
			open[0].Respond(&AppendEntriesResponse{}, nil)
			<-n.Consumer()
		})
	}
}

// What follows a snapshot is read only when that has been answered and all of its
// bytes are gone.
func TestServerWaitsForSnapshot(t *testing.T) {
	for _, tt := range []struct {
		name string
		read int64
	}{{"all read", 100_000}, {"half read", 50_000}, {"refused unread", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			leaks.Check(t)
			n := newTestTransport(t, nil)
			conn := dialTest(t, n)
			go conn.Write(bytes.Join([][]byte{
				frame(rpcInstallSnapshot, &InstallSnapshotRequest{Size: 100_000}), make([]byte, 100_000),
				frame(rpcAppendEntries, realAppend(1)),
			}, nil))
			install := <-n.Consumer()
			if _, err := io.CopyN(io.Discard, install.Reader, tt.read); err != nil {
				t.Fatal(err)
			}
			select {
			case <-n.Consumer():
				t.Fatal("the next request came before the answer")
			case <-time.After(10 * time.Millisecond):
			}
			install.Respond(&InstallSnapshotResponse{Term: 3}, nil)
			expectBytes(t, conn, answerFrame(&InstallSnapshotResponse{Term: 3}))
			rpc := <-n.Consumer()
			rpc.Respond(&AppendEntriesResponse{Term: 4}, nil)
			expectBytes(t, conn, answerFrame(&AppendEntriesResponse{Term: 4}))
		})
	}
}

// A connection that brings nonsense is closed and logged; nothing panics, and
// what came before it is answered.
func TestServerClosesOnNonsense(t *testing.T) {
	random := make([]byte, 1000)
	rand.New(rand.NewSource(1)).Read(random)
	for name, nonsense := range map[string][]byte{
		"unknown type":   {9, 0x80},
		"no msgpack":     {0, 0xc1},
		"random":         append([]byte{2}, random...),
		"negative size":  append([]byte{2}, unhex(t, "81a453697a65ff")...),
		"huge claim":     append([]byte{1}, unhex(t, "81a943616e646964617465dbffffffff")...),
		"lots of fields": append([]byte{3}, unhex(t, "dfffffffffc1")...),
	} {
		t.Run(name, func(t *testing.T) {
			leaks.Check(t)
			var log syncBuffer
			n := newTestTransport(t, &NetworkTransportConfig{Logger: newNetLogger(&log)})
			consume(t, n, func(rpc RPC) { rpc.Respond(&AppendEntriesResponse{Term: 1}, nil) })
			conn := dialTest(t, n)
			writeTo(t, conn, frame(rpcAppendEntries, realAppend(1)))
			expectBytes(t, conn, answerFrame(&AppendEntriesResponse{Term: 1}))
			writeTo(t, conn, nonsense)
			expectEOF(t, conn)
			eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), "[ERROR] raft-net: failed to read request") })
		})
	}
}

// An answer that the peer's decoder cannot read, or that goes on where it should
// end, costs the connection and nothing else.
func TestClientDistrustsAnswers(t *testing.T) {
	good := answerFrame(&AppendEntriesResponse{Term: 3})
	for _, tt := range []struct {
		name   string
		answer []byte
		ok     bool
	}{
		{"no msgpack", []byte{0xc1}, false},
		{"a huge text", unhex(t, "dbffffffff"), false},
		{"cut off", good[:len(good)-1], false},
		{"with something behind it", append(bytes.Clone(good), good...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			leaks.Check(t)
			var conns atomic.Int32
			addr := fakePeer(t, func(conn net.Conn) {
				conns.Add(1)
				conn.Read(make([]byte, 4096))
				conn.Write(tt.answer)
			})
			n := newTestTransport(t, &NetworkTransportConfig{MaxPool: 3})
			for i := range int32(2) {
				err := n.AppendEntries("x", addr, realAppend(1), new(AppendEntriesResponse))
				if (err == nil) != tt.ok {
					t.Error(err)
				}
				if conns.Load() != i+1 {
					t.Errorf("%d connections for %d calls", conns.Load(), i+1)
				}
			}
		})
	}
}

// echo answers AppendEntries on conn with their terms, count times.
func echo(t *testing.T, conn net.Conn, count int) {
	for range count {
		buf := make([]byte, 4096)
		if n, err := conn.Read(buf); n == 0 || err != nil {
			return
		}
		conn.Write(answerFrame(&AppendEntriesResponse{Success: true}))
	}
}

// A pooled connection whose peer has gone is replaced, once and unnoticed; the
// other idle ones to it go too.
func TestClientRetriesDeadPooledConnection(t *testing.T) {
	leaks.Check(t)
	var conns atomic.Int32
	release := make(chan struct{})
	addr := fakePeer(t, func(conn net.Conn) {
		if conns.Add(1) <= 2 {
			go echo(t, conn, 1)
			<-release // so that two are open at a time
			return
		}
		echo(t, conn, 100)
	})
	n := newTestTransport(t, &NetworkTransportConfig{MaxPool: 3})
	call := func() error { return n.AppendEntries("x", addr, realAppend(1), new(AppendEntriesResponse)) }

	// Two idle connections, the way two concurrent calls leave them.
	c1, err := n.dial(addr, absoluteDeadline)
	if err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	n.pool.put(c1)
	close(release)
	waitClosed(t, n, addr)
	if err := call(); err != nil {
		t.Errorf("the dead connection showed: %v", err)
	}
	if err := call(); err != nil {
		t.Error(err)
	}
	if conns.Load() != 3 || len(n.pool.open) != 1 {
		t.Errorf("%d connections, %d open; want the two that died and one more", conns.Load(), len(n.pool.open))
	}
}

// A peer that is silent on a pooled connection is not asked again.
func TestClientDoesNotRetryTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 10 * time.Second
		network := newPipeNet()
		peer := network.listen("b")
		go func() {
			for conn, err := peer.Accept(); err == nil; conn, err = peer.Accept() {
				go func() {
					echo(t, conn, 1)
					io.Copy(io.Discard, conn)
				}()
			}
		}()
		n := network.transport("a", &NetworkTransportConfig{MaxPool: 1, Timeout: timeout})
		call := func() error { return n.AppendEntries("b", "b", heartbeat(1), new(AppendEntriesResponse)) }
		if err := call(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := call(); !isTimeout(err) || time.Since(start) != timeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		n.Close()
		peer.Close()
	})
}

// A snapshot with more bytes than announced does not arrive whole.
func TestSnapshotTooLong(t *testing.T) {
	for _, size := range []int64{0, 10, snapshotChunk, 3*snapshotChunk + 1} {
		var sent bytes.Buffer
		err := sendSnapshot(&sent, io.LimitReader(zeros{}, size+1), size)
		if err == nil || size > 0 && int64(sent.Len()) >= size {
			t.Errorf("size %d: %d bytes sent, %v", size, sent.Len(), err)
		}
		sent.Reset()
		if err := sendSnapshot(&sent, io.LimitReader(zeros{}, size), size); err != nil || int64(sent.Len()) != size {
			t.Errorf("size %d: %d bytes sent, %v", size, sent.Len(), err)
		}
	}
}

// waitClosed waits until the peer has closed all idle connections to addr, by
// peeking into them.
func waitClosed(t *testing.T, n *NetworkTransport, addr ServerAddress) {
	t.Helper()
	n.pool.mu.Lock()
	defer n.pool.mu.Unlock()
	for _, c := range n.pool.idle[addr] {
		c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			if _, err := c.conn.Read(make([]byte, 100)); err != nil {
				if isTimeout(err) {
					t.Fatal("the peer keeps the connection open")
				}
				break
			}
		}
	}
}

// A new connection is not tried twice: what it says holds. A server that does not
// know pre-votes closes the connection, and the caller sees that.
func TestClientReportsClosedConnection(t *testing.T) {
	leaks.Check(t)
	var conns atomic.Int32
	addr := fakePeer(t, func(conn net.Conn) {
		conns.Add(1)
		conn.Read(make([]byte, 4096))
	})
	n := newTestTransport(t, nil)
	if err := n.RequestPreVote("x", addr, &RequestPreVoteRequest{}, new(RequestPreVoteResponse)); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

func TestPoolSize(t *testing.T) {
	leaks.Check(t)
	for _, tt := range []struct{ maxPool, conns int }{{0, 3}, {1, 1}} {
		var conns atomic.Int32
		addr := fakePeer(t, func(conn net.Conn) { conns.Add(1); echo(t, conn, 100) })
		n := newTestTransport(t, &NetworkTransportConfig{MaxPool: tt.maxPool})
		for range 3 {
			if err := n.AppendEntries("x", addr, realAppend(1), new(AppendEntriesResponse)); err != nil {
				t.Fatal(err)
			}
		}
		if int(conns.Load()) != tt.conns {
			t.Errorf("MaxPool %d: %d connections for 3 calls, want %d", tt.maxPool, conns.Load(), tt.conns)
		}
	}
}

// CloseStreams ends idle connections in both directions, after what was read is
// answered, and the transport goes on.
func TestCloseStreams(t *testing.T) {
	leaks.Check(t)
	a, b := newTestTransport(t, nil), newTestTransport(t, nil)
	call := func() error { return a.AppendEntries("b", b.LocalAddr(), realAppend(1), new(AppendEntriesResponse)) }
	rpcs := make(chan RPC)
	consume(t, b, func(rpc RPC) { rpcs <- rpc })
	answer := func() {
		rpc := <-rpcs
		rpc.Respond(&AppendEntriesResponse{}, nil)
	}
	errs := make(chan error, 1)
	go func() { errs <- call() }()
	rpc := <-rpcs
	a.CloseStreams() // the connection is in use: it is not kept afterwards
	b.CloseStreams() // the request has been read: it is answered
	rpc.Respond(&AppendEntriesResponse{}, nil)
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	eventually(t, "b's connection ends", func() bool { return b.acceptedCount() == 0 })
	if len(a.pool.open) != 0 {
		t.Error("a keeps a connection")
	}
	go answer()
	if err := call(); err != nil {
		t.Fatal(err)
	}
	b.CloseStreams()
	eventually(t, "b's idle connection ends", func() bool { return b.acceptedCount() == 0 })
	a.CloseStreams()
	if len(a.pool.open) != 0 {
		t.Error("a keeps an idle connection")
	}
	go answer()
	if err := call(); err != nil {
		t.Fatal(err)
	}
}

func (n *NetworkTransport) acceptedCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.accepted)
}

// A snapshot that is being received is received to its end.
func TestCloseStreamsDuringSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipeNet()
		a := network.transport("a", &NetworkTransportConfig{})
		b := network.transport("b", &NetworkTransportConfig{})
		defer a.Close()
		defer b.Close()
		data, feed := io.Pipe()
		errs := make(chan error, 1)
		go func() {
			errs <- a.InstallSnapshot("b", "b", &InstallSnapshotRequest{Size: 6}, new(InstallSnapshotResponse), data)
		}()
		rpc := <-b.Consumer()
		go func() {
			got, err := io.ReadAll(rpc.Reader)
			if string(got) != "123456" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			rpc.Respond(&InstallSnapshotResponse{}, nil)
		}()
		synctest.Wait()
		b.CloseStreams()
		synctest.Wait()
		feed.Write([]byte("123456"))
		feed.Close()
		if err := <-errs; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if b.acceptedCount() != 0 {
			t.Error("the connection is kept")
		}
	})
}

// Close ends everything: requests nobody takes, idle connections of both sides,
// calls under way, and a dial that hangs (H25).
func TestCloseEndsEverything(t *testing.T) {
	leaks.Check(t)
	n := newTestTransport(t, nil)
	waiting := dialTest(t, n)
	writeTo(t, waiting, frame(rpcRequestVote, &RequestVoteRequest{}))
	idle := dialTest(t, n)
	unanswered := dialTest(t, n)
	writeTo(t, unanswered, frame(rpcAppendEntries, realAppend(1)), frame(rpcAppendEntries, realAppend(2)))
	<-n.Consumer()

	silent := fakePeer(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	errs := make(chan error, 1)
	go func() { errs <- n.TimeoutNow("x", silent, &TimeoutNowRequest{}, new(TimeoutNowResponse)) }()
	eventually(t, "the call is under way", func() bool { n.pool.mu.Lock(); defer n.pool.mu.Unlock(); return len(n.pool.open) > 0 })

	start := time.Now()
	closeTwice(t, n)
	if d := time.Since(start); d >= closeTimeout {
		t.Errorf("Close took %v", d)
	}
	if err := <-errs; err != ErrTransportShutdown {
		t.Errorf("the call returned %v", err)
	}
	for _, conn := range []net.Conn{waiting, idle, unanswered} {
		expectEOF(t, conn)
	}
	if !n.IsShutdown() {
		t.Error("IsShutdown is false")
	}
	if err := n.RequestVote("x", silent, &RequestVoteRequest{}, new(RequestVoteResponse)); err != ErrTransportShutdown {
		t.Errorf("a later call returned %v", err)
	}
	if _, err := n.AppendEntriesPipeline("x", silent); err != ErrTransportShutdown {
		t.Errorf("a later pipeline returned %v", err)
	}
}

func TestCloseDoesNotWaitForDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := newPipeNet()
		n := net.transport("a", &NetworkTransportConfig{Timeout: time.Hour})
		errs := make(chan error, 1)
		go func() { errs <- n.RequestVote("x", "hangs", &RequestVoteRequest{}, new(RequestVoteResponse)) }()
		synctest.Wait()
		start := time.Now()
		n.Close()
		if err := <-errs; err != ErrTransportShutdown {
			t.Error(err)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
		time.Sleep(2 * time.Hour) // the dial ends
	})
}

// A StreamLayer may wait in Close until its connections are closed, or for ever.
func TestCloseDoesNotWaitForListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipeNet()
		l := &waitingListener{pipeLayer: network.listen("b"), release: make(chan struct{})}
		n := NewNetworkTransportWithConfig(&NetworkTransportConfig{Stream: l, Logger: hclog.NewNullLogger()})
		conn, err := network.listen("a").Dial("b", 0)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := n.Close(); err != nil || time.Since(start) > closeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		expectEOF(t, conn)
		close(l.release)
	})
}

type waitingListener struct {
	*pipeLayer
	release chan struct{}
}

func (l *waitingListener) Close() error {
	<-l.release
	return l.pipeLayer.Close()
}

// A listener's failure to close is reported.
func TestCloseReportsListenerError(t *testing.T) {
	l := &failingListener{newPipeNet().listen("a")}
	n := NewNetworkTransportWithConfig(&NetworkTransportConfig{Stream: l, Logger: hclog.NewNullLogger()})
	if err := n.Close(); !errors.Is(err, errInjected) {
		t.Error(err)
	}
}

type failingListener struct{ *pipeLayer }

func (l *failingListener) Close() error { return errors.Join(l.pipeLayer.Close(), errInjected) }

// noDeadlines is a StreamLayer whose connections have no deadlines, like the channels
// of an SSH connection.
type noDeadlines struct{ *pipeLayer }

func (l noDeadlines) Accept() (net.Conn, error) {
	c, err := l.pipeLayer.Accept()
	return noDeadlineConn{c}, err
}

func (l noDeadlines) Dial(addr ServerAddress, timeout time.Duration) (net.Conn, error) {
	c, err := l.pipeLayer.Dial(addr, timeout)
	return noDeadlineConn{c}, err
}

type noDeadlineConn struct{ net.Conn }

func (noDeadlineConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (noDeadlineConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (noDeadlineConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

func TestPipeliningCanBeTurnedOff(t *testing.T) {
	n := newTestTransport(t, &NetworkTransportConfig{MaxRPCsInFlight: 1})
	if _, err := n.AppendEntriesPipeline("x", "127.0.0.1:1"); err != ErrPipelineReplicationNotSupported {
		t.Error(err)
	}
	if n.maxRPCsInFlight() != 1 || newTestTransport(t, nil).maxRPCsInFlight() != DefaultMaxRPCsInFlight {
		t.Error("maxRPCsInFlight is wrong")
	}
}

// When a pipeline's connection breaks, every request under way fails with a zero
// response, in order, and the next call says why.
func TestPipelineBreaks(t *testing.T) {
	leaks.Check(t)
	addr := fakePeer(t, func(conn net.Conn) {
		echo(t, conn, 1)
		conn.Read(make([]byte, 1))
	})
	n := newTestTransport(t, &NetworkTransportConfig{MaxRPCsInFlight: 3})
	pipe := openPipeline(t, transportPair{n, fixedAddr{addr: addr}})
	appendTo(t, pipe, 1)
	if f := <-pipe.Consumer(); f.Error() != nil || !f.Response().Success {
		t.Fatal(f.Error())
	}
	resp := &AppendEntriesResponse{Term: 9}
	if _, err := pipe.AppendEntries(realAppend(2), resp); err != nil {
		t.Fatal(err)
	}
	f := <-pipe.Consumer()
	if f.Error() == nil || resp.Term != 0 || f.Request().Term != 2 {
		t.Errorf("%v, %+v", f.Error(), resp)
	}
	if _, err := pipe.AppendEntries(realAppend(3), resp); err == nil || err.Error() != f.Error().Error() {
		t.Errorf("afterwards: %v", err)
	}
}

// fixedAddr stands for a transport of which only the address matters.
type fixedAddr struct {
	testedTransport
	addr ServerAddress
}

func (f fixedAddr) LocalAddr() ServerAddress { return f.addr }

// pipeNet is a network of net.Pipes, for tests in virtual time. It dials without
// delay, except the address "hangs", which answers after an hour.
type pipeNet struct{ listeners sync.Map } // from ServerAddress to *pipeLayer

func newPipeNet() *pipeNet { return new(pipeNet) }

// transport returns a transport at an address of the network.
func (p *pipeNet) transport(addr ServerAddress, config *NetworkTransportConfig) *NetworkTransport {
	config.Stream = p.listen(addr)
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	return NewNetworkTransportWithConfig(config)
}

func (p *pipeNet) listen(addr ServerAddress) *pipeLayer {
	l := &pipeLayer{net: p, addr: addr, dialed: make(chan net.Conn), closed: make(chan struct{})}
	p.listeners.Store(addr, l)
	return l
}

type pipeLayer struct {
	net    *pipeNet
	addr   ServerAddress
	dialed chan net.Conn
	closed chan struct{}
}

func (l *pipeLayer) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialed:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeLayer) Dial(addr ServerAddress, _ time.Duration) (net.Conn, error) {
	if addr == "hangs" {
		time.Sleep(time.Hour)
	}
	peer, ok := l.net.listeners.Load(addr)
	if !ok {
		return nil, fmt.Errorf("nobody listens at %s", addr)
	}
	ours, theirs := net.Pipe()
	peer.(*pipeLayer).dialed <- theirs
	return ours, nil
}

func (l *pipeLayer) Close() error   { close(l.closed); return nil }
func (l *pipeLayer) Addr() net.Addr { return pipeAddr(l.addr) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// How long calls wait for a peer that is connected and says nothing.
func TestDeadlines(t *testing.T) {
	const timeout = 10 * time.Second
	for _, tt := range []struct {
		name string
		call func(n *NetworkTransport) error
		want time.Duration
	}{
		{"AppendEntries", func(n *NetworkTransport) error {
			return n.AppendEntries("x", "silent", realAppend(1), new(AppendEntriesResponse))
		}, timeout},
		{"RequestVote", func(n *NetworkTransport) error {
			return n.RequestVote("x", "silent", &RequestVoteRequest{}, new(RequestVoteResponse))
		}, timeout},
		{"pipeline", func(n *NetworkTransport) error {
			p, err := n.AppendEntriesPipeline("x", "silent")
			if err != nil {
				return err
			}
			defer p.Close()
			f, err := p.AppendEntries(realAppend(1), new(AppendEntriesResponse))
			if err != nil {
				return err
			}
			return f.Error()
		}, timeout},
		{"a small snapshot", func(n *NetworkTransport) error { return installZeros(n, "silent", 1000) }, timeout},
		{"a large snapshot", func(n *NetworkTransport) error { return installZeros(n, "silent", 4*DefaultTimeoutScale) }, 4 * timeout},
		{"a scale of 0", func(n *NetworkTransport) error {
			n.TimeoutScale = 0
			return installZeros(n, "silent", 3*DefaultTimeoutScale)
		}, 3 * timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipeNet()
				peer := network.listen("silent")
				go func() {
					if conn, err := peer.Accept(); err == nil {
						io.Copy(io.Discard, conn)
					}
				}()
				n := network.transport("a", &NetworkTransportConfig{Timeout: timeout})
				defer n.Close()
				start := time.Now()
				err := tt.call(n)
				if d := time.Since(start); !isTimeout(err) || d != tt.want {
					t.Errorf("%v after %v, want a timeout after %v", err, d, tt.want)
				}
			})
		})
	}
}

func installZeros(n *NetworkTransport, target ServerAddress, size int64) error {
	return n.InstallSnapshot("x", target, &InstallSnapshotRequest{Size: size}, new(InstallSnapshotResponse), io.LimitReader(zeros{}, size))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A transfer may take any time as long as it moves; one that stops ends after the
// timeout, on either side (P3, H18).
func TestSnapshotProgress(t *testing.T) {
	const timeout = 20 * time.Second // above minStallTimeout
	for _, tt := range []struct {
		name   string
		chunks int // that the receiver takes, one every 15 seconds
		moves  bool
	}{
		{"moves", 20, true},
		{"stops at the receiver", 5, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipeNet()
				b := network.transport("b", &NetworkTransportConfig{Timeout: timeout})
				a := network.transport("a", &NetworkTransportConfig{Timeout: timeout})
				defer a.Close()
				defer b.Close()
				go func() {
					rpc := <-b.Consumer()
					for range tt.chunks {
						time.Sleep(15 * time.Second)
						io.CopyN(io.Discard, rpc.Reader, snapshotChunk)
					}
					if tt.moves {
						rpc.Respond(&InstallSnapshotResponse{}, nil)
						return
					}
					time.Sleep(time.Hour)
					rpc.Respond(nil, errors.New("too late"))
				}()
				err := installZeros(a, "b", 20*snapshotChunk)
				if (err == nil) != tt.moves {
					t.Error(err)
				}
				time.Sleep(2 * time.Hour) // the receiver ends
			})
		})
	}

	t.Run("stops at the sender", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipeNet()
			b := network.transport("b", &NetworkTransportConfig{Timeout: timeout})
			defer b.Close()
			conn, err := network.listen("a").Dial("b", 0)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				conn.Write(frame(rpcInstallSnapshot, &InstallSnapshotRequest{Size: 100}))
				conn.Write([]byte("some"))
				io.Copy(io.Discard, conn)
			}()
			rpc := <-b.Consumer()
			start := time.Now()
			data, err := io.ReadAll(rpc.Reader)
			if d := time.Since(start); string(data) != "some" || !isTimeout(err) || d != timeout {
				t.Errorf("%q, %v after %v", data, err, d)
			}
			rpc.Respond(&InstallSnapshotResponse{}, err)
			synctest.Wait()
			if b.acceptedCount() != 0 {
				t.Error("the connection is kept")
			}
			conn.Close()
		})
	})
}

// A peer that sends requests and takes no answers is cut off.
func TestServerCutsOffDeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipeNet()
		b := network.transport("b", &NetworkTransportConfig{Timeout: time.Second})
		defer b.Close()
		conn, err := network.listen("a").Dial("b", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go conn.Write(frame(rpcTimeoutNow, &TimeoutNowRequest{}))
		rpc := <-b.Consumer()
		rpc.Respond(&TimeoutNowResponse{}, nil)
		time.Sleep(minStallTimeout - 1)
		synctest.Wait()
		if b.acceptedCount() != 1 {
			t.Error("cut off too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if b.acceptedCount() != 0 {
			t.Error("not cut off")
		}
	})
}

// A pipeline sends what is waiting in as few writes as it can.
func TestPipelineCoalescesWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipeNet()
		peer := network.listen("b")
		n := network.transport("a", &NetworkTransportConfig{MaxRPCsInFlight: 8})
		defer n.Close()
		conns := make(chan net.Conn, 1)
		go func() { c, _ := peer.Accept(); conns <- c }()
		p, err := n.AppendEntriesPipeline("b", "b")
		if err != nil {
			t.Fatal(err)
		}
		conn := <-conns
		appendTo(t, p, 1)
		synctest.Wait() // the first is being written; nobody reads yet
		for i := range uint64(5) {
			appendTo(t, p, i+2)
		}
		buf := make([]byte, 1<<16)
		one := len(frame(rpcAppendEntries, realAppend(1)))
		for _, want := range []int{one, 5 * one} {
			if got, err := conn.Read(buf); got != want || err != nil {
				t.Errorf("a write of %d bytes (%v), want %d", got, err, want)
			}
		}
		p.Close()
	})
}

// newRawPeer returns a transport and a connection to it.
func newRawPeer(t *testing.T) (*NetworkTransport, net.Conn) {
	t.Helper()
	network := newPipeNet()
	b := network.transport("b", &NetworkTransportConfig{})
	conn, err := network.listen("a").Dial("b", 0)
	if err != nil {
		b.Close()
		t.Fatal(err)
	}
	return b, conn
}

// Answers that are ready together leave together.
func TestServerCoalescesAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, conn := newRawPeer(t)
		defer b.Close()
		defer conn.Close()
		var rpcs []RPC
		go conn.Write(bytes.Repeat(frame(rpcTimeoutNow, &TimeoutNowRequest{}), 3))
		for range 3 {
			rpcs = append(rpcs, <-b.Consumer())
		}
		for _, i := range []int{2, 1, 0} {
			rpcs[i].Respond(&TimeoutNowResponse{}, nil)
		}
		buf := make([]byte, 4096)
		want := 3 * len(answerFrame(&TimeoutNowResponse{}))
		if got, err := conn.Read(buf); got != want || err != nil {
			t.Errorf("a write of %d bytes (%v), want %d", got, err, want)
		}
	})
}

// A heartbeat behind a request that is not answered yet is answered after it, though by
// itself it is answered by whoever read it.
func TestHeartbeatWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, conn := newRawPeer(t)
		defer b.Close()
		defer conn.Close()
		requests := append(frame(rpcAppendEntries, realAppend(1)), frame(rpcAppendEntries, heartbeat(2))...)
		go conn.Write(append(requests, frame(rpcAppendEntries, heartbeat(3))...))
		first, second := <-b.Consumer(), <-b.Consumer()
		answer := func(term uint64) *AppendEntriesResponse { return &AppendEntriesResponse{Term: term, Success: true} }
		var want []byte
		for term := range uint64(3) {
			want = append(want, answerFrame(answer(term+1))...)
		}
		got := make([]byte, len(want))
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(conn, got)
			read <- err
		}()
		second.Respond(answer(2), nil)
		synctest.Wait()
		first.Respond(answer(1), nil)
		third := <-b.Consumer()
		third.Respond(answer(3), nil)
		if err := <-read; err != nil || !bytes.Equal(got, want) {
			t.Errorf("the answers are %x (%v), want %x", got, err, want)
		}
	})
}

// A listener that fails is asked again, at growing intervals, until Close.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &brokenListener{pipeLayer: newPipeNet().listen("a")}
		n := NewNetworkTransportWithConfig(&NetworkTransportConfig{Stream: l, Logger: hclog.NewNullLogger()})
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		// At 0, 5, 15, 35, 75, 155, 315, 635, 1275 ms, then every second.
		if got := l.accepts.Load(); got != 12 {
			t.Errorf("%d attempts in 5s", got)
		}
		n.Close()
		synctest.Wait()
		got := l.accepts.Load()
		time.Sleep(time.Minute)
		if l.accepts.Load() != got {
			t.Error("it goes on after Close")
		}
	})
}

type brokenListener struct {
	*pipeLayer
	accepts atomic.Int32
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.accepts.Add(1)
	return nil, errors.New("no file descriptors")
}

// The provider's address is dialed and encoded; without one, the given address.
func TestServerAddressProvider(t *testing.T) {
	target := newTestTransport(t, nil)
	consume(t, target, func(rpc RPC) { rpc.Respond(&RequestVoteResponse{}, nil) })
	provider := addressBook{"b": target.LocalAddr()}
	n := newTestTransport(t, &NetworkTransportConfig{ServerAddressProvider: provider})
	if err := n.RequestVote("b", "nowhere:1", &RequestVoteRequest{}, new(RequestVoteResponse)); err != nil {
		t.Error(err)
	}
	if err := n.RequestVote("c", target.LocalAddr(), &RequestVoteRequest{}, new(RequestVoteResponse)); err != nil {
		t.Error("no fallback:", err)
	}
	if got := string(n.EncodePeer("b", "nowhere:1")); got != string(target.LocalAddr()) {
		t.Error(got)
	}
}

type addressBook map[ServerID]ServerAddress

func (b addressBook) ServerAddr(id ServerID) (ServerAddress, error) {
	if addr, ok := b[id]; ok {
		return addr, nil
	}
	return "", errors.New("unknown")
}

func TestTCPAddresses(t *testing.T) {
	ip := net.IPv4(10, 0, 0, 1)
	for _, tt := range []struct {
		name      string
		bind      string
		advertise net.Addr
		want      string
	}{
		{"the listener's", "127.0.0.1:0", nil, ""},
		{"the listener's, unspecified", "0.0.0.0:0", nil, "local bind address is not advertisable"},
		{"given", "0.0.0.0:0", &net.TCPAddr{IP: ip, Port: 5}, ""},
		{"given, unspecified", "127.0.0.1:0", &net.TCPAddr{Port: 5}, "local bind address is not advertisable"},
		{"given, zero", "127.0.0.1:0", &net.TCPAddr{IP: net.IPv6zero, Port: 5}, "local bind address is not advertisable"},
		{"a host name", "0.0.0.0:0", hostAddr("db.example:8300"), ""},
		{"no host", "0.0.0.0:0", hostAddr(":8300"), "local bind address is not advertisable"},
		{"UDP", "127.0.0.1:0", &net.UDPAddr{IP: ip, Port: 5}, "local address is not a TCP address"},
	} {
		n, err := NewTCPTransport(tt.bind, tt.advertise, 1, time.Second, io.Discard)
		if errorText(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err != nil {
			continue
		}
		if tt.advertise != nil && string(n.LocalAddr()) != tt.advertise.String() {
			t.Errorf("%s: LocalAddr is %s", tt.name, n.LocalAddr())
		}
		n.Close()
	}
	if _, err := NewTCPTransport("256.0.0.1:0", nil, 1, time.Second, io.Discard); err == nil {
		t.Error("an address that is none can be listened on")
	}
}

type hostAddr string

func (hostAddr) Network() string  { return "tcp" }
func (h hostAddr) String() string { return string(h) }

// Host names are looked up when they are dialed.
func TestTCPDialsHostNames(t *testing.T) {
	target := newTestTransport(t, nil)
	consume(t, target, func(rpc RPC) { rpc.Respond(&TimeoutNowResponse{}, nil) })
	_, port, err := net.SplitHostPort(string(target.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	n := newTestTransport(t, nil)
	if err := n.TimeoutNow("x", ServerAddress("localhost:"+port), &TimeoutNowRequest{}, new(TimeoutNowResponse)); err != nil {
		t.Error(err)
	}
}

func TestDefaultLogger(t *testing.T) {
	config := &NetworkTransportConfig{}
	n, err := NewTCPTransportWithConfig("127.0.0.1:0", nil, config)
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	if config.Logger == nil || config.Logger.Name() != "raft-net" || config.Stream == nil {
		t.Errorf("%+v", config)
	}
}

// FuzzServer sends anything to a transport: it must neither panic nor hang, and keep
// nothing, however its requests are answered.
func FuzzServer(f *testing.F) {
	for _, e := range goldenExchanges(f) {
		if len(e.request) < 4096 {
			for how := range uint8(4) {
				f.Add(e.request, how)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, how uint8) {
		synctest.Test(t, func(t *testing.T) {
			network := newPipeNet()
			n := network.transport("b", &NetworkTransportConfig{})
			n.SetHeartbeatHandler(func(rpc RPC) { answerSomehow(rpc, how) })
			done := make(chan struct{})
			go func() {
				for {
					select {
					case rpc := <-n.Consumer():
						answerSomehow(rpc, how)
					case <-done:
						return
					}
				}
			}()
			conn, err := network.listen("a").Dial("b", 0)
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, conn)
			conn.Write(b)
			conn.Close()
			synctest.Wait()
			if n.acceptedCount() != 0 {
				t.Error("the connection is kept")
			}
			close(done)
			n.Close()
		})
	})
}

// answerSomehow answers as users of a transport may: with or without a struct or an
// error, and having read a snapshot or not.
func answerSomehow(rpc RPC, how uint8) {
	if rpc.Reader != nil && how&1 != 0 {
		_, _ = io.Copy(io.Discard, rpc.Reader) // ends early with the connection
	}
	if how&2 != 0 {
		rpc.Respond(&AppendEntriesResponse{}, errors.New("refused"))
	} else {
		rpc.Respond(nil, nil)
	}
}
