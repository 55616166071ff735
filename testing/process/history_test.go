package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// did makes an operation on key k that was on its way from start to end, in
// milliseconds. Its index is that of the write that it made or saw.
func did(k kind, value string, start, end int, index uint64) op {
	return op{Client: start, Kind: k, Key: "k", Value: value, Node: "n1", Outcome: done, Index: index,
		Start: time.Duration(start) * time.Millisecond, End: time.Duration(end) * time.Millisecond}
}

// as changes the outcome of an operation.
func as(o op, what outcome) op {
	o.Outcome, o.Index = what, 0
	return o
}

func TestCheckHistory(t *testing.T) {
	const ok = ""
	for _, tt := range []struct {
		name                       string
		history                    []op
		linearizable, final, order string // in the error of each check; empty: none
	}{
		{"one after the other", []op{did(put, "a", 0, 1, 3), did(get, "a", 2, 3, 3), did(remove, "", 4, 5, 6), did(look, "", 7, 8, 6)}, ok, ok, ok},
		{"absent at first", []op{did(get, "", 0, 1, 2), did(put, "a", 2, 3, 3)}, ok, ok, ok},
		{"side by side", []op{did(put, "a", 0, 9, 4), did(put, "b", 1, 8, 3), did(get, "a", 2, 7, 4), did(look, "a", 10, 11, 4)}, ok, ok, ok},
		{"either may be last", []op{did(put, "a", 0, 9, 3), did(put, "b", 1, 8, 4), did(look, "b", 10, 11, 4)}, ok, ok, ok},

		{"stale read", []op{did(put, "a", 0, 1, 3), did(put, "b", 2, 3, 4), did(get, "a", 4, 5, 3)}, "not linearizable", ok, "order"},
		{"back in time", []op{did(put, "a", 0, 1, 3), did(put, "b", 2, 9, 4), did(get, "b", 3, 4, 4), did(get, "a", 5, 6, 3)}, "not linearizable", ok, "order"},
		{"read too early", []op{did(get, "a", 0, 1, 3), did(put, "a", 2, 3, 3)}, "not linearizable", ok, "order"},
		{"invented", []op{did(put, "a", 0, 1, 3), did(get, "z", 2, 3, 3)}, "not linearizable", ok, ok},
		{"lost", []op{did(put, "a", 0, 1, 3), did(look, "", 2, 3, 3)}, "not linearizable", "acknowledged and lost", ok},
		{"lost to an older one", []op{did(put, "a", 0, 1, 3), did(put, "b", 2, 3, 4), did(look, "a", 4, 5, 4)}, "not linearizable", "acknowledged and lost", ok},
		{"lost on one node", []op{did(put, "a", 0, 1, 3), did(look, "a", 2, 3, 3), did(look, "", 4, 5, 3)}, "not linearizable", "acknowledged and lost", ok},
		{"deletion lost", []op{did(put, "a", 0, 1, 3), did(remove, "", 2, 3, 4), did(look, "a", 4, 5, 4)}, "not linearizable", ok, ok},
		{"deleted before", []op{did(remove, "", 0, 1, 3), did(put, "a", 2, 3, 4), did(look, "", 4, 5, 4)}, "not linearizable", "acknowledged and lost", ok},

		{"refused and seen", []op{as(did(put, "a", 0, 1, 0), refused), did(get, "a", 2, 3, 3)}, "not linearizable", ok, ok},
		{"refused and not seen", []op{as(did(put, "a", 0, 1, 0), refused), did(get, "", 2, 3, 3)}, ok, ok, ok},
		{"deletion refused and seen", []op{did(put, "a", 0, 1, 3), as(did(remove, "", 2, 3, 0), refused), did(get, "", 4, 5, 3)}, "not linearizable", ok, ok},
		{"read without answer", []op{did(put, "a", 0, 1, 3), as(did(get, "", 2, 3, 0), unknown)}, ok, ok, ok},

		{"unknown takes effect late", []op{as(did(put, "a", 0, 1, 0), unknown), did(get, "", 2, 3, 1), did(get, "a", 4, 5, 3), did(look, "a", 6, 7, 3)}, ok, ok, ok},
		{"unknown never takes effect", []op{did(put, "a", 0, 1, 3), as(did(put, "b", 2, 3, 0), unknown), did(get, "a", 4, 5, 3)}, ok, ok, ok},
		{"unknown takes effect twice", []op{as(did(put, "a", 0, 1, 0), unknown), did(get, "a", 2, 3, 3), did(put, "b", 4, 5, 4), did(get, "a", 6, 7, 5)}, "not linearizable", ok, ok},
		{"unknown is last", []op{did(put, "a", 0, 1, 3), as(did(put, "b", 2, 3, 0), unknown), did(look, "b", 4, 5, 4)}, ok, ok, ok},
		{"unknown deletion", []op{did(put, "a", 0, 1, 3), as(did(remove, "", 2, 3, 0), unknown), did(get, "a", 4, 5, 3), did(look, "", 6, 7, 4)}, ok, ok, ok},
		{"unknown undoes a deletion", []op{as(did(put, "a", 0, 1, 0), unknown), did(remove, "", 2, 3, 3), did(look, "a", 4, 5, 4)}, ok, ok, ok},
		{"unknown before it was asked for", []op{did(get, "a", 0, 1, 3), as(did(put, "a", 2, 3, 0), unknown)}, "not linearizable", ok, ok},

		{"two of one index", []op{did(put, "a", 0, 3, 3), did(put, "b", 0, 3, 3)}, ok, ok, "one index twice"},
		{"overtaken", []op{did(put, "a", 0, 1, 4), did(put, "b", 2, 3, 3)}, ok, ok, "order"},
		{"no index", []op{did(put, "a", 0, 1, 0)}, ok, ok, "no index"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, "linearizable", checkLinearizable("k", tt.history, t.TempDir()), tt.linearizable)
			wantError(t, "final", checkFinal(tt.history), tt.final)
			wantError(t, "order", checkOrder(tt.history), tt.order)
		})
	}
}

// TestCheckOrderAcrossKeys shows what no check of single keys can: a read of one key
// that misses what was acknowledged on another.
func TestCheckOrderAcrossKeys(t *testing.T) {
	write, read := did(put, "a", 0, 1, 4), did(get, "", 2, 3, 3)
	read.Key = "other"
	wantError(t, "order", checkOrder([]op{write, read}), "order")
}

// TestPicture holds that a failure leaves a picture.
func TestPicture(t *testing.T) {
	dir := t.TempDir()
	if checkLinearizable("a/b", []op{did(get, "z", 0, 1, 3)}, dir) == nil {
		t.Fatal("no error")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}

func wantError(t *testing.T, what string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}
