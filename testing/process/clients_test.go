package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestOutcomes holds what clients make of answers.
func TestOutcomes(t *testing.T) {
	const none, maybe = `{"error":"e","outcome":"none"}`, `{"error":"e","outcome":"unknown"}`
	for _, tt := range []struct {
		name   string
		kind   kind
		status int
		text   string
		want   outcome
		value  string
		wrong  bool
	}{
		{"written", put, 204, "", done, "1/2", false},
		{"deleted", remove, 204, "", done, "1/2", false},
		{"found", get, 200, body("7/3"), done, "7/3", false},
		{"found in a large value", look, 200, body("7/100000"), done, "7/100000", false},
		{"absent", get, 404, "{}", done, "", false},
		{"cut short", get, 200, "7/3\nxx", unknown, "1/2", true},
		{"garbled", get, 200, "7/3\nxxy", unknown, "1/2", true},
		{"no effect", put, 503, none, refused, "1/2", false},
		{"no leader for a read", get, 503, `{"error":"e"}`, unknown, "1/2", false},
		{"in doubt", put, 503, maybe, unknown, "1/2", false},
		{"no reason", put, 503, "sorry", unknown, "1/2", true},
		{"of another kind", put, 200, "", unknown, "1/2", true},
		{"a write of nothing", remove, 404, "", unknown, "1/2", true},
		{"broken", get, 500, "", unknown, "1/2", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Kv-Index", "5")
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.text))
			}))
			defer s.Close()
			c := testClients()
			n := &node{http: strings.TrimPrefix(s.URL, "http://")}
			o := c.do(n, op{Kind: tt.kind, Key: "k", Value: "1/2"})
			history, wrong := c.snapshot()
			if o.Outcome != tt.want || o.Value != tt.value || o.Index != 5 {
				t.Errorf("got %v, want %s of %q", o, tt.want, tt.value)
			}
			if (wrong != nil) != tt.wrong {
				t.Errorf("wrong: %v, want %v", wrong, tt.wrong)
			}
			if len(history) != 1 || history[0] != o {
				t.Errorf("history %v", history)
			}
		})
	}
}

// TestNoAnswer holds that a request that may have been sent is in doubt, and one to a
// port that nobody listens on is not.
func TestNoAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	n := &node{http: strings.TrimPrefix(s.URL, "http://")}
	if o := testClients().do(n, op{Kind: put, Value: "1/2"}); o.Outcome != unknown || o.Error == "" {
		t.Errorf("connection lost: %v", o)
	}
	s.Close()
	if o := testClients().do(n, op{Kind: put, Value: "1/2"}); o.Outcome != refused || o.Error == "" {
		t.Errorf("connection refused: %v", o)
	}
}

func testClients() *clients {
	return newClients(nil, func() time.Duration { return 0 })
}

// TestKeys holds that keys are given up before their histories grow too long.
func TestKeys(t *testing.T) {
	var k keys
	first := k.take(1)
	for range maxTaken - 1 {
		if got := k.take(1); got != first {
			t.Fatalf("key %s after %s", got, first)
		}
	}
	second := k.take(1)
	if second == first || k.take(0) == first {
		t.Errorf("%s is still in use", first)
	}
	k.openDelete(first) // too late to matter
	for range maxUnknown {
		if got := k.take(1); got != second {
			t.Fatalf("key %s after %s", got, second)
		}
		k.openDelete(second)
	}
	if k.take(1) == second {
		t.Errorf("%s is still in use", second)
	}
}
