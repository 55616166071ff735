package raft

import (
	"bufio"
	"errors"
	"fmt"
	"reflect"

	"github.com/hashicorp/raft/internal/metrics"
	"github.com/hashicorp/raft/internal/msgpack"
)

// This file is the framing of messages on a connection; it owns no state. A
// request is a type byte and the struct, followed by the snapshot itself if it
// is an InstallSnapshot. An answer is the text of the error, empty for none, and
// the struct or nil. See docs/compatibility.md, "Encoding".

// rpcType is the first byte of a request.
type rpcType byte

const (
	rpcAppendEntries rpcType = iota
	rpcRequestVote
	rpcInstallSnapshot
	rpcTimeoutNow
	rpcRequestPreVote
)

// An outgoing message appends its encoding to b.
type outgoing interface{ encode(b []byte) []byte }

// An incoming message reads itself from d. A field that is missing keeps its
// value; a nil in place of the message makes it zero.
type incoming interface{ decode(d *msgpack.Stream) }

// rpcKind is what the transport knows about a type of request.
type rpcKind struct {
	labels []metrics.Label
	empty  func() incoming
}

func newRPCKind(name string, empty func() incoming) rpcKind {
	return rpcKind{[]metrics.Label{{Name: "rpcType", Value: name}}, empty}
}

var rpcKinds = [...]rpcKind{
	rpcAppendEntries:   newRPCKind("AppendEntries", func() incoming { return new(AppendEntriesRequest) }),
	rpcRequestVote:     newRPCKind("RequestVote", func() incoming { return new(RequestVoteRequest) }),
	rpcInstallSnapshot: newRPCKind("InstallSnapshot", func() incoming { return new(InstallSnapshotRequest) }),
	rpcTimeoutNow:      newRPCKind("TimeoutNow", func() incoming { return new(TimeoutNowRequest) }),
	rpcRequestPreVote:  newRPCKind("RequestPreVote", func() incoming { return new(RequestPreVoteRequest) }),
}

// heartbeatLabels stand for the AppendEntries that are heartbeats.
var heartbeatLabels = newRPCKind("Heartbeat", nil).labels

var errNegativeSize = errors.New("snapshot of negative size")

// readRequest reads the request that follows its type byte.
func readRequest(d *msgpack.Stream, t rpcType) (incoming, error) {
	if int(t) >= len(rpcKinds) {
		return nil, fmt.Errorf("unknown rpc type %d", t)
	}
	req := rpcKinds[t].empty()
	req.decode(d)
	if s, ok := req.(*InstallSnapshotRequest); ok && s.Size < 0 {
		d.Fail(errNegativeSize)
	}
	return req, d.Err()
}

// writeRequest writes a request, without flushing it. An error of w is reported
// at the latest by its Flush.
func writeRequest(w *bufio.Writer, t rpcType, req outgoing) {
	b := append(w.AvailableBuffer(), byte(t))
	_, _ = w.Write(req.encode(b))
}

// readResponse reads an answer into resp. A refusal is the text of the peer's
// error; err says that no answer could be read, and resp is then undefined.
func readResponse(d *msgpack.Stream, resp incoming) (refusal string, err error) {
	refusal = d.String()
	resp.decode(d)
	return refusal, d.Err()
}

// writeResponse writes an answer, without flushing it. It fails if the response
// is of a type that cannot be encoded.
func writeResponse(w *bufio.Writer, resp RPCResponse) error {
	text := ""
	if resp.Error != nil {
		text = resp.Error.Error()
	}
	b, err := appendBody(msgpack.AppendString(w.AvailableBuffer(), text), resp.Response)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// appendBody appends the struct of an answer, or nil. Whoever takes RPCs from
// the transport may answer with structs of its own.
func appendBody(b []byte, resp interface{}) ([]byte, error) {
	if v := reflect.ValueOf(resp); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return msgpack.AppendNil(b), nil
	}
	if m, ok := resp.(outgoing); ok {
		return m.encode(b), nil
	}
	body, err := encodeMsgPack(resp)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", resp, err)
	}
	return append(b, body...), nil
}
