package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// sent makes a write by client 1 that was on its way from start to end, in
// milliseconds, and ended at index i of term 1.
func sent(seq uint32, start, end int, outcome control.Outcome, i uint64) write {
	w := write{Client: 1, Seq: seq, Sum: uint64(seq), Node: "n1",
		Start: time.Duration(start) * time.Millisecond, End: time.Duration(end) * time.Millisecond}
	w.Outcome = outcome
	if outcome == control.Acked {
		w.Index, w.Term = i, 1
	}
	return w
}

func applied(index uint64, seq uint32) control.Record {
	return control.Record{Index: index, Term: 1, Client: 1, Seq: seq, Sum: uint64(seq)}
}

func TestCheckHistory(t *testing.T) {
	const a, r, u = control.Acked, control.Refused, control.Unknown
	odd := sent(1, 0, 1, a, 3)
	odd.Error = "success with response nil"
	for _, tt := range []struct {
		name    string
		writes  []write
		applied []control.Record
		want    string // in the error; empty: none
	}{
		{"as told", []write{sent(1, 0, 1, a, 3), sent(2, 2, 3, u, 0), sent(3, 4, 5, r, 0), sent(4, 6, 7, u, 0)},
			[]control.Record{applied(3, 1), applied(5, 2)}, ""},
		{"lost", []write{sent(1, 0, 1, a, 3)}, nil, "acknowledged and lost"},
		{"twice", []write{sent(1, 0, 1, a, 3)}, []control.Record{applied(3, 1), applied(4, 1)}, "applied twice"},
		{"elsewhere", []write{sent(1, 0, 1, a, 3)}, []control.Record{applied(4, 1)}, "acknowledged elsewhere"},
		{"refused", []write{sent(1, 0, 1, r, 0)}, []control.Record{applied(3, 1)}, "refused and applied"},
		{"invented", nil, []control.Record{applied(3, 1)}, "never sent"},
		{"changed", []write{sent(1, 0, 1, a, 3)}, []control.Record{{Index: 3, Term: 1, Client: 1, Seq: 1, Sum: 9}}, "changed on the way"},
		{"odd success", []write{odd}, []control.Record{applied(3, 1)}, "odd success"},
		{"together", []write{sent(1, 0, 9, a, 4), sent(2, 1, 8, a, 3)}, []control.Record{applied(3, 2), applied(4, 1)}, ""},
		{"overtaken", []write{sent(1, 0, 1, a, 4), sent(2, 2, 3, a, 3)}, []control.Record{applied(3, 2), applied(4, 1)}, "order"},
		{"unknown overtakes", []write{sent(1, 0, 1, a, 4), sent(2, 2, 3, u, 0)}, []control.Record{applied(3, 2), applied(4, 1)}, "order"},
		{"late unknown", []write{sent(1, 0, 1, u, 0), sent(2, 2, 3, a, 3)}, []control.Record{applied(3, 2), applied(4, 1)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) { wantError(t, checkHistory(tt.writes, tt.applied), tt.want) })
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestCheckSame(t *testing.T) {
	one, two := []control.Record{applied(3, 1), applied(4, 2)}, []control.Record{applied(3, 1), applied(5, 2)}
	wantError(t, checkSame("a", "b", one, one), "")
	wantError(t, checkSame("a", "b", one, one[:1]), "a applied 2 commands, b 1")
	wantError(t, checkSame("a", "b", one, two), "differ at command 1")
}

func TestCheckPrefix(t *testing.T) {
	one, two := []control.Record{applied(3, 1), applied(4, 2)}, []control.Record{applied(3, 1), applied(5, 2)}
	wantError(t, checkPrefix("a", "b", one[:1], one), "")
	wantError(t, checkPrefix("a", "b", one, one[:1]), "a applied 2 commands, b 1")
	wantError(t, checkPrefix("a", "b", one, two), "differ at command 1")
}

func TestCheckSequence(t *testing.T) {
	wantError(t, checkSequence("a", []control.Record{{Index: 1, Term: 1}, {Index: 3, Term: 2}}), "")
	wantError(t, checkSequence("a", []control.Record{{Index: 3, Term: 1}, {Index: 3, Term: 2}}), "and then")
	wantError(t, checkSequence("a", []control.Record{{Index: 1, Term: 2}, {Index: 3, Term: 1}}), "and then")
}

func TestCheckLogs(t *testing.T) {
	entries := func(from uint64, sums ...uint64) (es []control.Entry) {
		for i, s := range sums {
			es = append(es, control.Entry{Index: from + uint64(i), Term: 1, Sum: s})
		}
		return es
	}
	a := dump{"a", 4, entries(3, 33, 44, 55, 66)}
	for _, tt := range []struct {
		name string
		b    dump
		dead int
		want string
	}{
		{"same", dump{"b", 0, entries(3, 33, 44, 55, 66)}, 0, ""},
		{"overlap", dump{"b", 0, entries(5, 55, 66, 77)}, 0, ""},
		{"apart", dump{"b", 0, entries(7, 1)}, 0, ""},
		{"below the snapshot", dump{"b", 0, entries(3, 1, 2, 55)}, 2, ""},
		{"above the snapshot", dump{"b", 0, entries(3, 33, 44, 5)}, 0, "differ at index 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dead, err := checkLogs(a, tt.b)
			wantError(t, err, tt.want)
			if dead != tt.dead {
				t.Errorf("%d dead entries, want %d", dead, tt.dead)
			}
		})
	}
}

func TestLeaders(t *testing.T) {
	for _, tt := range []struct {
		name string
		seen []control.Status
		want string
	}{
		{"a term each", []control.Status{{ID: "a", State: "Leader", Term: 1}, {ID: "b", State: "Leader", Term: 2}, {ID: "b", State: "Leader", Term: 2}}, ""},
		{"two of one term", []control.Status{{ID: "a", State: "Leader", Term: 2}, {ID: "b", State: "Leader", Term: 2}}, "two leaders of term 2"},
		{"followers don't count", []control.Status{{ID: "a", State: "Leader", Term: 2}, {ID: "b", State: "Follower", Term: 2}}, ""},
		{"a term falls", []control.Status{{ID: "a", Term: 2}, {ID: "a", Term: 1}}, "went back"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l leaders
			var err error
			for _, st := range tt.seen {
				if _, e := l.see(st); e != nil {
					err = e
				}
			}
			wantError(t, err, tt.want)
		})
	}
}
