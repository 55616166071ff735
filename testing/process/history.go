package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// The checks are functions of what clients recorded, so that each can be shown to
// fail.

type kind string

const (
	put    kind = "put"
	get    kind = "get" // linearizable
	remove kind = "delete"
	// look reads what one node has. It is only asked while all nodes have the
	// same and no client writes, so it has to be linearizable, too.
	look kind = "look"
)

// outcome is what a client knows of an operation.
type outcome string

const (
	done    outcome = "done"
	refused outcome = "refused" // it has no effect, now or later
	unknown outcome = "unknown" // it may take effect at any time, once
)

// op is an operation that a client asked for. Times are on the driver's clock.
type op struct {
	Client     int
	Kind       kind
	Key, Value string // what was written or read; an absent key reads as ""
	Node       string
	Start, End time.Duration // End is when the outcome was known
	Outcome    outcome
	Index      uint64 // Kv-Index, 0 if there was none
	Error      string
}

func (o op) String() string {
	return fmt.Sprintf("%s %s %q of client %d by %s at %v..%v: %s, index %d %s", o.Kind, o.Key, o.Value,
		o.Client, o.Node, o.Start.Round(time.Millisecond), o.End.Round(time.Millisecond), o.Outcome, o.Index, o.Error)
}

func (o op) writes() bool { return o.Kind == put || o.Kind == remove }

// faults collects what is wrong, up to a bound: one cause often has thousands of
// effects.
type faults []error

const maxFaults = 20

func (f *faults) add(format string, args ...any) {
	if len(*f) < maxFaults {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

func (f faults) err() error { return errors.Join(f...) }

// byKey splits a history.
func byKey(history []op) map[string][]op {
	keys := map[string][]op{}
	for _, o := range history {
		keys[o.Key] = append(keys[o.Key], o)
	}
	return keys
}

// register is a key: it holds the value last written, "" if none.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		switch o := input.(op); o.Kind {
		case put:
			return true, o.Value
		case remove:
			return true, ""
		default:
			return output.(string) == state.(string), state
		}
	},
	DescribeOperation: func(input, output any) string {
		o := input.(op)
		return fmt.Sprintf("%s %q %s (%s)", o.Kind, o.Value, o.Outcome, o.Node)
	},
}

// operations are what has or may have had an effect, and what was seen, of the
// history of one key. A refused write is left out: whoever sees it sees a value that
// nobody wrote. So is a put of unknown outcome that nobody saw, as it makes the
// search longer and no difference: values are unique.
func operations(history []op) []porcupine.Operation {
	seen := map[string]bool{}
	for _, o := range history {
		if !o.writes() && o.Outcome == done {
			seen[o.Value] = true
		}
	}
	var ops []porcupine.Operation
	for _, o := range history {
		end := int64(o.End)
		switch {
		case o.Outcome == done:
		case o.Outcome == refused || !o.writes() || o.Kind == put && !seen[o.Value]:
			continue
		default:
			end = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: o.Client, Input: o, Output: o.Value, Call: int64(o.Start), Return: end})
	}
	return ops
}

// searchTimeout bounds the search for a linearization of one key. A verdict that is
// not reached is a fault of the run: a check that did not happen.
const searchTimeout = 30 * time.Second

// checkLinearizable holds that the history of one key is that of a register. If it
// is not, a picture of the history is left in dir.
func checkLinearizable(key string, history []op, dir string) error {
	verdict, info := porcupine.CheckOperationsVerbose(register, operations(history), searchTimeout)
	switch verdict {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("key %s: no verdict within %v on %d operations", key, searchTimeout, len(history))
	}
	page := filepath.Join(dir, url.PathEscape(key)+".html")
	err := fmt.Errorf("key %s: its %d operations are not linearizable, see %s", key, len(history), page)
	return errors.Join(err, porcupine.VisualizePath(register, info, page))
}

// checkFinal holds that what the key has in the end, as seen by looks after all
// else, is no older than any write that was acknowledged. It says less than
// checkLinearizable, but says it plainly.
func checkFinal(history []op) error {
	var wrong faults
	byValue := map[string]op{}
	for _, o := range history {
		if o.Kind == put {
			byValue[o.Value] = o
		}
	}
	for _, last := range history {
		if last.Kind != look || last.Outcome != done {
			continue
		}
		source, known := byValue[last.Value]
		for _, w := range history {
			lost := w.Kind == put && w.Outcome == done && w.End < last.Start &&
				w.Value != last.Value && !overwritten(w, source, known, history)
			if lost {
				wrong.add("acknowledged and lost: %v; %v", w, last)
			}
		}
	}
	return wrong.err()
}

// overwritten reports whether the put w may have made way for what was found in the
// end: the put source, or if that is not known, nothing.
func overwritten(w, source op, known bool, history []op) bool {
	if known {
		return source.Outcome == unknown || source.End >= w.Start
	}
	return slices.ContainsFunc(history, func(o op) bool {
		return o.Kind == remove && (o.Outcome == unknown || o.Outcome == done && o.End >= w.Start)
	})
}

// checkOrder holds the indexes that nodes gave against the clock, over all keys: a
// write has a larger index than whatever was answered before it was asked for, a
// read has seen at least that, and no two writes have the same index.
func checkOrder(history []op) error {
	var wrong faults
	var told []op
	writer := map[uint64]op{}
	for _, o := range history {
		if o.Outcome != done {
			continue
		}
		if o.Index == 0 {
			wrong.add("no index: %v", o)
		}
		if other, twice := writer[o.Index]; twice && o.writes() {
			wrong.add("one index twice: %v and %v", other, o)
		}
		if o.writes() {
			writer[o.Index] = o
		}
		told = append(told, o)
	}
	byStart := slices.SortedFunc(slices.Values(told), func(a, b op) int { return cmp.Compare(a.Start, b.Start) })
	slices.SortFunc(told, func(a, b op) int { return cmp.Compare(a.End, b.End) })
	var before op // of those answered so far, the one with the largest index
	for _, o := range byStart {
		for told[0].End < o.Start {
			if told[0].Index > before.Index {
				before = told[0]
			}
			told = told[1:]
		}
		if o.Index < before.Index || o.writes() && o.Index == before.Index {
			wrong.add("order: %v after %v", o, before)
		}
	}
	return wrong.err()
}
