package fuzzy

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft/testing/rafttest"
)

func TestSearch(t *testing.T) {
	write := func(cmd string, call, ret uint64, result any) rafttest.Operation {
		op := rafttest.Operation{Kind: rafttest.Write, Command: []byte(cmd), Call: call, Return: ret, Result: result}
		if result != nil {
			op.Outcome = rafttest.Done
		}
		return op
	}
	read := func(key string, call, ret uint64, result string) rafttest.Operation {
		return rafttest.Operation{Kind: rafttest.Read, Query: key, Call: call, Return: ret, Result: result, Outcome: rafttest.Done}
	}
	refused := write("set k z", 1, 2, nil)
	refused.Outcome = rafttest.Refused
	for _, tt := range []struct {
		name string
		ops  []rafttest.Operation
		good bool
	}{
		{"one after the other", []rafttest.Operation{write("set k a", 1, 2, ""), write("append k b", 3, 4, "ab"), read("k", 5, 6, "ab")}, true},
		{"keys of their own", []rafttest.Operation{write("set k a", 1, 2, ""), read("l", 3, 4, "")}, true},
		{"unknown and seen", []rafttest.Operation{write("set k a", 1, 0, nil), read("k", 2, 3, "a")}, true},
		{"unknown and not seen", []rafttest.Operation{write("set k a", 1, 0, nil), read("k", 2, 3, "")}, true},
		{"unknown and late", []rafttest.Operation{write("set k a", 1, 2, nil), read("k", 3, 4, ""), read("k", 5, 6, "a")}, true},
		{"refused", []rafttest.Operation{refused, read("k", 3, 4, "")}, true},
		{"refused and seen", []rafttest.Operation{refused, read("k", 3, 4, "z")}, false},
		{"stale", []rafttest.Operation{write("set k a", 1, 2, ""), read("k", 3, 4, "")}, false},
		{"lost", []rafttest.Operation{write("append k a", 1, 2, "a"), write("append k b", 3, 4, "b")}, false},
		{"twice", []rafttest.Operation{write("append k a", 1, 2, "a"), read("k", 3, 4, "aa")}, false},
		{"seen and then not", []rafttest.Operation{write("set k a", 1, 0, nil), read("k", 2, 3, "a"), read("k", 4, 5, "")}, false},
		{"a wrong response", []rafttest.Operation{write("set k a", 1, 2, "b")}, false},
	} {
		done, err := search(tt.ops)
		if (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
		if done.Histories == 0 || done.GaveUp > 0 {
			t.Errorf("%s: %+v", tt.name, done)
		}
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct{ cmd, before, after, response string }{
		{"set k v", "x", "v", "x"},
		{"append k v", "x", "xv", "xv"},
		{"append k v", "", "v", "v"},
	} {
		c := parseCommand([]byte(tt.cmd))
		if after, response := c.apply(tt.before), c.response(tt.before); c.key != "k" || after != tt.after || response != tt.response {
			t.Errorf("%s on %q: key %q, %q, response %q", tt.cmd, tt.before, c.key, after, response)
		}
	}
}

func TestTotalNamesWhatIsMissing(t *testing.T) {
	var sum total
	sum.add(outcome{Seed: 7, Failures: []failure{{"p", "d"}}})
	if got := strings.Join(sum.missing(), ", "); !strings.Contains(got, "wipe") || !strings.Contains(got, "torn writes") {
		t.Errorf("missing: %s", got)
	}
	if got := sum.summary(1, 1); !strings.Contains(got, "1 times: p") || !strings.Contains(got, "[7]") {
		t.Errorf("summary: %s", got)
	}
}
