package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tree makes a directory with n small files below src and one large one beside it.
func tree(t *testing.T, n int) string {
	t.Helper()
	root := t.TempDir()
	for i := range n {
		writeFile(t, filepath.Join(root, "src", fmt.Sprint(i%7), fmt.Sprint(i)), strings.Repeat("x", i*i%5000))
	}
	writeFile(t, filepath.Join(root, "bin", "big"), strings.Repeat("0123456789", 100_000))
	return root
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// watcher is a demo's output. It calls see with each line.
type watcher struct {
	bytes.Buffer
	mu  sync.Mutex
	see func(line string)
}

func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.see != nil {
		w.see(string(b))
	}
	return w.Buffer.Write(b)
}

// The whole story with a small tree.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three processes and stops them: not with -short")
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out watcher
	code := run(t.Context(), []string{"-root", tree(t, 1000), "-min-keys", "1001", "-min-bytes", "1000000"}, &out, &out)
	if code != 0 {
		t.Errorf("exit code %d\n%s", code, &out)
	}
	for _, want := range []string{"1,001 of 1,001 acknowledged keys", "snapshots installed: 1", "PASSED"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not say %q\n%s", want, &out)
		}
	}
	checkCleanedUp(t, out.String(), 3, 0)
}

// Ended in the middle of things, it fails and leaves no process and no data; the
// logs stay unless it was the user who ended it.
func TestDemoEndsEarly(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three processes and stops them: not with -short")
	}
	for _, tt := range []struct {
		name, why   string
		timeout     string
		nodes, logs int
	}{
		{"interrupted", "interrupted: context canceled", "1m", 3, 0},
		{"node ends", "node n1 has ended", "1m", 3, 3},
		{"timeout", "not done after 1ms", "1ms", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var out watcher
			out.see = func(line string) {
				if !strings.Contains(line, "Load everything") {
					return
				}
				switch tt.name {
				case "interrupted":
					interrupt()
				case "node ends":
					removeFirstNode(t, out.Buffer.String())
				}
			}
			args := []string{"-root", tree(t, 500), "-min-keys", "1", "-min-bytes", "1", "-timeout", tt.timeout}
			if code := run(ctx, args, &out, &out); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(out.String(), "FAILED: "+tt.why) {
				t.Errorf("the output does not say %q\n%s", tt.why, &out)
			}
			checkCleanedUp(t, out.String(), tt.nodes, tt.logs)
		})
	}
}

var servesAt = regexp.MustCompile(`serves http://(\S+)`)

// removeFirstNode removes n1, which leads, from its cluster: then it ends.
func removeFirstNode(t *testing.T, out string) {
	c := newClient(servesAt.FindStringSubmatch(out)[1:], 1)
	_, err := c.retry(t.Context(), 0, func(ctx context.Context, addr string) ([]byte, error) {
		return c.do(ctx, http.MethodDelete, "http://"+addr+"/cluster/n1", nil)
	})
	if err != nil {
		t.Error(err)
	}
}

// checkCleanedUp checks that so many nodes were started, that none answers and that nothing but so many log
// files is left.
func checkCleanedUp(t *testing.T, out string, started, logs int) {
	t.Helper()
	nodes := servesAt.FindAllStringSubmatch(out, -1)
	if len(nodes) != started {
		t.Errorf("%d nodes in\n%s", len(nodes), out)
	}
	for _, n := range nodes {
		if conn, err := net.Dial("tcp", n[1]); err == nil {
			conn.Close()
			t.Errorf("a node still serves %s", n[1])
		}
	}
	var left []string
	filepath.Walk(os.Getenv("TMPDIR"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			left = append(left, path)
		}
		return err
	})
	kept := 0
	for _, path := range left {
		if strings.HasSuffix(path, ".log") && strings.Contains(out, path) {
			kept++
		}
	}
	if kept != logs || len(left) != logs {
		t.Errorf("left behind: %q, want %d logs that the output names", left, logs)
	}
}

func TestCollect(t *testing.T) {
	root := tree(t, 50)
	for _, tt := range []struct {
		minKeys  int
		minBytes int64
		want     int // 0: an error
	}{
		{1, 1, 50},  // src is taken whole
		{51, 1, 51}, // and what it lacks from the rest
		{1, 1_000_000, 51},
		{52, 1, 0},
		{1, 10_000_000, 0},
	} {
		items, err := collect(root, tt.minKeys, tt.minBytes)
		if len(items) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%d keys, %d bytes: %d items, error %v; want %d", tt.minKeys, tt.minBytes, len(items), err, tt.want)
		}
	}
}

// fakeNode answers every request by answer, and counts them.
func fakeNode(t *testing.T, answer http.HandlerFunc) (addr string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), requests
}

func TestClientRetries(t *testing.T) {
	good, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	busy, tried := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		io.WriteString(w, `{"outcome":"unknown"}`)
	})
	wrong, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400) })
	dead := "127.0.0.1:1"

	c := newClient([]string{dead, busy, good}, 1)
	if err := c.put(t.Context(), 0, "k", nil); err != nil {
		t.Error(err)
	}
	if tried.Load() != 1 || c.retries.Load() != 2 || c.unknown.Load() != 1 {
		t.Errorf("tried %d, retries %d, unknown %d; want 1, 2, 1", tried.Load(), c.retries.Load(), c.unknown.Load())
	}
	if err := newClient([]string{wrong, good}, 1).put(t.Context(), 0, "k", nil); !errors.Is(err, errWrong) {
		t.Errorf("after an answer of 400: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := newClient([]string{dead}, 1).put(ctx, 0, "k", nil); err == nil {
		t.Error("acknowledged by nobody")
	}
}

// readBack is there to find these.
func TestReadBackFindsLoss(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"lost":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
		"changed": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "other") },
		"cut":     func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "content"[:3]) },
		"":        func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "content") },
	} {
		addr, _ := fakeNode(t, answer)
		d := &demo{opts: options{clients: 2}, out: newPrinter(io.Discard), client: newClient([]string{addr}, 2)}
		d.items = []item{{key: "a"}, {key: "b"}}
		d.load = newLoad(2)
		d.load.ack(1, []byte("content"), time.Now())
		if err := d.readBack(t.Context()); (err == nil) != (name == "") {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestCompareFindsDifference(t *testing.T) {
	for _, tt := range []struct {
		third string
		keys  int
		ok    bool
	}{{"aa", 5, true}, {"bb", 5, false}, {"aa", 4, false}} {
		d := &demo{out: newPrinter(io.Discard), items: make([]item, 5)}
		var addrs []string
		for _, hash := range []string{"aa", "aa", tt.third} {
			addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `{"state":"Leader","term":1,"keys":%d,"hash_index":7,"hash":%q}`, tt.keys, hash)
			})
			addrs = append(addrs, addr)
			d.nodes = append(d.nodes, &process{httpAddr: addr})
		}
		d.client = newClient(addrs, 1)
		if err := d.compare(t.Context()); (err == nil) != tt.ok {
			t.Errorf("%+v: error %v", tt, err)
		}
	}
}

func TestEach(t *testing.T) {
	var sum atomic.Int64
	if err := each(t.Context(), 3, 100, func(_ context.Context, i int) error { sum.Add(int64(i)); return nil }); err != nil || sum.Load() != 4950 {
		t.Errorf("sum %d, error %v", sum.Load(), err)
	}
	errTen := errors.New("ten")
	var done atomic.Int64
	err := each(t.Context(), 3, 1_000_000, func(ctx context.Context, i int) error {
		done.Add(1)
		if i == 10 {
			return errTen
		}
		return ctx.Err()
	})
	if !errors.Is(err, errTen) || done.Load() == 1_000_000 {
		t.Errorf("error %v after %d calls", err, done.Load())
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]int{"-help": 0, "-clients 0": 2, "-no-such": 2, "extra": 2} {
		if got := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); got != want {
			t.Errorf("%q: exit code %d, want %d", args, got, want)
		}
	}
}
