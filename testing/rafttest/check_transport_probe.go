package rafttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

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
