package rafttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// CheckTransport checks an implementation of [raft.Transport] and, if it has them,
// of its extensions [raft.WithPreVote] and [raft.WithClose]. Each check is a subtest
// of t with transports of its own.
//
// open returns n transports, each of which reaches all others. timeout is how long
// a call may wait for its answer: a minute in most checks, so that a slow machine is
// no fault, and fractions of a second where a peer does not answer. The suite closes
// the transports that implement [raft.WithClose].
//
// What a check does to a transport is what a node of this library does to it. So
// requests come from Consumer, or from the heartbeat handler once there is one, and
// pipelines are optional: see [raft.ErrPipelineReplicationNotSupported].
func CheckTransport(t *testing.T, open func(n int, timeout time.Duration) ([]raft.Transport, error), options ...CheckOption) {
	t.Helper()
	transportSuite(open).test(t, newCheckOptions(options))
}

const (
	// longTimeout is for calls that are answered.
	longTimeout = time.Minute

	// shortTimeout is for calls that are not.
	shortTimeout = 200 * time.Millisecond
)

func transportSuite(open func(n int, timeout time.Duration) ([]raft.Transport, error)) suite {
	return bindChecks(transportChecks, func(p *probe) *transportProbe {
		return &transportProbe{probe: p, connect: open}
	})
}

var transportChecks = []check[*transportProbe]{
	{
		"Addresses",
		"LocalAddr is the address at which peers reach the transport and does not change; DecodePeer gives back what EncodePeer was given",
		"votes and leaders are taken for those of other servers",
		func(n *transportProbe) {
			n.open(3, longTimeout)
			seen := map[raft.ServerAddress]bool{}
			for i, trans := range n.trans {
				addr := trans.LocalAddr()
				if addr == "" || seen[addr] || addr != trans.LocalAddr() {
					n.errorf("LocalAddr of transport %d is %q", i, addr)
				}
				seen[addr] = true
				for j, peer := range n.trans {
					if got := trans.DecodePeer(trans.EncodePeer(serverID(j), peer.LocalAddr())); got != peer.LocalAddr() {
						n.errorf("%q is encoded and decoded to %q", peer.LocalAddr(), got)
					}
				}
			}
		},
	},
	{
		"EveryField",
		"requests and responses of every kind arrive with every field, in both directions, and replace what was in the response before",
		"servers act on other terms, indexes or entries than they were sent: anything may happen",
		func(n *transportProbe) {
			n.open(2, longTimeout)
			for _, to := range []int{0, 1} {
				var handle responder
				n.serve(to, handle.respond)
				for range 2 { // the second time over what there is of a connection
					for _, e := range exchanges() {
						n.checkExchange(1-to, to, &handle, e)
					}
				}
			}
		},
	},
	{
		"LargeEntries",
		"AppendEntries carries a thousand entries at once, and entries of several MiB",
		"a follower that is behind never catches up",
		func(n *transportProbe) {
			n.open(2, longTimeout)
			var handle responder
			n.serve(1, handle.respond)
			large := fullAppendEntries(1)
			large.Entries = logEntries(1, 1000, 7)
			large.Entries[10].Data = pattern(5<<20, 1)
			large.Entries[20].Extensions = pattern(1<<20, 2)
			n.checkExchange(0, 1, &handle, exchange{request: large, response: fullAppendResponse(1)})
		},
	},
	{
		"HandlersError",
		"an error that the receiver answers with comes back as an error with its text; the next call works",
		"a refusal is taken for an agreement, or nobody can tell why requests fail",
		func(n *transportProbe) {
			n.open(2, longTimeout)
			var refuse atomic.Bool
			n.serve(1, func(rpc raft.RPC) {
				if refuse.Load() {
					rpc.Respond(nil, errors.New(`100% "refused"`))
					return
				}
				rpc.Respond(zeroResponse(rpc.Command), nil)
			})
			for _, e := range exchanges() {
				refuse.Store(true)
				err := n.send(0, 1, e.request, zeroResponse(e.request), bytes.NewReader(e.data))
				if err == errNotSupported {
					continue
				}
				if err == nil || !strings.Contains(err.Error(), `100% "refused"`) {
					n.errorf("%T: refused with %q, but the sender gets %v", e.request, `100% "refused"`, err)
				}
				refuse.Store(false)
				if err := n.send(0, 1, e.request, zeroResponse(e.request), bytes.NewReader(e.data)); err != nil {
					n.errorf("%T after a refused one: %v", e.request, err)
				}
			}
		},
	},
	{
		"RequestIsTheReceivers",
		"what the sender changes after the call does not change the request that was received",
		"a slow receiver acts on a request of another term",
		func(n *transportProbe) {
			n.open(2, longTimeout)
			got := make(chan *raft.AppendEntriesRequest, 1)
			n.serve(1, func(rpc raft.RPC) {
				got <- rpc.Command.(*raft.AppendEntriesRequest)
				rpc.Respond(&raft.AppendEntriesResponse{}, nil)
			})
			req := fullAppendEntries(1)
			n.must(n.send(0, 1, req, new(raft.AppendEntriesResponse), nil), "AppendEntries")
			req.Term, req.Entries[0] = 99, nil
			if diff := diffMessage(<-got, fullAppendEntries(1)); diff != "" {
				n.errorf("the request that was received has changed: %s", diff)
			}
		},
	},
	{
		"ConcurrentCalls",
		"many calls to and from every peer may be under way at once, and each gets its own answer",
		"a vote or an acknowledgement is counted for another request",
		(*transportProbe).checkConcurrentCalls,
	},
	{
		"Heartbeats",
		"a heartbeat arrives once, at the heartbeat handler or at the consumer; nothing else arrives at the handler, and without a handler all goes to the consumer",
		"followers don't hear from their leader and elect another one, or entries bypass the node",
		(*transportProbe).checkHeartbeats,
	},
	{
		"Snapshot",
		"InstallSnapshot carries exactly the bytes of the snapshot, none or many MiB, and then its end; the next call works",
		"a follower restores another state",
		func(n *transportProbe) {
			n.open(2, longTimeout)
			var handle responder
			n.serve(1, handle.respond)
			for i, size := range []int{0, 1, 4 << 20, 65536} {
				data := pattern(size, uint64(i))
				n.checkExchange(0, 1, &handle, snapshotExchange(data))
				n.checkExchange(0, 1, &handle, exchange{request: fullRequestVote(), response: &raft.RequestVoteResponse{Term: 1}})
			}
		},
	},
	{
		"UnreadSnapshot",
		"a receiver that refuses a snapshot unread, or after a part of it, does not hang the sender; the next call works",
		"a leader that sends a snapshot to a follower with a newer term never learns of the term",
		func(n *transportProbe) {
			n.open(2, longTimeout)
			var read atomic.Int64
			n.serve(1, func(rpc raft.RPC) {
				if rpc.Reader != nil {
					_, _ = io.CopyN(io.Discard, rpc.Reader, read.Load())
					rpc.Respond(nil, errors.New("refused"))
					return
				}
				rpc.Respond(zeroResponse(rpc.Command), nil)
			})
			for _, size := range []int64{0, 100_000} {
				read.Store(size)
				e := snapshotExchange(pattern(4<<20, 1))
				if err := n.send(0, 1, e.request, zeroResponse(e.request), bytes.NewReader(e.data)); err == nil {
					n.errorf("a snapshot was refused, but the sender gets no error")
				}
				n.must(n.send(0, 1, fullRequestVote(), new(raft.RequestVoteResponse), nil), "RequestVote after a refused snapshot")
			}
		},
	},
	{
		"BrokenSnapshot",
		"InstallSnapshot gives up when the snapshot can't be read, and the receiver does not take what it got for all of it",
		"a follower restores half a state",
		(*transportProbe).checkBrokenSnapshot,
	},
	{
		"SilentPeer",
		"a call to a peer that does not answer returns an error after its timeout",
		"one hung server holds the others up for ever",
		func(n *transportProbe) {
			n.open(2, shortTimeout)
			n.serve(1, func(raft.RPC) {})
			var calls []<-chan struct{}
			for _, e := range exchanges() {
				switch e.request.(type) {
				case *raft.InstallSnapshotRequest, *raft.TimeoutNowRequest:
					continue // may be far more patient
				}
				calls = append(calls, n.spawn(func() {
					if err := n.send(0, 1, e.request, zeroResponse(e.request), nil); err == nil {
						n.errorf("%T to a peer that does not answer returns no error", e.request)
					}
				}))
			}
			for _, done := range calls {
				<-done
			}
		},
	},
	{
		"LateAnswer",
		"an answer that comes after its call has timed out is nobody's: the next call gets its own",
		"a vote of one term is counted in another: two leaders",
		(*transportProbe).checkLateAnswer,
	},
	{
		"UnknownPeer",
		"a call to an address where nobody is returns an error",
		"a server that is down holds the others up for ever",
		func(n *transportProbe) {
			n.open(2, shortTimeout)
			nowhere := raft.ServerAddress("127.0.0.1:1")
			if err := n.trans[0].RequestVote("x", nowhere, fullRequestVote(), new(raft.RequestVoteResponse)); err == nil {
				n.errorf("RequestVote to nobody returns no error")
			}
			pipe, err := n.trans[0].AppendEntriesPipeline("x", nowhere)
			if err != nil {
				return
			}
			defer pipe.Close()
			if f, err := pipe.AppendEntries(fullAppendEntries(1), new(raft.AppendEntriesResponse)); err == nil && f.Error() == nil {
				n.errorf("AppendEntries over a pipeline to nobody has no error")
			}
		},
	},
	{
		"ClosedPeer",
		"a call to a peer that was closed returns an error, and so does the rest of a pipeline; other peers are reached as before",
		"a server that was stopped holds the others up for ever",
		(*transportProbe).checkClosedPeer,
	},
	{
		"Close",
		"Close makes calls and pipelines under way return with an error, and does not wait for a peer; later calls fail, and a second Close does no harm",
		"Shutdown of a node hangs",
		(*transportProbe).checkClose,
	},
	{
		"PipelineOrder",
		"the futures of a pipeline come out of its Consumer in the order sent, each with its request, its answer and when it was sent",
		"a leader takes an entry for stored that is not: a committed entry can be lost",
		(*transportProbe).checkPipelineOrder,
	},
	{
		"PipelineRefusal",
		"an error that the receiver answers with is that of its future, whose response is zero",
		"a leader takes an entry for stored that is not: a committed entry can be lost",
		(*transportProbe).checkPipelineRefusal,
	},
	{
		"PipelineOfSilentPeer",
		"a pipeline takes a bounded number of requests without an answer, then it blocks or breaks",
		"a leader's memory fills up with requests to a hung follower",
		(*transportProbe).checkPipelineBound,
	},
	{
		"PipelineClose",
		"Close ends what is under way in a pipeline, with an error and zero responses, and who waits to send; it does not hang and may be called twice",
		"replication to a follower hangs, and with it the end of the leadership",
		(*transportProbe).checkPipelineClose,
	},
}

// checkExchange sends one request and compares what arrives on both sides.
func (n *transportProbe) checkExchange(from, to int, handle *responder, e exchange) {
	handle.set(e)
	got := junkResponse(e.request)
	err := n.send(from, to, e.request, got, bytes.NewReader(e.data))
	if err == errNotSupported {
		return
	}
	n.must(err, "%T", e.request)
	received, data := handle.received()
	if diff := diffMessage(received, e.request); diff != "" {
		n.errorf("%T arrived with other fields: %s", e.request, diff)
	}
	if diff := diffMessage(got, e.response); diff != "" {
		n.errorf("%T came back with other fields: %s", e.response, diff)
	}
	if !bytes.Equal(data, e.data) {
		n.errorf("%T: %d bytes followed, not the %d that were sent", e.request, len(data), len(e.data))
	}
}

func (n *transportProbe) checkConcurrentCalls() {
	const servers, callers, calls = 3, 8, 25
	n.open(servers, longTimeout)
	for i := range n.trans {
		n.serve(i, echo)
	}
	var all []<-chan struct{}
	for c := range callers * servers {
		from, to := c%servers, (c+1+c/servers%(servers-1))%servers
		all = append(all, n.spawn(func() {
			for i := range calls {
				n.checkEcho(from, to, uint64(1000*c+i+1))
			}
		}))
	}
	for _, done := range all {
		<-done
	}
}

// checkEcho sends a request that echo answers.
func (n *transportProbe) checkEcho(from, to int, term uint64) {
	var got uint64
	var err error
	if term%3 == 0 {
		var resp raft.RequestVoteResponse
		err = n.send(from, to, &raft.RequestVoteRequest{Term: term}, &resp, nil)
		got = resp.Term
	} else {
		var resp raft.AppendEntriesResponse
		err = n.send(from, to, fullAppendEntries(term), &resp, nil)
		got = resp.Term
	}
	if err != nil || got != term {
		n.errorf("call %d got answer %d, error %v", term, got, err)
	}
}

func (n *transportProbe) checkHeartbeats() {
	n.open(2, longTimeout)
	handled, consumed := make(chan any, 100), make(chan any, 100)
	note := func(where chan<- any) func(raft.RPC) {
		return func(rpc raft.RPC) {
			where <- rpc.Command
			echo(rpc)
		}
	}
	n.serve(1, note(consumed))
	beat := func(term uint64) {
		resp := new(raft.AppendEntriesResponse)
		err := n.send(0, 1, heartbeat(term), resp, nil)
		if err != nil || resp.Term != term {
			n.errorf("heartbeat %d got answer %d, error %v", term, resp.Term, err)
		}
	}
	n.trans[1].SetHeartbeatHandler(note(handled))
	for term := range uint64(10) {
		beat(term + 1)
		n.checkEcho(0, 1, term+1)
	}
	if got := len(handled) + len(consumed); got != 20 {
		n.errorf("20 requests arrived %d times", got)
	}
	for range len(handled) {
		if req, ok := (<-handled).(*raft.AppendEntriesRequest); !ok || len(req.Entries) > 0 {
			n.errorf("the heartbeat handler got %+v", req)
		}
	}
	n.trans[1].SetHeartbeatHandler(nil)
	beat(11)
	if len(handled) > 0 {
		n.errorf("a handler that was removed was called")
	}
}

func (n *transportProbe) checkBrokenSnapshot() {
	n.open(2, longTimeout)
	type outcome struct {
		bytes int
		err   error
	}
	outcomes := make(chan outcome, 1)
	n.serve(1, func(rpc raft.RPC) {
		if rpc.Reader == nil {
			echo(rpc)
			return
		}
		data, err := io.ReadAll(rpc.Reader)
		outcomes <- outcome{len(data), err}
		if err == nil && int64(len(data)) != rpc.Command.(*raft.InstallSnapshotRequest).Size {
			err = io.ErrUnexpectedEOF // as a node says
		}
		rpc.Respond(&raft.InstallSnapshotResponse{Success: err == nil}, err)
	})
	const size = 1 << 20
	for _, tt := range []struct {
		fault  string
		source io.Reader
	}{
		{"breaks", io.MultiReader(bytes.NewReader(make([]byte, size/2)), failingReader{})},
		{"ends too early", bytes.NewReader(make([]byte, size-1))},
	} {
		e := snapshotExchange(make([]byte, size))
		if err := n.send(0, 1, e.request, zeroResponse(e.request), tt.source); err == nil {
			n.errorf("a snapshot whose source %s was sent without an error", tt.fault)
		}
		select {
		case got := <-outcomes:
			if got.err == nil && got.bytes == size {
				n.errorf("the receiver got all of a snapshot whose source %s", tt.fault)
			}
		case <-time.After(longTimeout):
			n.fatalf("the receiver of a snapshot whose source %s still waits for the rest", tt.fault)
		}
		n.checkEcho(0, 1, 7)
	}
}

// failingReader is a source that breaks.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the source broke") }

func (n *transportProbe) checkLateAnswer() {
	n.open(2, shortTimeout)
	first := make(chan raft.RPC, 1)
	n.serve(1, func(rpc raft.RPC) {
		if req := rpc.Command.(*raft.RequestVoteRequest); req.Term == 1 {
			first <- rpc
			return
		}
		echo(rpc)
	})
	if err := n.send(0, 1, &raft.RequestVoteRequest{Term: 1}, new(raft.RequestVoteResponse), nil); err == nil {
		n.errorf("RequestVote that was not answered returns no error")
	}
	select {
	case rpc := <-first:
		rpc.Respond(&raft.RequestVoteResponse{Term: 1, Granted: true}, nil)
	default: // it has not even arrived
	}
	for term := uint64(2); term < 5; term++ {
		var resp raft.RequestVoteResponse
		err := n.send(0, 1, &raft.RequestVoteRequest{Term: term}, &resp, nil)
		if resp.Term == 1 || resp.Granted {
			n.errorf("RequestVote %d got the answer to another one: %+v, error %v", term, resp, err)
		}
	}
}

func (n *transportProbe) checkClosedPeer() {
	n.open(3, shortTimeout)
	closer, ok := n.trans[1].(raft.WithClose)
	if !ok {
		n.skipf("the transport has no Close")
	}
	stop := n.serve(1, echo)
	n.serve(2, echo)
	n.reach(0, 1)
	pipe, noPipe := n.trans[0].AppendEntriesPipeline(serverID(1), n.trans[1].LocalAddr())
	if noPipe == nil {
		defer pipe.Close()
		n.sendTo(pipe, 1)
		<-pipe.Consumer()
	}
	stop()
	n.must(closer.Close(), "Close")

	if err := n.send(0, 1, fullRequestVote(), new(raft.RequestVoteResponse), nil); err == nil {
		n.errorf("RequestVote to a closed peer returns no error")
	}
	if noPipe == nil {
		f, err := pipe.AppendEntries(fullAppendEntries(2), new(raft.AppendEntriesResponse))
		if err == nil && f.Error() == nil {
			n.errorf("AppendEntries over a pipeline to a closed peer has no error")
		}
	}
	n.reach(0, 2)
}

// reach sends requests until one is answered: a busy machine may need longer than
// shortTimeout.
func (n *transportProbe) reach(from, to int) {
	const attempts = 50
	var err error
	for range attempts {
		if err = n.send(from, to, fullRequestVote(), new(raft.RequestVoteResponse), nil); err == nil {
			return
		}
	}
	n.fatalf("%d times RequestVote to a peer that answers: %v", attempts, err)
}

func (n *transportProbe) checkClose() {
	n.open(2, longTimeout)
	closer, ok := n.trans[0].(raft.WithClose)
	if !ok {
		n.skipf("the transport has no Close")
	}
	arrived := make(chan struct{}, 10)
	n.serve(1, func(raft.RPC) { arrived <- struct{}{} })
	var returned []<-chan struct{}
	for _, e := range exchanges() {
		if n.unsupported(e.request) {
			continue
		}
		returned = append(returned, n.spawn(func() {
			if err := n.send(0, 1, e.request, zeroResponse(e.request), bytes.NewReader(e.data)); err == nil {
				n.errorf("%T, which was never answered, returns no error when the transport is closed", e.request)
			}
		}))
		<-arrived
	}
	pipe, err := n.trans[0].AppendEntriesPipeline(serverID(1), n.trans[1].LocalAddr())
	if err == nil {
		f := n.sendTo(pipe, 1)
		returned = append(returned, n.spawn(func() {
			if f.Error() == nil {
				n.errorf("a request of a pipeline, which was never answered, has no error when the transport is closed")
			}
		}))
		<-arrived
	}
	n.must(closer.Close(), "Close")
	for _, done := range returned {
		<-done
	}
	if err := n.send(0, 1, fullRequestVote(), new(raft.RequestVoteResponse), nil); err == nil {
		n.errorf("RequestVote of a closed transport returns no error")
	}
	n.must(closer.Close(), "a second Close")
}

func (n *transportProbe) checkPipelineOrder() {
	const requests = 200
	n.open(2, longTimeout)
	n.serve(1, echo)
	pipe := n.pipeline()
	start := time.Now()
	sent := make(chan *raft.AppendEntriesRequest, requests)
	n.spawn(func() {
		defer close(sent)
		for term := range uint64(requests) {
			req := fullAppendEntries(term + 1)
			if _, err := pipe.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				n.errorf("AppendEntries %d of a pipeline: %v", term+1, err)
				return
			}
			sent <- req
		}
	})
	for term := uint64(1); term <= requests; term++ {
		req, ok := <-sent
		if !ok {
			return
		}
		f := <-pipe.Consumer()
		if err := f.Error(); err != nil || f.Response() == nil || f.Response().Term != term {
			n.fatalf("future %d of a pipeline has the answer %+v, error %v", term, f.Response(), err)
		}
		if diff := diffMessage(f.Request(), req); diff != "" {
			n.errorf("future %d of a pipeline has another request: %s", term, diff)
		}
		if f.Start().Before(start) || f.Start().After(time.Now()) {
			n.errorf("future %d of a pipeline was sent %v after the pipeline was opened", term, f.Start().Sub(start))
		}
	}
}

func (n *transportProbe) checkPipelineRefusal() {
	n.open(2, longTimeout)
	n.serve(1, func(rpc raft.RPC) {
		if rpc.Command.(*raft.AppendEntriesRequest).Term == 2 {
			rpc.Respond(nil, errors.New("refused"))
			return
		}
		echo(rpc)
	})
	pipe := n.pipeline()
	n.sendTo(pipe, 1)
	if f := <-pipe.Consumer(); f.Error() != nil || f.Response().Term != 1 {
		n.errorf("future 1 of a pipeline has the answer %+v, error %v", f.Response(), f.Error())
	}
	n.sendTo(pipe, 2)
	f := <-pipe.Consumer()
	if err := f.Error(); err == nil || !strings.Contains(err.Error(), "refused") {
		n.errorf("a request of a pipeline was refused with %q, but its future has the error %v", "refused", err)
	}
	if diff := diffMessage(f.Response(), &raft.AppendEntriesResponse{}); diff != "" {
		n.errorf("the response of a refused request is not zero: %s", diff)
	}
}

func (n *transportProbe) checkPipelineBound() {
	const tooMany = 5000
	n.open(2, shortTimeout)
	n.serve(1, func(raft.RPC) {})
	pipe := n.pipeline()
	done := n.spawn(func() {
		req := fullAppendEntries(1)
		for range tooMany {
			if _, err := pipe.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				return
			}
		}
		n.errorf("a pipeline took %d requests without one answer", tooMany)
	})
	select {
	case <-done:
	case <-time.After(10 * shortTimeout):
		n.must(pipe.Close(), "Close of a pipeline")
		<-done
	}
}

func (n *transportProbe) checkPipelineClose() {
	n.open(2, longTimeout)
	arrived := make(chan struct{}, 1000)
	n.serve(1, func(raft.RPC) { arrived <- struct{}{} })
	pipe := n.pipeline()
	resp := &raft.AppendEntriesResponse{Term: 99, Success: true}
	f, err := pipe.AppendEntries(fullAppendEntries(1), resp)
	n.must(err, "AppendEntries of a pipeline")
	<-arrived
	sender := n.spawn(func() {
		for {
			if _, err := pipe.AppendEntries(fullAppendEntries(2), new(raft.AppendEntriesResponse)); err != nil {
				return
			}
		}
	})
	for range 2 {
		n.must(pipe.Close(), "Close of a pipeline")
	}
	<-sender
	if err := f.Error(); err == nil {
		n.errorf("a request that was not answered has no error when its pipeline is closed")
	}
	if diff := diffMessage(f.Response(), &raft.AppendEntriesResponse{}); diff != "" {
		n.errorf("a request that was not answered has a response that is not zero: %s", diff)
	}
}

// transportProbe is the run of a check on transports.
type transportProbe struct {
	*probe
	connect func(n int, timeout time.Duration) ([]raft.Transport, error)
	trans   []raft.Transport
}

func (n *transportProbe) open(count int, timeout time.Duration) {
	trans, err := n.connect(count, timeout)
	n.must(err, "open %d transports", count)
	n.trans = slices.Clone(trans)
	n.cleanup(func() {
		for _, trans := range n.trans {
			if c, ok := trans.(raft.WithClose); ok {
				_ = c.Close() // looked at where it matters
			}
		}
	})
	if len(trans) != count {
		n.fatalf("open returned %d transports, not %d", len(trans), count)
	}
}

func serverID(i int) raft.ServerID { return raft.ServerID(fmt.Sprint("server-", i)) }

// serve has the requests to a transport handled one by one, as a node does, until
// the check ends or stop is called.
func (n *transportProbe) serve(i int, handle func(raft.RPC)) (stop func()) {
	stopped := make(chan struct{})
	requests := n.trans[i].Consumer()
	done := n.spawn(func() {
		for {
			select {
			case rpc := <-requests:
				n.verifyRPC(rpc)
				handle(rpc)
			case <-stopped:
				return
			case <-n.ended:
				return
			}
		}
	})
	return func() {
		close(stopped)
		<-done
	}
}

// verifyRPC checks what holds for every request.
func (n *transportProbe) verifyRPC(rpc raft.RPC) {
	_, isSnapshot := rpc.Command.(*raft.InstallSnapshotRequest)
	if (rpc.Reader != nil) != isSnapshot {
		n.errorf("a %T came with Reader %v", rpc.Command, rpc.Reader)
	}
	if cap(rpc.RespChan) == 0 {
		n.errorf("the RespChan of a %T has no room for an answer", rpc.Command)
	}
}

// errNotSupported is the error of send for a pre-vote that the transport can't do.
var errNotSupported = errors.New("the transport has no RequestPreVote")

func (n *transportProbe) unsupported(request any) bool {
	_, preVote := request.(*raft.RequestPreVoteRequest)
	_, ok := n.trans[0].(raft.WithPreVote)
	return preVote && !ok
}

// send sends a request of any type. Response must be of its type, data is for an
// InstallSnapshotRequest.
func (n *transportProbe) send(from, to int, request, response any, data io.Reader) error {
	trans, id, addr := n.trans[from], serverID(to), n.trans[to].LocalAddr()
	switch req := request.(type) {
	case *raft.AppendEntriesRequest:
		return trans.AppendEntries(id, addr, req, response.(*raft.AppendEntriesResponse))
	case *raft.RequestVoteRequest:
		return trans.RequestVote(id, addr, req, response.(*raft.RequestVoteResponse))
	case *raft.RequestPreVoteRequest:
		if n.unsupported(req) {
			return errNotSupported
		}
		return trans.(raft.WithPreVote).RequestPreVote(id, addr, req, response.(*raft.RequestPreVoteResponse))
	case *raft.InstallSnapshotRequest:
		return trans.InstallSnapshot(id, addr, req, response.(*raft.InstallSnapshotResponse), data)
	default:
		return trans.TimeoutNow(id, addr, req.(*raft.TimeoutNowRequest), response.(*raft.TimeoutNowResponse))
	}
}

// pipeline opens a pipeline from the first transport to the second.
func (n *transportProbe) pipeline() raft.AppendPipeline {
	pipe, err := n.trans[0].AppendEntriesPipeline(serverID(1), n.trans[1].LocalAddr())
	if err == raft.ErrPipelineReplicationNotSupported {
		n.skipf("the transport has no pipelines")
	}
	n.must(err, "AppendEntriesPipeline")
	n.cleanup(func() { _ = pipe.Close() }) // looked at where it matters
	return pipe
}

func (n *transportProbe) sendTo(pipe raft.AppendPipeline, term uint64) raft.AppendFuture {
	f, err := pipe.AppendEntries(fullAppendEntries(term), new(raft.AppendEntriesResponse))
	n.must(err, "AppendEntries of a pipeline")
	return f
}

// echo answers with the term of the request.
func echo(rpc raft.RPC) {
	switch req := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		rpc.Respond(&raft.AppendEntriesResponse{Term: req.Term}, nil)
	case *raft.RequestVoteRequest:
		rpc.Respond(&raft.RequestVoteResponse{Term: req.Term}, nil)
	default:
		rpc.Respond(zeroResponse(req), nil)
	}
}
