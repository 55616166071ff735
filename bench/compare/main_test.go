package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// The tests are their own peer: with fakeEnv set this program is one.
const fakeEnv = "COMPARE_FAKE_PEER"

func TestMain(m *testing.M) {
	if os.Getenv(fakeEnv) != "" {
		fakePeer()
		return
	}
	os.Exit(m.Run())
}

// fakePeer notes each of its runs in the file that fakeEnv names. Its rates are its
// number of clients, twice that with the store wal.
func fakePeer() {
	load.Main(map[string]func(load.Flags) (load.Metrics, error){
		"write": func(f load.Flags) (load.Metrics, error) {
			if err := note(fmt.Sprintf("%s c%d %v", f.Store, f.Clients, f.Time)); err != nil {
				return nil, err
			}
			if entries, err := os.ReadDir(f.Dir); err != nil || len(entries) > 0 {
				return nil, fmt.Errorf("directory with %v: %w", entries, err)
			}
			rate := float64(f.Clients)
			switch f.Store {
			case "wal":
				rate *= 2
			case "mem":
				return nil, fmt.Errorf("mem: %w", load.ErrUnsupported)
			}
			return load.Metrics{"rate": rate, "p99": 1000 / rate}, nil
		},
		"fail":   func(load.Flags) (load.Metrics, error) { return nil, errors.New("no leader") },
		"hang":   func(load.Flags) (load.Metrics, error) { return nil, hang() },
		"orphan": orphan,
		"noise":  func(load.Flags) (load.Metrics, error) { fmt.Println("hello"); return nil, nil },
	})
}

// hang notes an address, and accepts connections there for ever.
func hang() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := note(listener.Addr().String()); err != nil {
		return err
	}
	for {
		if _, err := listener.Accept(); err != nil {
			return err
		}
	}
}

// orphan starts a process that hangs, and forgets it.
func orphan(f load.Flags) (load.Metrics, error) {
	child := exec.Command(os.Args[0], "-workload", "hang", "-dir", f.Dir)
	child.Stderr = os.Stderr
	return load.Metrics{"rate": 1}, child.Start()
}

func note(text string) error {
	file, err := os.OpenFile(os.Getenv(fakeEnv), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, text)
	return errors.Join(err, file.Close())
}

// fakes returns peers that are this program, and a function that returns what they have
// noted since it was called last.
func fakes(t *testing.T, names ...string) (map[string]peer, func() string) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	notes := filepath.Join(t.TempDir(), "notes")
	t.Setenv(fakeEnv, notes)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // not a second for each run of a peer
	peers := map[string]peer{}
	for _, name := range names {
		peers[name] = peer{path, "1"}
	}
	seen := 0
	return peers, func() string {
		data, err := os.ReadFile(notes)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		fresh := string(data[seen:])
		seen = len(data)
		return strings.ReplaceAll(strings.TrimSpace(fresh), "\n", ", ")
	}
}

// fakeCases are cases of the fake peer, under which two of them share measurements.
func fakeCases() []testCase {
	bolt := []entrant{baseline, {peer: "ours", store: "bolt"}}
	wal := []entrant{baseline, {peer: "ours", store: "wal"}, {peer: "ours", store: "mem"}}
	var all []testCase
	for _, clients := range []int{1, 10} {
		w, row := workload{name: "write", clients: clients}, fmt.Sprintf("c%d", clients)
		all = append(all, testCase{"write/bolt", row, w, bolt}, testCase{"write/wal", row, w, wal})
	}
	return all
}

var fakeSetting = setting{Time: "50ms", CPU: "processor", Cores: 2, Go: "go1", OS: "os"}

func newComparison(t *testing.T, peers map[string]peer, res *results) *comparison {
	return &comparison{cases: fakeCases(), peers: peers, rounds: 2, time: 50 * time.Millisecond,
		dir: t.TempDir(), results: res, log: io.Discard}
}

func TestComparison(t *testing.T) {
	peers, noted := fakes(t, "ours", "upstream")
	res := newResults(fakeSetting)
	c := newComparison(t, peers, res)
	var out strings.Builder
	if err := c.report(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	const want = "bolt c1 50ms, bolt c1 50ms, wal c1 50ms, mem c1 50ms, bolt c10 50ms, bolt c10 50ms, wal c10 50ms, mem c10 50ms, " +
		"bolt c1 50ms, wal c1 50ms, mem c1 50ms, bolt c1 50ms, bolt c10 50ms, wal c10 50ms, mem c10 50ms, bolt c10 50ms"
	if got := noted(); got != want {
		t.Errorf("runs\n%s, want\n%s", got, want)
	}
	golden(t, "testdata/comparison.md", out.String())
	if entries, err := os.ReadDir(c.dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind %v, error %v", entries, err)
	}
}

var rewrite = flag.Bool("rewrite", false, "rewrite the files of testdata")

// golden compares text with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestInterruptedComparisonIsResumed(t *testing.T) {
	peers, noted := fakes(t, "ours", "upstream")
	file := filepath.Join(t.TempDir(), "results.jsonl")
	res, err := openResults(file, fakeSetting)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := newComparison(t, peers, res)
	c.log = writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "round 1/2, 6/16") {
			cancel()
		}
		return len(p), nil
	})
	if err := c.report(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want that it was interrupted", err)
	}
	if err := res.close(); err != nil {
		t.Fatal(err)
	}
	if got, want := len(strings.Split(noted(), ", ")), 6; got != want {
		t.Errorf("%d runs before the interruption, want %d", got, want)
	}
	appendTo(t, file, `{"round":2,"peer":"ours","args":"-wor`) // killed while it wrote

	if res, err = openResults(file, fakeSetting); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := newComparison(t, peers, res).report(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	if err := res.close(); err != nil {
		t.Fatal(err)
	}
	if got, want := len(strings.Split(noted(), ", ")), 16-6; got != want {
		t.Errorf("%d runs after it, want %d", got, want)
	}
	golden(t, "testdata/comparison.md", out.String())

	data, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	if res, err = readResults(data); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := writeTables(&out, fakeCases(), res); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/comparison.md", out.String())
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFailedRunsAreReportedAndRepeated(t *testing.T) {
	peers, _ := fakes(t, "ours", "upstream")
	res := newResults(fakeSetting)
	c := newComparison(t, peers, res)
	c.cases = append(c.cases, testCase{"fail", "", workload{name: "fail"}, []entrant{baseline}})
	for range 2 {
		var out strings.Builder
		err := c.report(context.Background(), &out)
		if err == nil || !strings.Contains(err.Error(), "2 runs failed") {
			t.Errorf("error %v", err)
		}
		if !strings.Contains(out.String(), "0, 2 FAILED") {
			t.Errorf("tables do not say it:\n%s", &out)
		}
		if steps := c.steps(context.Background()); len(steps) != 2 {
			t.Errorf("%d runs left, want the 2 that failed", len(steps))
		}
	}
}

func TestPeerRun(t *testing.T) {
	peers, _ := fakes(t, "ours")
	for _, tt := range []struct{ args, want string }{
		{"-workload fail", "no leader"},
		{"-workload noise", "hello"},
		{"-workload none", load.ErrUnsupported.Error()},
		{"-clients many", "many"},
	} {
		_, err := peers["ours"].run(context.Background(), t.TempDir(), tt.args, time.Second)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestPeerRunEndsWithItsContext(t *testing.T) {
	peers, noted := fakes(t, "ours")
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error)
	go func() {
		_, err := peers["ours"].run(ctx, t.TempDir(), "-workload hang", time.Second)
		ended <- err
	}()
	address := noted()
	for address == "" {
		time.Sleep(time.Millisecond)
		address = noted()
	}
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
	waitUntilClosed(address)
}

// A process that a peer leaves behind would take part in all that is measured later.
func TestPeerRunKillsWhatThePeerStarted(t *testing.T) {
	peers, noted := fakes(t, "ours")
	_, err := peers["ours"].run(context.Background(), t.TempDir(), "-workload orphan", time.Second)
	if !errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("error %v, want %v", err, exec.ErrWaitDelay)
	}
	if address := noted(); address != "" { // it may not have come that far
		waitUntilClosed(address)
	}
}

// waitUntilClosed waits until nobody listens at address.
func waitUntilClosed(address string) {
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		conn.Close()
		time.Sleep(time.Millisecond)
	}
}

func TestLimits(t *testing.T) {
	for _, l := range allLimits() {
		w, err := l.open(t.TempDir())
		if err != nil {
			t.Errorf("%v: %v", l.measurement(), err)
			continue
		}
		if err := errors.Join(w.op(), w.op(), w.close()); err != nil {
			t.Errorf("%v: %v", l.measurement(), err)
		}
	}
}

func TestLimitIsMeasured(t *testing.T) {
	dir := t.TempDir()
	m, err := limit{roundTrip, 3, func(string) (worker, error) { return openEcho() }}.measure(dir, 200*time.Millisecond)
	if err != nil || m["rate"] <= 0 {
		t.Errorf("%v, error %v", m, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind %v, error %v", entries, err)
	}
	failure := errors.New("no disk")
	fail := func(string) (worker, error) {
		return worker{func() error { return failure }, func() error { return nil }}, nil
	}
	if _, err := (limit{"fail", 1, fail}).measure(dir, time.Second); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args string
		ok   bool
		runs int
		time time.Duration
	}{
		{"", true, 5, 5 * time.Second},
		{"-short", true, 1, 200 * time.Millisecond},
		{"-short -runs 2 -time 1s", true, 2, time.Second},
		{"-runs 0", false, 0, 0},
		{"file", false, 0, 0},
		{"-tables", false, 0, 0},
		{"-tables file", true, 5, 5 * time.Second},
		{"-pictures dir file", true, 5, 5 * time.Second},
	} {
		o, err := parse(strings.Fields(tt.args), io.Discard)
		if (err == nil) != tt.ok || tt.ok && (o.runs != tt.runs || o.time != tt.time) {
			t.Errorf("%q: %+v, error %v", tt.args, o, err)
		}
	}
}

func TestList(t *testing.T) {
	var out bytes.Buffer
	if err := (options{list: true, run: "^write/(bolt|wal)/c64$"}).do(context.Background(), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/list.md", out.String())
	if err := (options{list: true, run: "^nothing$"}).do(context.Background(), &out, io.Discard); err == nil {
		t.Error("a pattern that matches no case is no error")
	}
}
