package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClusters lets clusters of three and of five nodes suffer every fault once.
func TestClusters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	binary := filepath.Join(t.TempDir(), "kv")
	if err := build(t.Context(), defaultKV, binary, raceEnabled); err != nil {
		t.Fatal(err)
	}
	for _, nodes := range []int{3, 5} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			o := options{binary: binary, nodes: nodes, faults: regexp.MustCompile(""),
				seed: uint64(nodes), clients: 2 * nodes, out: &lines{t: t}}
			if err := run(ctx, o); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestExercised holds that a run without its faults, or without anything checked,
// fails.
func TestExercised(t *testing.T) {
	full := func() *session {
		s := newSession(&cluster{}, options{faults: regexp.MustCompile("")}, "")
		for _, f := range s.faults {
			s.felt[f.name] = 1
		}
		s.judged = 1
		s.clients.record(did(put, "a", 0, 1, 3), did(remove, "", 0, 1, 3), did(get, "a", 0, 1, 3), did(look, "a", 0, 1, 3))
		return s
	}
	for _, tt := range []struct {
		name  string
		spoil func(*session)
		want  string
	}{
		{"a full run", func(*session) {}, ""},
		{"a fault that was not felt", func(s *session) { delete(s.felt, "kill leader") }, `fault "kill leader" did not happen`},
		{"no faults", func(s *session) { s.faults = nil }, "no fault"},
		{"nothing checked", func(s *session) { s.judged = 0 }, "no key was checked"},
		{"no reads", func(s *session) { s.clients.history = s.clients.history[:2] }, "no get was done"},
	} {
		s := full()
		tt.spoil(s)
		err := s.exercised()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// lines writes to the log of a test.
type lines struct {
	mu sync.Mutex
	t  *testing.T
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("%s", bytes.TrimSuffix(b, []byte("\n")))
	return len(b), nil
}
