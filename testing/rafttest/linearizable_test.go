package rafttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// textFSM appends its commands to a text and answers with it.
type textFSM struct{ text string }

func (f *textFSM) Apply(e *raft.Log) any {
	f.text += string(e.Data)
	return f.text
}

func (f *textFSM) Snapshot() (raft.FSMSnapshot, error) { return textSnapshot(f.text), nil }

func (f *textFSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil {
		f.text = string(b)
	}
	return err
}

type textSnapshot string

func (s textSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.WriteString(sink, string(s)); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (textSnapshot) Release() {}

var textModel = Model{
	NewFSM: func() raft.FSM { return new(textFSM) },
	Read:   func(fsm raft.FSM, _ any) any { return fsm.(*textFSM).text },
}

// event is an operation in the shape of the tables below: the letters are commands.
type event struct{ Operation }

func wrote(cmd string, call, ret, index uint64, response string) event {
	return event{Operation{Kind: Write, Command: []byte(cmd), Outcome: Done, Call: call, Return: ret, Index: index, Result: response}}
}

func unknown(cmd string, call uint64) event {
	return event{Operation{Kind: Write, Command: []byte(cmd), Call: call}}
}

func refused(cmd string, call, ret uint64) event {
	return event{Operation{Kind: Write, Command: []byte(cmd), Outcome: Refused, Call: call, Return: ret}}
}

func read(call, ret uint64, result string) event {
	return event{Operation{Kind: Read, Outcome: Done, Call: call, Return: ret, Result: result}}
}

// parse gives the operations IDs, and makes the log: a letter is the entry of the
// write of that command, "-" an entry that is no command, "?" a command of nobody.
func parse(log string, events []event) (ops []Operation, committed []raft.Log) {
	ids := map[string]uint64{}
	for i, e := range events {
		e.ID = uint64(i) + 1
		ids[string(e.Command)] = e.ID
		ops = append(ops, e.Operation)
	}
	for i, letter := range log {
		if letter != '-' {
			op := Operation{ID: ids[string(letter)]}
			committed = append(committed, raft.Log{Index: uint64(i) + 1, Data: []byte(string(letter)), Extensions: op.Extensions()})
		}
	}
	return ops, committed
}

func TestModelCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		log    string
		events []event
		want   string // the properties that do not hold
	}{
		{"nothing", "", nil, ""},
		{"a read of nothing", "", []event{read(1, 2, "")}, ""},
		{"one after the other", "ab", []event{wrote("a", 1, 2, 1, "a"), wrote("b", 3, 4, 2, "ab"), read(5, 6, "ab")}, ""},
		{"side by side, in the other order", "ba", []event{wrote("a", 1, 3, 2, "ba"), wrote("b", 2, 4, 1, "b")}, ""},
		{"unknown, and there", "ab", []event{unknown("a", 1), wrote("b", 2, 3, 2, "ab")}, ""},
		{"unknown, and not there", "b", []event{unknown("a", 1), wrote("b", 2, 3, 1, "b")}, ""},
		{"unknown, and late", "ba", []event{unknown("a", 1), wrote("b", 2, 3, 1, "b"), read(4, 5, "b"), read(6, 7, "ba")}, ""},
		{"refused", "b", []event{refused("a", 1, 2), wrote("b", 3, 4, 1, "b")}, ""},
		{"among other entries", "-a--b-", []event{wrote("a", 1, 2, 2, "a"), wrote("b", 3, 4, 5, "ab"), read(5, 6, "ab")}, ""},

		{"lost", "b", []event{wrote("a", 1, 2, 1, "a"), wrote("b", 3, 4, 1, "b")}, lostWrite},
		{"lost at the end", "a", []event{wrote("a", 1, 2, 1, "a"), wrote("b", 3, 4, 2, "ab")}, lostWrite},
		{"elsewhere than acknowledged", "-a", []event{wrote("a", 1, 2, 1, "a")}, movedWrite},
		{"twice", "aa", []event{wrote("a", 1, 2, 1, "a")}, repeatedWrite},
		{"an unknown one twice", "aa", []event{unknown("a", 1)}, repeatedWrite},
		{"refused, and there", "a", []event{refused("a", 1, 2)}, refusedWrite},
		{"nobody's", "?", nil, unknownCommand},
		{"swapped", "ba", []event{wrote("a", 1, 2, 2, "ba"), wrote("b", 3, 4, 1, "b")}, reorderedWrites},
		{"an unknown one before its call", "ba", []event{wrote("a", 1, 2, 2, "ba"), unknown("b", 3)}, reorderedWrites},
		{"a wrong response", "ab", []event{wrote("a", 1, 2, 1, "a"), wrote("b", 3, 4, 2, "b")}, wrongResponse},

		// Reads beside a write may or may not see it, but not one and then the other.
		{"beside a write, not seen", "a", []event{wrote("a", 1, 4, 1, "a"), read(2, 3, "")}, ""},
		{"beside a write, seen", "a", []event{wrote("a", 1, 4, 1, "a"), read(2, 3, "a")}, ""},
		{"beside each other", "a", []event{wrote("a", 1, 6, 1, "a"), read(2, 4, "a"), read(3, 5, "")}, ""},
		{"seen and then not", "a", []event{wrote("a", 1, 6, 1, "a"), read(2, 3, "a"), read(4, 5, "")}, staleRead},
		{"unknown, seen and then not", "a", []event{unknown("a", 1), read(2, 3, "a"), read(4, 5, "")}, staleRead},
		{"stale", "ab", []event{wrote("a", 1, 2, 1, "a"), wrote("b", 3, 4, 2, "ab"), read(5, 6, "a")}, staleRead},
		{"stale, of nothing", "a", []event{wrote("a", 1, 2, 1, "a"), read(3, 4, "")}, staleRead},
		{"of a write to come", "a", []event{read(1, 2, "a"), wrote("a", 3, 4, 1, "a")}, earlyRead},
		{"of an unknown write to come", "a", []event{read(1, 2, "a"), unknown("a", 3)}, earlyRead},
		{"of a write to come, behind other entries", "a--b", []event{
			wrote("a", 1, 2, 1, "a"), read(3, 4, "ab"), wrote("b", 5, 6, 4, "ab")}, earlyRead},
		{"of what never was", "ab", []event{wrote("a", 1, 2, 1, "a"), wrote("b", 3, 4, 2, "ab"), read(5, 6, "b")}, impossibleRead},
		{"of what was lost", "b", []event{unknown("a", 1), read(2, 3, "a"), wrote("b", 4, 5, 1, "b")}, impossibleRead},

		// A read that nothing else bounds is bounded by another read.
		{"a chain of reads", "abc", []event{
			unknown("a", 1), unknown("b", 2), unknown("c", 3),
			read(4, 5, "a"), read(6, 7, "ab"), read(8, 9, "abc")}, ""},
		{"a chain of reads that goes back", "abc", []event{
			unknown("a", 1), unknown("b", 2), unknown("c", 3),
			read(4, 5, "ab"), read(6, 7, "a"), read(8, 9, "abc")}, staleRead},
	} {
		ops, committed := parse(tt.log, tt.events)
		if got := properties(textModel.Check(ops, committed)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// properties names the properties that do not hold.
func properties(err error) string {
	var names []string
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			var v *Violation
			if errors.As(e, &v) {
				names = append(names, v.Property)
			}
		}
	}
	return strings.Join(names, ", ")
}

// The clever choice of states for reads agrees with a search through all choices.
func TestModelCheckAgreesWithSearch(t *testing.T) {
	both := [2]int{}
	for seed := range uint64(3000) {
		ops, committed := randomHistory(rand.New(rand.NewPCG(seed, 0)))
		got, want := textModel.Check(ops, committed) == nil, searchReads(ops, len(committed))
		if got != want {
			t.Fatalf("seed %d: linearizable %v, a search says %v\n%s", seed, got, want, listOperations(ops))
		}
		if got {
			both[0]++
		} else {
			both[1]++
		}
	}
	if both[0] < 300 || both[1] < 300 {
		t.Errorf("%d good and %d bad histories", both[0], both[1])
	}
}

// randomHistory is of four writes, which are in the log in the order of their calls, and
// of five reads that may well have seen what they saw.
func randomHistory(rng *rand.Rand) (ops []Operation, committed []raft.Log) {
	for i := range 9 {
		// Long operations leave all freedom; these are short. No two events coincide.
		op := Operation{Kind: Write, Outcome: Done, Call: uint64(20*rng.IntN(20) + 2*i + 1)}
		op.Return = op.Call + uint64(20*rng.IntN(6)) + 1
		if i >= 4 {
			op.Kind = Read
		}
		ops = append(ops, op)
	}
	slices.SortFunc(ops[:4], func(a, b Operation) int { return int(a.Call) - int(b.Call) })
	for i := range ops {
		op := &ops[i]
		op.ID = uint64(i) + 1
		if op.Kind == Read {
			begun := 0
			for _, w := range ops[:4] {
				if w.Call < op.Return {
					begun++
				}
			}
			op.Result = "abcd"[:max(0, begun-rng.IntN(2))]
			continue
		}
		op.Command, op.Index, op.Result = []byte{"abcd"[i]}, op.ID, "abcd"[:i+1]
		committed = append(committed, raft.Log{Index: op.Index, Data: op.Command, Extensions: op.Extensions()})
	}
	return ops, committed
}

// searchReads tries to give every operation a moment, in an order that respects real
// time, so that the writes are in their order and each read sees those before it.
func searchReads(ops []Operation, writes int) bool {
	done := make([]bool, len(ops))
	var place func(written, left int) bool
	place = func(written, left int) bool {
		if left == 0 {
			return true
		}
		for i := range ops {
			op := &ops[i]
			fits := op.Kind == Write && op.Index == uint64(written)+1 || op.Kind == Read && len(op.Result.(string)) == written
			if done[i] || !fits || slices.ContainsFunc(ops, func(o Operation) bool { return !done[o.ID-1] && o.precedes(op) }) {
				continue
			}
			done[i] = true
			next := written
			if op.Kind == Write {
				next++
			}
			if place(next, left-1) {
				return true
			}
			done[i] = false
		}
		return false
	}
	return place(0, len(ops))
}

func listOperations(ops []Operation) string {
	var b strings.Builder
	for i := range ops {
		fmt.Fprintf(&b, "[%d,%d] %v\n", ops[i].Call, ops[i].Return, &ops[i])
	}
	return b.String()
}
