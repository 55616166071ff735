package rafttest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/hashicorp/raft"
)

// Violation is a property that does not hold.
type Violation struct {
	Property string // in a few words, the same for all violations of the property
	Detail   string
}

// Error names the property and what broke it.
func (v *Violation) Error() string { return v.Property + ": " + v.Detail }

func violation(property, format string, args ...any) *Violation {
	return &Violation{property, fmt.Sprintf(format, args...)}
}

// The properties of [Model.Check].
const (
	lostWrite       = "lost write"
	movedWrite      = "moved write"
	repeatedWrite   = "repeated write"
	refusedWrite    = "refused write took effect"
	unknownCommand  = "command of nobody"
	reorderedWrites = "reordered writes"
	wrongResponse   = "wrong response"
	staleRead       = "stale read"
	earlyRead       = "read of the future"
	impossibleRead  = "read of a state that never was"
)

// maxViolations bounds what a check reports: the first few tell the story.
const maxViolations = 10

// Model is what the operations of a history mean.
type Model struct {
	// NewFSM makes an empty FSM, on which the log is replayed.
	NewFSM func() raft.FSM

	// Read answers the query of a read from an FSM. It must not change the FSM.
	// It may be nil if there are no reads.
	Read func(fsm raft.FSM, query any) any

	// Equal compares responses, and results of reads; [reflect.DeepEqual] if nil.
	Equal func(a, b any) bool
}

// Check reports whether a history is linearizable, given the commands that the
// cluster has committed, in the order of their indexes and with none left out. The
// errors are of type [*Violation], the first few of them joined.
//
// The check is exact and takes little more than linear time, for the log says in
// which order the writes took effect. It holds that
//
//   - every command in the log is an operation's, and none is there twice; a write
//     that was acknowledged is there, at its index, one that was refused is not;
//   - a write that had returned when another was called precedes it in the log;
//   - the responses are those of a replay of the log on a fresh FSM;
//   - each read's result is that of the replayed state after some entry. This is at or
//     after every write that had returned when the read was called, before every write
//     that was called when the read had returned, and not before the state of any read
//     that had returned then. Each read is given the first state that fits; if that
//     leaves none for another, no choice does.
func (m Model) Check(ops []Operation, committed []raft.Log) error {
	c := &logCheck{Model: m, log: committed, at: map[uint64]uint64{}}
	if c.Equal == nil {
		c.Equal = reflect.DeepEqual
	}
	c.sort(ops)
	c.locate()
	c.acknowledged()
	c.order()
	c.replay()
	return errors.Join(c.broken...)
}

// logCheck is one call of Check.
type logCheck struct {
	Model
	log    []raft.Log
	writes []*Operation // in the order of their calls, as are reads
	reads  []*Operation
	at     map[uint64]uint64 // the index of a write's entry, by its ID
	broken []error
}

func (c *logCheck) fail(property, format string, args ...any) {
	if len(c.broken) < maxViolations {
		c.broken = append(c.broken, violation(property, format, args...))
	}
}

func (c *logCheck) sort(ops []Operation) {
	for i := range ops {
		switch op := &ops[i]; {
		case op.Kind == Write:
			c.writes = append(c.writes, op)
		case op.Outcome == Done:
			c.reads = append(c.reads, op)
		}
	}
	byCall := func(a, b *Operation) int { return cmp.Compare(a.Call, b.Call) }
	slices.SortFunc(c.writes, byCall)
	slices.SortFunc(c.reads, byCall)
}

// locate finds the operation of every entry.
func (c *logCheck) locate() {
	byID := make(map[uint64]*Operation, len(c.writes))
	for _, op := range c.writes {
		byID[op.ID] = op
	}
	for i := range c.log {
		e := &c.log[i]
		op := byID[operationID(e.Extensions)]
		switch {
		case op == nil || !bytes.Equal(op.Command, e.Data):
			c.fail(unknownCommand, "entry %d, %q", e.Index, e.Data)
			continue
		case op.Outcome == Refused:
			c.fail(refusedWrite, "entry %d is %v", e.Index, op)
		case c.at[op.ID] != 0:
			c.fail(repeatedWrite, "entries %d and %d are %v", c.at[op.ID], e.Index, op)
			continue
		}
		c.at[op.ID] = e.Index
	}
}

// acknowledged holds the log to what clients were told.
func (c *logCheck) acknowledged() {
	for _, op := range c.writes {
		switch at := c.at[op.ID]; {
		case op.Outcome != Done || at == op.Index:
		case at == 0:
			c.fail(lostWrite, "not in the log: %v", op)
		default:
			c.fail(movedWrite, "at %d in the log: %v", at, op)
		}
	}
}

// order holds the log to real time.
func (c *logCheck) order() {
	last := newest(c.writes, c.place)
	for _, op := range c.writes {
		before, index := last(op.Call)
		if at := c.at[op.ID]; at != 0 && at < index {
			c.fail(reorderedWrites, "at %d in the log: %v\nat %d: %v, which had returned", at, op, index, before)
		}
	}
}

// place is where a write is in the log, 0 if it is not there.
func (c *logCheck) place(op *Operation) uint64 { return c.at[op.ID] }

// newest returns a function that gives, of the operations that had returned at a
// place in the history, the one with the highest index. It must be asked for places
// in increasing order.
func newest(ops []*Operation, index func(*Operation) uint64) func(call uint64) (*Operation, uint64) {
	returned := slices.DeleteFunc(slices.Clone(ops), func(op *Operation) bool { return op.Return == 0 || op.Outcome != Done })
	slices.SortFunc(returned, func(a, b *Operation) int { return cmp.Compare(a.Return, b.Return) })
	var best *Operation
	var highest uint64
	return func(call uint64) (*Operation, uint64) {
		for len(returned) > 0 && returned[0].Return < call {
			if i := index(returned[0]); i > highest {
				best, highest = returned[0], i
			}
			returned = returned[1:]
		}
		return best, highest
	}
}

// readPoint is a read and the states from which it may come: those after the entries
// lo to hi.
type readPoint struct {
	op     *Operation
	lo, hi uint64
	tried  bool // lo is final: it respects the reads before, too
}

// readPoints gives the reads the bounds that the writes set.
func (c *logCheck) readPoints() []*readPoint {
	points := make([]*readPoint, len(c.reads))
	last := newest(c.writes, c.place)
	for i, op := range c.reads {
		_, lo := last(op.Call)
		points[i] = &readPoint{op: op, lo: lo}
	}
	// The writes called after a read has returned, from the last call to the first.
	byReturn := slices.Clone(points)
	slices.SortFunc(byReturn, func(a, b *readPoint) int { return cmp.Compare(b.op.Return, a.op.Return) })
	next, writes := c.lastIndex()+1, c.writes
	for _, p := range byReturn {
		for len(writes) > 0 && writes[len(writes)-1].Call > p.op.Return {
			if at := c.place(writes[len(writes)-1]); at != 0 {
				next = min(next, at)
			}
			writes = writes[:len(writes)-1]
		}
		p.hi = next - 1
	}
	return points
}

func (c *logCheck) lastIndex() uint64 {
	if len(c.log) == 0 {
		return 0
	}
	return c.log[len(c.log)-1].Index
}

// replay applies the log to a fresh FSM and compares responses and reads with it.
func (c *logCheck) replay() {
	byIndex := make(map[uint64]*Operation, len(c.writes))
	for _, op := range c.writes {
		if op.Outcome == Done {
			byIndex[c.at[op.ID]] = op
		}
	}
	fsm, points := c.NewFSM(), c.readPoints()
	points = c.readAt(fsm, 0, points)
	for i := range c.log {
		e := c.log[i]
		response := applyTo(fsm, &e)
		if op := byIndex[e.Index]; op != nil && !c.Equal(op.Result, response) {
			c.fail(wrongResponse, "a replay gives %v: %v", response, op)
		}
		points = c.readAt(fsm, e.Index, points)
	}
}

// applyTo applies one entry, as a node would.
func applyTo(fsm raft.FSM, e *raft.Log) any {
	batching, ok := fsm.(raft.BatchingFSM)
	if !ok {
		return fsm.Apply(e)
	}
	if responses := batching.ApplyBatch([]*raft.Log{e}); len(responses) == 1 {
		return responses[0]
	}
	return nil
}

// readAt takes out of points, which are in the order of their calls, the reads that fit
// the state after an entry, and those that may come from no later one.
func (c *logCheck) readAt(fsm raft.FSM, index uint64, points []*readPoint) []*readPoint {
	kept := points[:0]
	limit := ^uint64(0) // where the first of the reads that are kept returned
	for i, p := range points {
		if p.lo > index || p.op.Call > limit {
			// Nor may any later one: it has this bound too, or a higher one.
			return append(kept, points[i:]...)
		}
		if !p.tried {
			p.tried, p.lo = true, index
		}
		switch fits := index <= p.hi && c.Equal(c.Read(fsm, p.op.Query), p.op.Result); {
		case fits:
		case index < p.hi:
			kept = append(kept, p)
			limit = min(limit, p.op.Return)
		default:
			c.wrongRead(p)
		}
	}
	return kept
}

// wrongRead finds out what is wrong with a read.
func (c *logCheck) wrongRead(p *readPoint) {
	fsm := c.NewFSM()
	fits := func() bool { return c.Equal(c.Read(fsm, p.op.Query), p.op.Result) }
	before, after := fits(), false
	for i := range c.log {
		e := c.log[i]
		applyTo(fsm, &e)
		if e.Index <= p.hi {
			before = before || fits()
		} else {
			after = after || fits()
		}
	}
	property := impossibleRead
	switch {
	case before:
		property = staleRead
	case after:
		property = earlyRead
	}
	c.fail(property, "not the state after any of the entries %d to %d: %v", p.lo, p.hi, p.op)
}
