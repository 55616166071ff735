package rafttest

import (
	"bytes"
	"errors"
	"io"
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
