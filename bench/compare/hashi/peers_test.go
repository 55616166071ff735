package hashi

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft/bench/compare/load"
)

// Every workload runs with both libraries, on little data and in little time, and finds
// that the nodes agree.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs and waits for elections: not with -short")
	}
	bin := t.TempDir()
	tests := make(map[string]func(*testing.T))
	for _, peer := range []string{"ours", "upstream"} {
		build := exec.Command("go", "build", "-o", bin, ".")
		build.Dir = filepath.Join("..", "peers", peer)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", peer, err, out)
		}
		for _, m := range measurements {
			tests[peer+" "+m.args] = func(t *testing.T) { m.check(t, filepath.Join(bin, peer)) }
		}
	}
	tests["ours reads by index"] = func(t *testing.T) {
		measurement{args: "-workload read -method readindex -writers 1", metrics: "rate writes"}.check(t, filepath.Join(bin, "ours"))
		measurement{args: "-workload read -method lease", metrics: "rate"}.check(t, filepath.Join(bin, "ours"))
	}
	tests["upstream has no ReadIndex"] = func(t *testing.T) {
		var exit *exec.ExitError
		_, err := run(t, filepath.Join(bin, "upstream"), "-workload read -method readindex")
		if !errors.As(err, &exit) || exit.ExitCode() != load.Unsupported {
			t.Errorf("ended with %v, not with status %d", err, load.Unsupported)
		}
	}
	together(t, tests)
}

type measurement struct {
	args    string
	metrics string  // that are there, and not zero
	flushes float64 // of an operation, at least
}

// A majority must have flushed what one client has been told is done. A store that counts
// less is written to by a method that its counter does not know.
var measurements = []measurement{
	{"-store mem -clients 64", "rate p50 p99 p999 max cpu allocs bytes rss", 0},
	{"-store bolt -time 500ms -processes 3 -entries 5000", "rate p50 p99 p999 max cpu allocs bytes rss flushes perflush", 2 * BoltCommit},
	{"-store wal -time 500ms -nodes 5 -entries 5000", "rate flushes perflush", 3},
	{"-store raft-wal -time 500ms -nodes 1", "rate flushes perflush", 1},
	{"-store bolt+cache -clients 64 -size 4096", "rate flushes perflush", 0},
	{"-workload read -writers 2 -processes 3 -clients 64", "rate p50 writes", 0},
	{"-workload idle -processes 3", "cpu goroutines rss data", 0},
	{"-workload restart -entries 10000", "seconds open rss", 0},
	{"-workload catchup -entries 10000", "seconds rss", 0},
	{"-workload catchup -entries 10000 -store wal", "seconds rss", 0},
	{"-workload snapshot -size 3000000", "seconds rss", 0},
	{"-workload snapshot -size 3000000 -store wal", "seconds rss", 0},
	{"-workload failover -nodes 5 -size 1000 -time 1ms", "seconds rss", 0},
}

func (want measurement) check(t *testing.T, program string) {
	out, err := run(t, program, want.args)
	if err != nil {
		t.Fatal(err)
	}
	var m load.Metrics
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, name := range strings.Fields(want.metrics) {
		if m[name] <= 0 {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	// An operation that ends in the time measured may have begun before.
	if m["flushes"] < 0.9*want.flushes {
		t.Errorf("an operation cost %v flushes, want %v", m["flushes"], want.flushes)
	}
}

func run(t *testing.T, program, args string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(program, "-dir", t.TempDir(), "-time", "100ms")
	cmd.Args = append(cmd.Args, strings.Fields(args)...)
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// together runs tests that mostly wait for elections, some at a time.
func together(t *testing.T, tests map[string]func(*testing.T)) {
	running := make(chan struct{}, 8)
	var all sync.WaitGroup
	for name, test := range tests {
		all.Go(func() {
			running <- struct{}{}
			defer func() { <-running }()
			t.Run(name, test)
		})
	}
	all.Wait()
}
