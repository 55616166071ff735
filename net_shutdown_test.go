package raft

import (
	"testing"

	"github.com/hashicorp/raft/internal/leaks"
)

// What was acknowledged before a node was shut down is sent, and then its connections
// end: a refusal over a connection that still works wedges a busy leader of
// hashicorp/raft (L4).
func TestServerOfStoppedNodeHangsUp(t *testing.T) {
	leaks.Check(t)
	n := newTestTransport(t, nil)
	conn := dialTest(t, n)
	writeTo(t, conn, frame(rpcAppendEntries, realAppend(1)), frame(rpcAppendEntries, realAppend(2)))
	first, second := <-n.Consumer(), <-n.Consumer()
	resp := &AppendEntriesResponse{Term: 1, Success: true}
	second.Respond(nil, ErrRaftShutdown)
	first.Respond(resp, nil)
	expectBytes(t, conn, answerFrame(resp))
	expectEOF(t, conn)
}
