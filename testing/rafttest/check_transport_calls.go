package rafttest

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// This file is the longer checks of CheckTransport but for those of pipelines.

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
