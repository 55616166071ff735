package rafttest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// OperationKind says what a client asked for.
type OperationKind int

const (
	// Write is a command, given to the log by [raft.Raft.ApplyLog].
	Write OperationKind = iota

	// Read is a query to one server's FSM, after that server was entitled to
	// answer it.
	Read
)

// String returns "write" or "read".
func (k OperationKind) String() string {
	if k == Read {
		return "read"
	}
	return "write"
}

// Outcome says what a client may conclude when its call has returned.
type Outcome int

const (
	// Unknown: the operation may have taken effect, or may yet do so. A call that
	// has not returned is of this outcome too.
	Unknown Outcome = iota

	// Done: it took effect between call and return.
	Done

	// Refused: it took no effect and never will. Of a read it says only that
	// there is no result.
	Refused
)

// String returns the name of the constant in lower case.
func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case Refused:
		return "refused"
	default:
		return "unknown"
	}
}

// OutcomeOf returns what the error of [raft.Raft.Apply] and its like lets the caller
// conclude.
func OutcomeOf(err error) Outcome {
	switch err {
	case nil:
		return Done
	case raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout, raft.ErrEntryTooLarge:
		return Refused
	default:
		return Unknown
	}
}

// Operation is one call of a client to a cluster.
type Operation struct {
	// ID is unique within a history, and not 0. A write's entry has it as its
	// Extensions, see [Operation.Extensions].
	ID uint64

	Client int
	Server raft.ServerID // that was asked
	Kind   OperationKind
	Via    string // how a read was made linearizable, for reports

	Command []byte // of a write
	Query   any    // of a read

	Outcome Outcome
	Err     error
	Result  any    // the response of the FSM to a write, or the result of a read
	Index   uint64 // the entry of a write that is done

	// Call and Return are places in the one order of all calls and returns of the
	// history, counted from 1: an operation precedes another if it returned before
	// the other was called. Return is 0 as long as the call has not returned.
	Call, Return uint64

	// CalledAt and ReturnedAt are the times since the history began, for reports:
	// many operations may share an instant of virtual time.
	CalledAt, ReturnedAt time.Duration
}

// Extensions returns what marks a write's entry in the log as this operation's.
func (o *Operation) Extensions() []byte { return binary.BigEndian.AppendUint64(nil, o.ID) }

// operationID is the inverse of Extensions; 0 if these are none.
func operationID(extensions []byte) uint64 {
	if len(extensions) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(extensions)
}

// precedes reports whether o had returned when other was called.
func (o *Operation) precedes(other *Operation) bool {
	return o.Return != 0 && o.Return < other.Call
}

// String describes the operation in one line.
func (o *Operation) String() string {
	what := fmt.Sprintf("%q", o.Command)
	if o.Kind == Read {
		what = fmt.Sprintf("%v via %s", o.Query, o.Via)
	}
	s := fmt.Sprintf("#%d client %d at %s, %.3f", o.ID, o.Client, o.Server, o.CalledAt.Seconds())
	if o.Return != 0 {
		s += fmt.Sprintf("..%.3f", o.ReturnedAt.Seconds())
	}
	s += fmt.Sprintf(": %v %s: %v", o.Kind, what, o.Outcome)
	switch {
	case o.Outcome == Done && o.Kind == Write:
		s += fmt.Sprintf(" at %d, response %v", o.Index, o.Result)
	case o.Outcome == Done:
		s += fmt.Sprintf(", result %v", o.Result)
	case o.Err != nil:
		s += fmt.Sprintf(", %v", o.Err)
	}
	return s
}

// History collects operations in the order in which they are called and return. Its
// methods may be called from any goroutine.
type History struct {
	start time.Time

	mu    sync.Mutex
	stamp uint64
	ops   []*Operation
}

// NewHistory returns an empty history that begins now.
func NewHistory() *History { return &History{start: time.Now()} }

// Begin records a call that is about to be made; ID and the call's place and time are
// filled in. The result must be changed by End only.
func (h *History) Begin(op Operation) *Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stamp++
	op.ID, op.Call, op.CalledAt = uint64(len(h.ops))+1, h.stamp, time.Since(h.start)
	h.ops = append(h.ops, &op)
	return &op
}

// End records that the call has returned, and sets what finish sets of its outcome.
func (h *History) End(op *Operation, finish func(*Operation)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	finish(op)
	h.stamp++
	op.Return, op.ReturnedAt = h.stamp, time.Since(h.start)
}

// Operations returns a copy of what has been recorded, in the order of the calls.
func (h *History) Operations() []Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops := make([]Operation, len(h.ops))
	for i, op := range h.ops {
		ops[i] = *op
	}
	return ops
}
