package raft

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft/internal/leaks"
)

// What Transport promises, held against both implementations.

// transportPair is two transports of a kind, the first connected to the second.
type transportPair struct {
	a, b testedTransport
}

func (p transportPair) target() ServerAddress { return p.b.LocalAddr() }

var transportKinds = map[string]func(t testing.TB) transportPair{
	"network": func(t testing.TB) transportPair {
		return transportPair{
			newTestTransport(t, &NetworkTransportConfig{MaxPool: 2, MaxRPCsInFlight: 4}),
			newTestTransport(t, nil),
		}
	},
	"network without deadlines": func(t testing.TB) transportPair {
		network := newPipeNet()
		open := func(addr ServerAddress) *NetworkTransport {
			n := NewNetworkTransportWithConfig(&NetworkTransportConfig{
				Stream:  noDeadlines{network.listen(addr)},
				MaxPool: 1, Timeout: 10 * time.Second, Logger: hclog.NewNullLogger(),
			})
			t.Cleanup(func() { n.Close() })
			return n
		}
		return transportPair{open("a"), open("b")}
	},
	"inmem": func(t testing.TB) transportPair {
		_, a := NewInmemTransportWithTimeout("", 10*time.Second)
		_, b := NewInmemTransportWithTimeout("", 10*time.Second)
		a.Connect(b.LocalAddr(), b)
		t.Cleanup(func() { a.Close(); b.Close() })
		return transportPair{a, b}
	},
}

func TestTransports(t *testing.T) {
	for kind, newPair := range transportKinds {
		t.Run(kind, func(t *testing.T) {
			for name, check := range transportChecks {
				t.Run(name, func(t *testing.T) {
					leaks.Check(t)
					check(t, newPair(t))
				})
			}
		})
	}
}

var transportChecks = map[string]func(t *testing.T, p transportPair){
	"every request is answered": checkCalls,
	"the peer's error and its body both arrive": func(t *testing.T, p transportPair) {
		consume(t, p.b, func(rpc RPC) {
			rpc.Respond(&AppendEntriesResponse{Term: 9}, errors.New("100% no"))
		})
		var resp AppendEntriesResponse
		err := p.a.AppendEntries("b", p.target(), realAppend(1), &resp)
		if errorText(err) != "100% no" || resp.Term != 9 {
			t.Errorf("%v, %+v", err, resp)
		}
	},
	"an answer without a body makes the response zero": func(t *testing.T, p transportPair) {
		consume(t, p.b, func(rpc RPC) { rpc.Respond(nil, ErrUnsupportedProtocol) })
		resp := RequestVoteResponse{Term: 7, Granted: true}
		err := p.a.RequestVote("b", p.target(), &RequestVoteRequest{Term: 1}, &resp)
		if errorText(err) != ErrUnsupportedProtocol.Error() || resp.Term != 0 || resp.Granted {
			t.Errorf("%v, %+v", err, resp)
		}
	},
	"a heartbeat goes to its handler": func(t *testing.T, p transportPair) {
		p.b.SetHeartbeatHandler(func(rpc RPC) {
			rpc.Respond(&AppendEntriesResponse{Term: rpc.Command.(*AppendEntriesRequest).Term}, nil)
		})
		var resp AppendEntriesResponse
		if err := p.a.AppendEntries("b", p.target(), heartbeat(5), &resp); err != nil || resp.Term != 5 {
			t.Errorf("%v, %+v", err, resp)
		}
	},
	"a heartbeat goes to the consumer without a handler": func(t *testing.T, p transportPair) {
		p.b.SetHeartbeatHandler(func(RPC) { t.Error("the handler is gone, and is called") })
		p.b.SetHeartbeatHandler(nil)
		consume(t, p.b, func(rpc RPC) { rpc.Respond(&AppendEntriesResponse{Term: 6}, nil) })
		var resp AppendEntriesResponse
		if err := p.a.AppendEntries("b", p.target(), heartbeat(5), &resp); err != nil || resp.Term != 6 {
			t.Errorf("%v, %+v", err, resp)
		}
	},
	"other requests pass by the heartbeat handler": func(t *testing.T, p transportPair) {
		p.b.SetHeartbeatHandler(func(RPC) { t.Error("called") })
		consume(t, p.b, func(rpc RPC) { rpc.Respond(&AppendEntriesResponse{}, nil) })
		if err := p.a.AppendEntries("b", p.target(), realAppend(1), new(AppendEntriesResponse)); err != nil {
			t.Error(err)
		}
	},
	"the receiver does not see what the sender changes later": func(t *testing.T, p transportPair) {
		got := make(chan *AppendEntriesRequest, 1)
		consume(t, p.b, func(rpc RPC) {
			got <- rpc.Command.(*AppendEntriesRequest)
			rpc.Respond(&AppendEntriesResponse{}, nil)
		})
		req := realAppend(1)
		if err := p.a.AppendEntries("b", p.target(), req, new(AppendEntriesResponse)); err != nil {
			t.Fatal(err)
		}
		req.Term, req.Entries[0] = 99, nil
		if r := <-got; r.Term != 1 || r.Entries[0] == nil {
			t.Errorf("%+v", r)
		}
	},
	"a refused snapshot leaves the way clear": func(t *testing.T, p transportPair) {
		consume(t, p.b, func(rpc RPC) { rpc.Respond(nil, errors.New("refused")) })
		data := bytes.Repeat([]byte{1}, 3<<20)
		err := p.a.InstallSnapshot("b", p.target(), &InstallSnapshotRequest{Size: int64(len(data))}, new(InstallSnapshotResponse), bytes.NewReader(data))
		if errorText(err) != "refused" {
			t.Error(err)
		}
	},
	"a snapshot's reader ends with its answer": func(t *testing.T, p transportPair) {
		readers := make(chan io.Reader, 1)
		consume(t, p.b, func(rpc RPC) {
			readers <- rpc.Reader
			rpc.Respond(&InstallSnapshotResponse{}, nil)
		})
		req := &InstallSnapshotRequest{Size: 5}
		if err := p.a.InstallSnapshot("b", p.target(), req, new(InstallSnapshotResponse), bytes.NewReader([]byte("12345"))); err != nil {
			t.Fatal(err)
		}
		r := <-readers
		eventually(t, "the reader ends", func() bool { _, err := r.Read(make([]byte, 1)); return err == errSnapshotAnswered })
	},
	"a snapshot that is too short is noticed": func(t *testing.T, p transportPair) {
		errs := make(chan error, 1)
		consume(t, p.b, func(rpc RPC) {
			_, err := io.ReadAll(rpc.Reader)
			errs <- err
			rpc.Respond(&InstallSnapshotResponse{}, err)
		})
		req := &InstallSnapshotRequest{Size: 500_000}
		err := p.a.InstallSnapshot("b", p.target(), req, new(InstallSnapshotResponse), bytes.NewReader(make([]byte, 499_999)))
		if err == nil {
			t.Error("the sender has not noticed")
		}
		if err := <-errs; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the receiver's reader says %v", err)
		}
	},
	"a snapshot of negative size is not sent": func(t *testing.T, p transportPair) {
		req := &InstallSnapshotRequest{Size: -1}
		if err := p.a.InstallSnapshot("b", p.target(), req, new(InstallSnapshotResponse), bytes.NewReader(nil)); err != errNegativeSize {
			t.Error(err)
		}
	},
	"a pipeline's answers come in order": func(t *testing.T, p transportPair) {
		consume(t, p.b, func(rpc RPC) {
			req := rpc.Command.(*AppendEntriesRequest)
			rpc.Respond(&AppendEntriesResponse{Term: req.Term, Success: true}, nil)
		})
		pipe := openPipeline(t, p)
		const count = 100
		go func() {
			for i := range uint64(count) {
				if _, err := pipe.AppendEntries(realAppend(i+1), new(AppendEntriesResponse)); err != nil {
					t.Error(err)
				}
			}
		}()
		for i := range uint64(count) {
			f := <-pipe.Consumer()
			if f.Error() != nil || f.Request().Term != i+1 || f.Response().Term != i+1 || f.Start().IsZero() {
				t.Fatalf("%d: %v, %+v", i, f.Error(), f.Response())
			}
		}
	},
	"a pipeline blocks when its window is full": func(t *testing.T, p transportPair) {
		taken := make(chan RPC, 100)
		consume(t, p.b, func(rpc RPC) { taken <- rpc })
		pipe := openPipeline(t, p)
		window := inmemInFlight
		if n, ok := p.a.(*NetworkTransport); ok {
			window = n.maxRPCsInFlight()
		}
		for i := range window {
			appendTo(t, pipe, uint64(i+1))
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			pipe.AppendEntries(realAppend(99), new(AppendEntriesResponse))
		}()
		first := <-taken
		for range window - 1 {
			<-taken
		}
		select {
		case <-sent:
			t.Fatal("one more request was accepted")
		case rpc := <-taken:
			t.Fatalf("one more request arrived: %+v", rpc.Command)
		case <-time.After(20 * time.Millisecond):
		}
		first.Respond(&AppendEntriesResponse{}, nil)
		<-sent
	},
	"a refusal fails one request of a pipeline": func(t *testing.T, p transportPair) {
		consume(t, p.b, func(rpc RPC) {
			if rpc.Command.(*AppendEntriesRequest).Term == 1 {
				rpc.Respond(nil, errors.New("no"))
				return
			}
			rpc.Respond(&AppendEntriesResponse{Term: 2}, nil)
		})
		pipe := openPipeline(t, p)
		appendTo(t, pipe, 1)
		appendTo(t, pipe, 2)
		if f := <-pipe.Consumer(); errorText(f.Error()) != "no" || f.Response().Term != 0 {
			t.Errorf("%v, %+v", f.Error(), f.Response())
		}
		if f := <-pipe.Consumer(); f.Error() != nil || f.Response().Term != 2 {
			t.Errorf("%v, %+v", f.Error(), f.Response())
		}
	},
	"closing a pipeline fails what is under way": func(t *testing.T, p transportPair) {
		pipe := openPipeline(t, p)
		f, err := pipe.AppendEntries(realAppend(1), &AppendEntriesResponse{Term: 7})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := pipe.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if f.Error() != ErrPipelineShutdown || f.Response().Term != 0 {
			t.Errorf("%v, %+v", f.Error(), f.Response())
		}
		if _, err := pipe.AppendEntries(realAppend(2), new(AppendEntriesResponse)); err != ErrPipelineShutdown {
			t.Errorf("after Close: %v", err)
		}
	},
	"closing a pipeline wakes who waits for room": func(t *testing.T, p transportPair) {
		pipe := openPipeline(t, p)
		errs := make(chan error, 1)
		go func() {
			for {
				if _, err := pipe.AppendEntries(realAppend(1), new(AppendEntriesResponse)); err != nil {
					errs <- err
					return
				}
			}
		}()
		pipe.Close()
		if err := <-errs; err != ErrPipelineShutdown {
			t.Error(err)
		}
	},
	"calls under way return when the transport is closed": func(t *testing.T, p transportPair) {
		arrived := make(chan struct{}, 1)
		consume(t, p.b, func(RPC) { arrived <- struct{}{} })
		errs := make(chan error, 1)
		go func() { errs <- p.a.AppendEntries("b", p.target(), realAppend(1), new(AppendEntriesResponse)) }()
		<-arrived
		closeTwice(t, p.a)
		if err := <-errs; err == nil {
			t.Error("no error")
		}
	},
	"a pipeline dies with its transport": func(t *testing.T, p transportPair) {
		pipe := openPipeline(t, p)
		f := appendTo(t, pipe, 1)
		closeTwice(t, p.a)
		if f.Error() == nil {
			t.Error("its request has no error")
		}
		if _, err := pipe.AppendEntries(realAppend(2), new(AppendEntriesResponse)); err == nil {
			t.Error("it takes more")
		}
	},
	"an unknown peer is an error": func(t *testing.T, p transportPair) {
		if err := p.a.AppendEntries("c", "127.0.0.1:1", realAppend(1), new(AppendEntriesResponse)); err == nil {
			t.Error("no error of a call")
		}
		if _, err := p.a.AppendEntriesPipeline("c", "127.0.0.1:1"); err == nil {
			t.Error("no error of a pipeline")
		}
	},
	"addresses survive their encoding": func(t *testing.T, p transportPair) {
		if got := p.a.DecodePeer(p.a.EncodePeer("b", p.target())); got != p.target() {
			t.Errorf("%q, was %q", got, p.target())
		}
	},
}

// checkCalls makes each call twice and checks that request, snapshot and response
// arrive as they were.
func checkCalls(t *testing.T, p transportPair) {
	type seen struct {
		req  interface{}
		data []byte
	}
	requests := make(chan seen, 1)
	answers := make(chan interface{}, 1)
	consume(t, p.b, func(rpc RPC) {
		s := seen{req: rpc.Command}
		if rpc.Reader != nil {
			s.data, _ = io.ReadAll(rpc.Reader)
		}
		requests <- s
		rpc.Respond(<-answers, nil)
	})
	header := RPCHeader{ProtocolVersion: 3, ID: []byte("a"), Addr: []byte("addr")}
	snapshot := goldenPattern(300_000)
	for _, tt := range []struct{ args, resp, got interface{} }{
		{realAppend(5), &AppendEntriesResponse{RPCHeader: header, Term: 5, LastLog: 7, Success: true}, new(AppendEntriesResponse)},
		{&RequestVoteRequest{RPCHeader: header, Term: 5, LastLogIndex: 6}, &RequestVoteResponse{Term: 5, Granted: true}, new(RequestVoteResponse)},
		{&RequestPreVoteRequest{RPCHeader: header, Term: 5, LastLogTerm: 4}, &RequestPreVoteResponse{Term: 5, Granted: true}, new(RequestPreVoteResponse)},
		{&TimeoutNowRequest{RPCHeader: header}, &TimeoutNowResponse{RPCHeader: header}, new(TimeoutNowResponse)},
		{&InstallSnapshotRequest{RPCHeader: header, Term: 5, Size: 300_000, Configuration: []byte("c")}, &InstallSnapshotResponse{Term: 5, Success: true}, new(InstallSnapshotResponse)},
	} {
		for range 2 {
			answers <- tt.resp
			if err := send(p.a, p.target(), tt.args, tt.got, bytes.NewReader(snapshot)); err != nil {
				t.Fatalf("%T: %v", tt.args, err)
			}
			s := <-requests
			if d := diffMessages(s.req, tt.args); d != "" {
				t.Errorf("%T arrived as%s", tt.args, d)
			}
			if _, ok := tt.args.(*InstallSnapshotRequest); ok && !bytes.Equal(s.data, snapshot) {
				t.Errorf("the snapshot arrived as %d bytes", len(s.data))
			}
			if d := diffMessages(tt.got, tt.resp); d != "" {
				t.Errorf("%T came back as%s", tt.resp, d)
			}
		}
	}
}

// realAppend is a request that is no heartbeat.
func realAppend(term uint64) *AppendEntriesRequest {
	return &AppendEntriesRequest{
		RPCHeader:    RPCHeader{ProtocolVersion: 3, ID: []byte("a"), Addr: []byte("addr")},
		Term:         term,
		Leader:       []byte("addr"),
		PrevLogEntry: 10,
		PrevLogTerm:  term,
		Entries:      []*Log{{Index: 11, Term: term, Data: []byte("x"), AppendedAt: time.Unix(1700000000, 5).UTC()}},
	}
}

func heartbeat(term uint64) *AppendEntriesRequest {
	return &AppendEntriesRequest{RPCHeader: RPCHeader{ID: []byte("a"), Addr: []byte("addr")}, Term: term}
}

func openPipeline(t testing.TB, p transportPair) AppendPipeline {
	t.Helper()
	pipe, err := p.a.AppendEntriesPipeline("b", p.target())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pipe.Close() })
	return pipe
}

func appendTo(t testing.TB, pipe AppendPipeline, term uint64) AppendFuture {
	t.Helper()
	f, err := pipe.AppendEntries(realAppend(term), new(AppendEntriesResponse))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeTwice(t testing.TB, trans WithClose) {
	t.Helper()
	for range 2 {
		if err := trans.Close(); err != nil {
			t.Error(err)
		}
	}
}
