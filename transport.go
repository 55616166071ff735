package raft

import (
	"io"
	"time"
)

// RPC is one request from a peer. Whoever takes it from [Transport].Consumer
// answers it exactly once with Respond.
type RPC struct {
	// Command is a pointer to one of the request types.
	Command interface{}

	// Reader is the snapshot that follows an InstallSnapshotRequest, else nil.
	// It must be read to its end before the RPC is answered.
	Reader io.Reader

	// RespChan has room for the one response.
	RespChan chan<- RPCResponse
}

// RPCResponse is the answer to an [RPC].
type RPCResponse struct {
	Response interface{}
	Error    error
}

// Respond answers the request. It does not block, whether RespChan has the room that it
// should have or not.
func (r *RPC) Respond(resp interface{}, err error) {
	answer := RPCResponse{resp, err}
	select {
	case r.RespChan <- answer:
	default:
		go func(c chan<- RPCResponse) { c <- answer }(r.RespChan)
	}
}

// Transport carries requests between servers. Every method may be called from
// several goroutines at once. The RPC methods block until the answer is there,
// and return an error if it is not known to have been received.
type Transport interface {
	// Consumer returns the channel of incoming requests.
	Consumer() <-chan RPC

	// LocalAddr returns the address at which peers reach this node. It does not
	// change.
	LocalAddr() ServerAddress

	// AppendEntriesPipeline opens a session in which requests are sent without
	// waiting for answers. It may return [ErrPipelineReplicationNotSupported].
	AppendEntriesPipeline(id ServerID, target ServerAddress) (AppendPipeline, error)

	// AppendEntries sends one request and waits for its answer.
	AppendEntries(id ServerID, target ServerAddress, args *AppendEntriesRequest, resp *AppendEntriesResponse) error

	// RequestVote sends one request and waits for its answer.
	RequestVote(id ServerID, target ServerAddress, args *RequestVoteRequest, resp *RequestVoteResponse) error

	// InstallSnapshot sends a request and the snapshot, args.Size bytes from data,
	// and waits for the answer. It gives up when data returns an error.
	InstallSnapshot(id ServerID, target ServerAddress, args *InstallSnapshotRequest, resp *InstallSnapshotResponse, data io.Reader) error

	// EncodePeer and DecodePeer convert an address to the bytes that stand for
	// it in messages, and back.
	EncodePeer(id ServerID, addr ServerAddress) []byte
	DecodePeer(buf []byte) ServerAddress

	// SetHeartbeatHandler offers a function that answers heartbeats without the
	// detour of Consumer. A transport may ignore it, or call the function from any
	// goroutine that holds no lock which another method needs: it returns when the
	// node has taken the request, which is answered like one of Consumer's. It may be
	// called for as long as the transport lives. nil takes it back; nodes don't.
	SetHeartbeatHandler(cb func(rpc RPC))

	// TimeoutNow asks a server to stand for election at once.
	TimeoutNow(id ServerID, target ServerAddress, args *TimeoutNowRequest, resp *TimeoutNowResponse) error
}

// WithPreVote is an optional extension of [Transport]. Without it a node does
// not use pre-vote.
type WithPreVote interface {
	RequestPreVote(id ServerID, target ServerAddress, args *RequestPreVoteRequest, resp *RequestPreVoteResponse) error
}

// WithClose is an optional extension of [Transport]: a node closes its transport
// when it is shut down.
type WithClose interface {
	// Close ends all connections and makes calls under way return.
	Close() error
}

// LoopbackTransport is a transport within one process, see [InmemTransport].
type LoopbackTransport interface {
	Transport
	WithPreVote
	WithPeers
	WithClose
}

// WithPeers is an optional extension of [Transport] for those that are connected
// by hand.
type WithPeers interface {
	Connect(peer ServerAddress, t Transport)
	Disconnect(peer ServerAddress)
	DisconnectAll()
}

// AppendPipeline sends AppendEntries requests without waiting for their answers.
type AppendPipeline interface {
	// AppendEntries sends one request. It blocks while too many are unanswered.
	// After an error the pipeline is of no use.
	AppendEntries(args *AppendEntriesRequest, resp *AppendEntriesResponse) (AppendFuture, error)

	// Consumer returns the channel of answered requests, in the order sent.
	// Close does not close it.
	Consumer() <-chan AppendFuture

	// Close ends the session and what is under way in it.
	Close() error
}

// AppendFuture is one request of an [AppendPipeline].
type AppendFuture interface {
	Future

	// Start is when the request was sent.
	Start() time.Time

	Request() *AppendEntriesRequest

	// Response is the zero value if the request failed.
	Response() *AppendEntriesResponse
}
