package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

const patience = 20 * time.Second

// testConfig is that of a node on free ports with timeouts for tests.
func testConfig(t *testing.T, id string) config {
	t.Helper()
	c, err := parseConfig([]string{
		"-id", id, "-data", t.TempDir(), "-raft-addr", "127.0.0.1:0", "-http-addr", "127.0.0.1:0",
		"-heartbeat-timeout", "500ms", "-election-timeout", "500ms", "-request-timeout", "5s",
		"-snapshot-interval", "100ms", "-max-value", "100000", "-max-inflight", "1000000",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// testNode is a service and what a test wants from it.
type testNode struct {
	*service
	t    *testing.T
	url  string
	stop func()
}

func startTestNode(t *testing.T, conf config) *testNode {
	t.Helper()
	log := &testLog{t: t}
	s, err := startService(conf, hclog.New(&hclog.LoggerOptions{Name: conf.id, Level: hclog.Info, Output: log}))
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stopping %s: %v", conf.id, err)
		}
	})
	t.Cleanup(func() {
		stop()
		log.end()
	})
	return &testNode{service: s, t: t, url: "http://" + s.node.httpAddr, stop: stop}
}

// testLog sends lines to the test's log as long as there is one.
type testLog struct {
	mu   sync.Mutex
	t    *testing.T
	over bool
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// startLeader starts a cluster of one and waits until it serves.
func startLeader(t *testing.T) *testNode {
	t.Helper()
	conf := testConfig(t, "n1")
	conf.bootstrap = true
	n := startTestNode(t, conf)
	waitFor(t, "a leader with an address", func() bool {
		id, addr := n.node.leaderHTTP()
		return id == "n1" && addr != ""
	})
	return n
}

// startFollower starts a node that joins the cluster of seed.
func startFollower(t *testing.T, id string, seed *testNode) *testNode {
	t.Helper()
	conf := testConfig(t, id)
	conf.join = seed.node.httpAddr
	n := startTestNode(t, conf)
	waitFor(t, id+" is told of the leader", func() bool {
		_, addr := n.node.leaderHTTP()
		return addr != "" && n.node.hasPeers()
	})
	return n
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for: %s", what)
		}
	}
}

// do sends a request and returns status code, body and header. It does not
// follow redirects.
func (n *testNode) do(method, path, body string) (int, string, http.Header) {
	n.t.Helper()
	req, err := http.NewRequest(method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	return n.send(req)
}

func (n *testNode) send(req *http.Request) (int, string, http.Header) {
	n.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// must fails the test unless the answer has the status code. It repeats a request
// that is answered by 503, as clients do: on a busy machine leaders change.
func (n *testNode) must(code int, method, path, body string) (text string) {
	n.t.Helper()
	var got int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got, text, _ = n.do(method, path, body); got != http.StatusServiceUnavailable {
			break
		}
	}
	if got != code {
		n.t.Fatalf("%s %s on %s: %d %s, want %d", method, path, n.node.conf.id, got, text, code)
	}
	return text
}

func (n *testNode) statusOf() (st status) {
	n.t.Helper()
	if err := json.Unmarshal([]byte(n.must(200, "GET", "/status", "")), &st); err != nil {
		n.t.Fatal(err)
	}
	return st
}

func TestRunExitCodes(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		name, args string
		want       int
	}{
		{"help", "-help", 0},
		{"mistake", "-id n1", exitUsage},
		{"port in use", "-id n1 -data " + t.TempDir() + " -http-addr " + busy.Addr().String(), exitFailed},
		{"raft port in use", "-id n1 -data " + t.TempDir() + " -http-addr 127.0.0.1:0 -raft-addr " + busy.Addr().String(), exitFailed},
		{"standard input ends", "-id n1 -data " + t.TempDir() + " -http-addr 127.0.0.1:0 -raft-addr 127.0.0.1:0 -bootstrap -stop-on-eof", 0},
	} {
		var out bytes.Buffer
		if got := run(t.Context(), strings.Fields(tt.args), strings.NewReader(""), &out); got != tt.want {
			t.Errorf("%s: exit code %d, want %d\n%s", tt.name, got, tt.want, &out)
		}
	}
}

// A node that stopped in good order starts again where it was.
func TestRestart(t *testing.T) {
	conf := testConfig(t, "n1")
	conf.bootstrap = true
	conf.snapshotThreshold = 10
	conf.trailingLogs = 1
	n := startTestNode(t, conf)
	waitFor(t, "a leader", n.node.isLeader)
	for i := range 30 {
		n.must(http.StatusNoContent, "PUT", fmt.Sprint("/kv/", i), fmt.Sprint("value ", i))
	}
	waitFor(t, "a snapshot", func() bool { return n.statusOf().SnapshotIndex > 0 })
	n.stop()

	n = startTestNode(t, conf)
	waitFor(t, "a leader again", n.node.isLeader)
	if got := n.must(http.StatusOK, "GET", "/kv/29", ""); got != "value 29" {
		t.Errorf("got %q", got)
	}
	if st := n.statusOf(); st.Keys != 30 || st.SnapshotsInstalled != 0 {
		t.Errorf("%+v", st)
	}
}

// A service whose Raft has stopped by itself says so.
func TestServiceFailsWithRaft(t *testing.T) {
	n := startLeader(t)
	if err := n.node.raft.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case err := <-n.failed:
		if !errors.Is(err, errRaftStopped) {
			t.Errorf("failed with %v", err)
		}
	case <-ctx.Done():
		t.Error("it did not notice")
	}
}
