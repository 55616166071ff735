package raft

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inmemPair returns two transports, the first connected to the second.
func inmemPair() (a, b *InmemTransport) {
	_, a = NewInmemTransport("a")
	_, b = NewInmemTransport("b")
	a.Connect("b", b)
	return a, b
}

// How long calls take when nobody answers, and when nobody even takes them, and
// what they say.
func TestInmemTimeouts(t *testing.T) {
	appendOnce := func(a *InmemTransport) error {
		return a.AppendEntries("b", "b", realAppend(1), new(AppendEntriesResponse))
	}
	fill := func(a *InmemTransport) {
		for range inmemQueue {
			go appendOnce(a)
		}
		synctest.Wait()
	}
	for _, tt := range []struct {
		name  string
		first func(a *InmemTransport)
		call  func(a *InmemTransport) error
		text  string
		after time.Duration
	}{
		{"a call", nil, appendOnce, "command timed out", inmemTimeout},
		{"a call, the queue full", fill, appendOnce, "send timed out", inmemTimeout},
		{"a vote", nil, func(a *InmemTransport) error {
			return a.RequestVote("b", "b", &RequestVoteRequest{}, new(RequestVoteResponse))
		}, "command timed out", inmemTimeout},
		{"a snapshot", nil, func(a *InmemTransport) error {
			return a.InstallSnapshot("b", "b", &InstallSnapshotRequest{}, new(InstallSnapshotResponse), bytes.NewReader(nil))
		}, "command timed out", 10 * inmemTimeout},
		{"TimeoutNow", nil, func(a *InmemTransport) error {
			return a.TimeoutNow("b", "b", &TimeoutNowRequest{}, new(TimeoutNowResponse))
		}, "command timed out", 10 * inmemTimeout},
		{"a pipeline's request", nil, func(a *InmemTransport) error {
			p, err := a.AppendEntriesPipeline("b", "b")
			if err != nil {
				return err
			}
			defer p.Close()
			f, err := p.AppendEntries(realAppend(1), new(AppendEntriesResponse))
			if err != nil {
				return err
			}
			return f.Error()
		}, "command timed out", inmemTimeout},
		{"a pipeline's request, the queue full", fill, func(a *InmemTransport) error {
			p, err := a.AppendEntriesPipeline("b", "b")
			if err != nil {
				return err
			}
			defer p.Close()
			_, err = p.AppendEntries(realAppend(1), new(AppendEntriesResponse))
			return err
		}, "command enqueue timeout", inmemTimeout},
		{"nobody connected", func(a *InmemTransport) { a.Disconnect("b") }, appendOnce, "failed to connect to peer: b", 0},
		{"a heartbeat handler that hangs", func(a *InmemTransport) {
			link, _ := a.link("b")
			link.peer.SetHeartbeatHandler(func(RPC) {})
		}, func(a *InmemTransport) error {
			return a.AppendEntries("b", "b", heartbeat(1), new(AppendEntriesResponse))
		}, "command timed out", inmemTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, _ := inmemPair()
				defer a.Close()
				if tt.first != nil {
					tt.first(a)
				}
				start := time.Now()
				err := tt.call(a)
				if d := time.Since(start); errorText(err) != tt.text || d != tt.after {
					t.Errorf("%v after %v, want %q after %v", err, d, tt.text, tt.after)
				}
			})
		})
	}
}

// Disconnecting fails what is under way, in this direction only, and Connect
// makes it work again. Leaving the bubble proves that no goroutine is left.
func TestInmemDisconnect(t *testing.T) {
	for name, disconnect := range map[string]func(a, b *InmemTransport){
		"Disconnect":    func(a, b *InmemTransport) { a.Disconnect("b") },
		"DisconnectAll": func(a, b *InmemTransport) { a.DisconnectAll() },
		"Close":         func(a, b *InmemTransport) { a.Close() },
		"Connect":       func(a, b *InmemTransport) { a.Connect("b", b) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := inmemPair()
				b.Connect("a", a)
				start := time.Now()
				p, err := a.AppendEntriesPipeline("b", "b")
				if err != nil {
					t.Fatal(err)
				}
				f := appendTo(t, p, 1)
				errs := make(chan error, 1)
				go func() { errs <- a.RequestVote("b", "b", &RequestVoteRequest{}, new(RequestVoteResponse)) }()
				synctest.Wait()
				disconnect(a, b)
				if err := <-errs; errorText(err) != "failed to connect to peer: b" {
					t.Errorf("the call returned %v", err)
				}
				if f.Error() != ErrPipelineShutdown {
					t.Errorf("the pipeline's request returned %v", f.Error())
				}
				if got := <-p.Consumer(); got.Error() != ErrPipelineShutdown {
					t.Errorf("out of the pipeline came %v", got.Error())
				}
				if _, err := p.AppendEntries(realAppend(2), new(AppendEntriesResponse)); err != ErrPipelineShutdown {
					t.Errorf("the pipeline takes more: %v", err)
				}
				if time.Since(start) != 0 {
					t.Error("it took a timeout")
				}

				a.Connect("b", b)
				go func() {
					for range 3 { // the two from before, and the new one
						rpc := <-b.Consumer()
						rpc.Respond(&RequestVoteResponse{}, nil)
					}
				}()
				if err := a.RequestVote("b", "b", &RequestVoteRequest{}, new(RequestVoteResponse)); err != nil {
					t.Errorf("connected again: %v", err)
				}
				go func() { rpc := <-a.Consumer(); rpc.Respond(&RequestVoteResponse{}, nil) }()
				if err := b.RequestVote("a", "a", &RequestVoteRequest{}, new(RequestVoteResponse)); err != nil {
					t.Errorf("the other direction: %v", err)
				}
			})
		})
	}
}

// A pipeline without requests under way ends with its connection too.
func TestInmemDisconnectIdlePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := inmemPair()
		p, err := a.AppendEntriesPipeline("b", "b")
		if err != nil {
			t.Fatal(err)
		}
		a.Disconnect("b")
		synctest.Wait()
		if _, err := p.AppendEntries(realAppend(1), new(AppendEntriesResponse)); err != ErrPipelineShutdown {
			t.Error(err)
		}
		if len(b.Consumer()) != 0 {
			t.Error("the request was sent all the same")
		}
	})
}

// An answer of the wrong type is an error, not a panic.
func TestInmemWrongAnswer(t *testing.T) {
	a, b := inmemPair()
	consume(t, b, func(rpc RPC) { rpc.Respond(&RequestVoteResponse{}, nil) })
	err := a.AppendEntries("b", "b", realAppend(1), new(AppendEntriesResponse))
	if err == nil || !strings.Contains(err.Error(), "RequestVoteResponse") {
		t.Error(err)
	}
}

// A receiver that still reads when the call has timed out gets nothing more of a
// reader that is the caller's again.
func TestInmemSnapshotAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := inmemPair()
		data := bytes.NewReader(make([]byte, 10))
		err := a.InstallSnapshot("b", "b", &InstallSnapshotRequest{Size: 10}, new(InstallSnapshotResponse), data)
		if err != errInmemCommand {
			t.Error(err)
		}
		rpc := <-b.Consumer()
		if n, err := io.Copy(io.Discard, rpc.Reader); n != 0 || err != errSnapshotAnswered {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestNewInmemAddr(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	x, y := NewInmemAddr(), NewInmemAddr()
	if x == y || !uuid.MatchString(string(x)) {
		t.Error(x, y)
	}
	addr, trans := NewInmemTransport("")
	if addr != trans.LocalAddr() || !uuid.MatchString(string(addr)) {
		t.Error(addr)
	}
	if addr, _ := NewInmemTransport("given"); addr != "given" {
		t.Error(addr)
	}
}
