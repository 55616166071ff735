package raft

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// newTestTransport returns a transport on the loopback interface, closed at the
// end of the test; what config leaves out has defaults that suit tests.
func newTestTransport(t testing.TB, config *NetworkTransportConfig) *NetworkTransport {
	t.Helper()
	if config == nil {
		config = &NetworkTransportConfig{MaxPool: 2}
	}
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Second
	}
	n, err := NewTCPTransportWithConfig("127.0.0.1:0", nil, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// consume answers with f what comes in, until the end of the test.
func consume(t testing.TB, trans Transport, f func(RPC)) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case rpc := <-trans.Consumer():
				f(rpc)
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// dialTest opens a plain connection to n; nothing on it takes longer than ten
// seconds.
func dialTest(t testing.TB, n *NetworkTransport) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", string(n.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// fakePeer listens until the end of the test and serves each connection with f,
// then closes it.
func fakePeer(t testing.TB, f func(net.Conn)) ServerAddress {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn)
			}()
		}
	}()
	return ServerAddress(l.Addr().String())
}

// send makes the call that args is for.
func send(trans testedTransport, target ServerAddress, args, resp interface{}, data io.Reader) error {
	switch args := args.(type) {
	case *AppendEntriesRequest:
		return trans.AppendEntries("x", target, args, resp.(*AppendEntriesResponse))
	case *RequestVoteRequest:
		return trans.RequestVote("x", target, args, resp.(*RequestVoteResponse))
	case *RequestPreVoteRequest:
		return trans.RequestPreVote("x", target, args, resp.(*RequestPreVoteResponse))
	case *TimeoutNowRequest:
		return trans.TimeoutNow("x", target, args, resp.(*TimeoutNowResponse))
	case *InstallSnapshotRequest:
		return trans.InstallSnapshot("x", target, args, resp.(*InstallSnapshotResponse), data)
	}
	return fmt.Errorf("no call for a %T", args)
}

// testedTransport is what both transports can do.
type testedTransport interface {
	Transport
	WithPreVote
	WithClose
}

// eventually waits for a condition that becomes true soon.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10s", what)
		}
	}
}

// syncBuffer collects a log.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
