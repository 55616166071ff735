package rafttest

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// The suites' own tests: implementations with a deliberate fault each, and which
// checks must find it. That the checks find nothing in good ones is in
// check_apply_test.go.

// A fault is a faulty implementation.
type fault struct {
	name  string
	suite suite
	found map[string]string // by check, a part of what it must say

	// For what hangs: when to give it up, checkLimit if 0, and how to end it then.
	limit   time.Duration
	release func()
}

func testFaults(t *testing.T, faults []fault) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			limit := checkLimit
			if f.limit != 0 {
				t.Parallel()
				limit = f.limit
			}
			if f.release != nil {
				defer f.release()
			}
			left := len(f.found)
			for _, c := range f.suite {
				want, ok := f.found[c.name]
				if !ok {
					continue
				}
				left--
				v := examine(c, t.TempDir(), limit)
				if got := strings.Join(v.findings, "\n"); !strings.Contains(got, want) {
					t.Errorf("%s says %q (skipped: %s), want something with %q", c.name, got, v.skipped, want)
				}
			}
			if left != 0 {
				t.Errorf("%d checks don't exist", left)
			}
		})
	}
}

// durable makes stores that outlive Close: one for each directory.
func durable[S any](make func() S) func(dir string) (S, error) {
	var mu sync.Mutex
	stores := map[string]S{}
	return func(dir string) (S, error) {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := stores[dir]; !ok {
			stores[dir] = make()
		}
		return stores[dir], nil
	}
}

// What the suites make of deviations and failures can only be seen in a test that
// fails: it runs in a process of its own.
func TestCheckOptions(t *testing.T) {
	const key = "RAFTTEST_CHECK_OPTIONS"
	if os.Getenv(key) != "" {
		CheckLogStore(t, func(string) (raft.LogStore, error) {
			return &faultyLog{LogStore: raft.NewInmemStore(), remove: func(raft.LogStore, uint64, uint64) error { return nil }}, nil
		},
			Volatile(),
			Deviation("DeletePrefix", "it is not good at that"),
			Deviation("EmptyStore", "outdated"),
			Deviation("CommitIndex", "skipped"),
			Deviation("NoSuchCheck", "mistyped"))
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCheckOptions$", "-test.v")
	cmd.Env = append(os.Environ(), key+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("the suite passes")
	}
	for _, want := range []string{
		"--- SKIP: TestCheckOptions/DeletePrefix", "known deviation: it is not good at that",
		"--- FAIL: TestCheckOptions/EmptyStore", "listed as a deviation: outdated",
		"--- FAIL: TestCheckOptions/CommitIndex ", "listed as a deviation: skipped",
		"no such check: NoSuchCheck",
		"--- FAIL: TestCheckOptions/DeleteSuffix", "LastIndex is 20, error <nil>, want 19",
		"contract:  DeleteRange of a suffix deletes exactly that", "otherwise: entries that the leader does not have",
		"--- PASS: TestCheckOptions/EveryField",
		"--- SKIP: TestCheckOptions/CommitIndexWithoutEntries",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
