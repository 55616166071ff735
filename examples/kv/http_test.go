package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestKeyRequests(t *testing.T) {
	n := startLeader(t)
	long := strings.Repeat("k", maxKey)
	big := strings.Repeat("v", int(n.node.conf.maxValue))
	// The rows are one story: each sees what those before it did.
	for _, tt := range []struct {
		request, body string
		code          int
		want          string // the whole body if code is 200, else a part of it
	}{
		{"GET /kv/a", "", 404, "no such key"},
		{"PUT /kv/a", "1", 204, ""},
		{"GET /kv/a", "", 200, "1"},
		{"PUT /kv/a", "2", 204, ""},
		{"GET /kv/a?consistency=linearizable", "", 200, "2"},
		{"GET /kv/a?consistency=stale", "", 200, "2"},
		{"GET /kv/b?consistency=stale", "", 404, "no such key"},
		{"GET /kv/a?consistency=maybe", "", 400, `consistency \"maybe\"`},
		{"DELETE /kv/a", "", 204, ""},
		{"DELETE /kv/a", "", 204, ""}, // a retry is no mistake
		{"GET /kv/a", "", 404, "no such key"},

		{"PUT /kv/dir/sub/file.go", "slashes", 204, ""},
		{"GET /kv/dir/sub/file.go", "", 200, "slashes"},
		{"GET /kv/dir%2Fsub%2Ffile.go", "", 200, "slashes"},
		{"PUT /kv/a//b", "empty part", 204, ""},
		{"GET /kv/a//b", "", 200, "empty part"},
		{"GET /kv/a/b", "", 404, "no such key"},
		{"PUT /kv/x/../y", "dots", 204, ""},
		{"GET /kv/x/../y", "", 200, "dots"},
		{"PUT /kv/%00%ff%20%E2%82%AC", "any bytes", 204, ""},
		{"GET /kv/%00%ff%20%E2%82%AC", "", 200, "any bytes"},

		{"PUT /kv/empty", "", 204, ""},
		{"GET /kv/empty", "", 200, ""},
		{"PUT /kv/big", big, 204, ""},
		{"GET /kv/big", "", 200, big},
		{"PUT /kv/big", big + "!", 413, "larger than 100000 bytes"},
		{"PUT /kv/big", strings.Repeat(big, 11), 413, "larger than 100000 bytes"}, // -max-inflight is 1000000
		{"GET /kv/big", "", 200, big},

		{"PUT /kv/", "1", 400, "between 1 and 4096 bytes"},
		{"PUT /kv/" + long, "1", 204, ""},
		{"PUT /kv/" + long + "k", "1", 400, "this one has 4097"},
		{"POST /kv/a", "1", 405, "no method POST"},
		{"GET /nowhere", "", 404, ""},
		{"PUT /status", "", 405, ""},
		{"GET /hash?at_least=x", "", 400, "at_least"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		code, got, _ := n.do(method, path, tt.body)
		if code != tt.code || code == 200 && got != tt.want || !strings.Contains(got, tt.want) {
			t.Errorf("%.60s: %d %.100q, want %d %.100q", tt.request, code, got, tt.code, tt.want)
		}
		if code >= 400 && strings.HasPrefix(path, "/kv") && !json.Valid([]byte(got)) {
			t.Errorf("%.60s: %q is not JSON", tt.request, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	n := startLeader(t)
	_, _, h := n.do("PUT", "/kv/a", "0123456789")
	written, err := strconv.ParseUint(h.Get(indexHeader), 10, 64)
	if err != nil || written == 0 {
		t.Fatalf("%s of a write: %q", indexHeader, h.Get(indexHeader))
	}
	code, body, h := n.do("HEAD", "/kv/a", "")
	if code != 200 || body != "" || h.Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %q %v", code, body, h)
	}
	if got := h.Get(indexHeader); got != fmt.Sprint(written) {
		t.Errorf("%s of a read: %q, want %d", indexHeader, got, written)
	}

	req, _ := http.NewRequest("GET", n.url+"/kv/a", nil)
	req.Header.Set("Range", "bytes=2-4")
	if code, body, _ := n.send(req); code != 206 || body != "234" {
		t.Errorf("range: %d %q", code, body)
	}
	req, _ = http.NewRequest("GET", n.url+"/kv/a", nil)
	req.Header.Set("If-None-Match", h.Get("ETag"))
	if code, _, _ := n.send(req); code != http.StatusNotModified {
		t.Errorf("same ETag: %d", code)
	}
	n.must(204, "PUT", "/kv/a", "9876543210")
	if code, _, _ := n.send(req); code != 200 {
		t.Errorf("old ETag: %d", code)
	}
}

// A value of unknown length is limited, too.
func TestChunkedPut(t *testing.T) {
	n := startLeader(t)
	for _, tt := range []struct{ size, code int }{{1000, 204}, {100_000, 204}, {100_001, 413}} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", tt.size))) // hides its length
		req, err := http.NewRequest("PUT", n.url+"/kv/chunked", body)
		if err != nil {
			t.Fatal(err)
		}
		if code, text, _ := n.send(req); code != tt.code {
			t.Errorf("%d bytes: %d %s, want %d", tt.size, code, text, tt.code)
		}
	}
}

func TestBudget(t *testing.T) {
	n := startLeader(t)
	if !n.server.values.take(n.node.conf.maxInflight - 10) {
		t.Fatal("no room in an empty budget")
	}
	if code, text, _ := n.do("PUT", "/kv/a", "eleven byte"); code != 503 || !strings.Contains(text, `"none"`) {
		t.Errorf("beyond the budget: %d %s", code, text)
	}
	for range 3 { // it gets back what it takes
		n.must(204, "PUT", "/kv/a", "ten bytes.")
	}
}

func TestStatus(t *testing.T) {
	n := startLeader(t)
	n.must(204, "PUT", "/kv/abc", "12345")
	st := n.statusOf()
	if st.ID != "n1" || st.State != "Leader" || st.Term == 0 || st.Leader != "n1" || st.LeaderHTTP != n.node.httpAddr {
		t.Errorf("%+v", st)
	}
	if st.Keys != 1 || st.Bytes != 8 || len(st.Hash) != 64 {
		t.Errorf("%d keys, %d bytes, hash %q", st.Keys, st.Bytes, st.Hash)
	}
	if st.Index == 0 || st.AppliedIndex < st.Index || st.CommitIndex < st.AppliedIndex || st.LastIndex < st.CommitIndex {
		t.Errorf("indexes are out of order: %+v", st)
	}
	if len(st.Members) != 1 || st.Members[0].HTTPAddr != n.node.httpAddr || st.Members[0].RaftAddr != n.node.raftAddr {
		t.Errorf("members %+v", st.Members)
	}
	var h stateHash
	if err := json.Unmarshal([]byte(n.must(200, "GET", fmt.Sprint("/hash?at_least=", st.Index), "")), &h); err != nil {
		t.Fatal(err)
	}
	if h != st.stateHash {
		t.Errorf("/hash says %v, /status says %v", h, st.stateHash)
	}
}

func TestClusterRequests(t *testing.T) {
	n := startLeader(t)
	self := joinRequest{ID: "n1", RaftAddr: n.node.raftAddr, HTTPAddr: n.node.httpAddr}
	encode := func(m joinRequest) string {
		b, _ := json.Marshal(m)
		return string(b)
	}
	for _, tt := range []struct {
		request, body string
		code          int
		want          string
	}{
		{"POST /cluster/join", "", 400, "body: EOF"},
		{"POST /cluster/join", `{"name":"n2"}`, 400, "unknown field"},
		{"POST /cluster/join", `{"raft_addr":"127.0.0.1:1","http_addr":"127.0.0.1:2"}`, 400, "an id has"},
		{"POST /cluster/join", `{"id":"n2","raft_addr":"there","http_addr":"127.0.0.1:2"}`, 400, "raft_addr: "},
		{"POST /cluster/join", `{"id":"n2","raft_addr":"127.0.0.1:1","http_addr":"there"}`, 400, "http_addr: "},
		{"POST /cluster/join", `{"id":"n2","raft_addr":"127.0.0.1:1","http_addr":"127.0.0.1:1"}`, 503, "can't be reached"},
		{"POST /cluster/join", encode(joinRequest{"n2", self.RaftAddr, self.HTTPAddr}), 503, "is node n1"},
		{"POST /cluster/join", encode(self), 204, ""}, // it is a member
		{"DELETE /cluster/n9", "", 404, `no node \"n9\"`},
		{"DELETE /cluster/n1", "", 409, "the only voter"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		code, got, _ := n.do(method, path, tt.body)
		if code != tt.code || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.request, tt.body, code, got, tt.code, tt.want)
		}
	}
}

// Without a cluster requests fail clearly, and those that need none work.
func TestNoLeader(t *testing.T) {
	n := startTestNode(t, testConfig(t, "n1"))
	for _, tt := range []struct {
		request string
		code    int
		want    string
	}{
		{"PUT /kv/a", 503, `"outcome":"none"`},
		{"DELETE /kv/a", 503, `"outcome":"none"`},
		{"DELETE /cluster/n1", 503, "no leader is known"},
		{"GET /kv/a", 503, "no leader is known"},
		{"GET /kv/a?consistency=stale", 404, "no such key"},
		{"GET /status", 200, `"state":"Follower"`},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		code, got, _ := n.do(method, path, "")
		if code != tt.code || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %d %s, want %d %s", tt.request, code, got, tt.code, tt.want)
		}
	}
}
