package fuzzy

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/hashicorp/raft/testing/rafttest"
)

// searchLimit is how long, in real time, the search through one history may take.
const searchLimit = time.Second

// searches says how many histories of keys were searched.
type searches struct {
	Histories  int // of one key each
	Operations int
	GaveUp     int // histories on which the search took too long
}

func (s *searches) add(o searches) {
	s.Histories += o.Histories
	s.Operations += o.Operations
	s.GaveUp += o.GaveUp
}

// input of an operation on one key: a command, or a read.
type input struct {
	command
	read bool
}

// output is what a client was told; nothing is known of an operation of unknown outcome.
type output struct {
	value string
	known bool
}

// register is one key.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		before, i, o := state.(string), in.(input), out.(output)
		if i.read {
			return o.value == before, before
		}
		return !o.known || o.value == i.response(before), i.apply(before)
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v -> %v", in, out) },
}

// search has porcupine look for an order of the operations on each key that explains
// all of them. It is given calls and returns only, and knows nothing of the log.
//
// Operations that were refused and reads that failed are left out. A write of unknown
// outcome has no end: it may take effect at any time, or never, which is the same as
// after everything else.
func search(ops []rafttest.Operation) (done searches, err error) {
	byKey := map[string][]porcupine.Operation{}
	for i := range ops {
		if key, op, ok := toSearch(&ops[i]); ok {
			byKey[key] = append(byKey[key], op)
		}
	}
	for key, history := range byKey {
		done.Histories++
		done.Operations += len(history)
		switch porcupine.CheckOperationsTimeout(register, history, searchLimit) {
		case porcupine.Illegal:
			return done, &rafttest.Violation{
				Property: "porcupine finds no order",
				Detail:   fmt.Sprintf("of the %d operations on %s", len(history), key),
			}
		case porcupine.Unknown:
			done.GaveUp++
		}
	}
	return done, nil
}

func toSearch(op *rafttest.Operation) (key string, p porcupine.Operation, ok bool) {
	p = porcupine.Operation{ClientId: op.Client, Call: int64(op.Call), Return: int64(op.Return)}
	known := op.Outcome == rafttest.Done
	if op.Outcome == rafttest.Refused || op.Kind == rafttest.Read && !known {
		return "", p, false
	}
	value, _ := op.Result.(string)
	p.Output = output{value, known}
	if op.Kind == rafttest.Read {
		key = op.Query.(string)
		p.Input = input{read: true}
		return key, p, true
	}
	c := parseCommand(op.Command)
	p.Input = input{command: c}
	if !known {
		p.Return = math.MaxInt64
	}
	return c.key, p, true
}
