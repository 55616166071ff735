package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// What an error says of a write's outcome is a promise: "none" only where Raft
// promises it.
func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{raft.ErrNotLeader, "503 none"},
		{fmt.Errorf("wrapped: %w", raft.ErrNotLeader), "503 none"},
		{raft.ErrEnqueueTimeout, "503 none"},
		{raft.ErrLeadershipTransferInProgress, "503 none"},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, "503 none"},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, "503 unknown"},
		{raft.ErrLeadershipLost, "503 unknown"},
		{raft.ErrRaftShutdown, "503 unknown"},
		{raft.ErrAbortedByRestore, "503 unknown"},
		{context.DeadlineExceeded, "503 unknown"},
		{errors.New("anything else"), "503 unknown"},
		{&http.MaxBytesError{Limit: 1}, "413 none"},
		{raft.ErrEntryTooLarge, "413 none"},
		{errBadCommand, "500 none"},
		{badRequest("x"), "400 none"},
		{notFound("x"), "404 none"},
		{conflict("x"), "409 none"},
		{unavailable("x"), "503 none"},
	} {
		p := problemOf(tt.err)
		if got := fmt.Sprint(p.status, " ", p.outcome); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestProblemNamesUnknownOutcome(t *testing.T) {
	const phrase = "may or may not have been applied"
	for _, tt := range []struct {
		method string
		err    error
		want   bool
	}{
		{"PUT", raft.ErrLeadershipLost, true},
		{"DELETE", raft.ErrLeadershipLost, true},
		{"POST", raft.ErrLeadershipLost, true},
		{"PUT", raft.ErrNotLeader, false},
		{"GET", raft.ErrLeadershipLost, false}, // it changes nothing
	} {
		w := httptest.NewRecorder()
		writeProblem(w, httptest.NewRequest(tt.method, "/", nil), tt.err)
		if got := strings.Contains(w.Body.String(), phrase); got != tt.want {
			t.Errorf("%s, %v: %s", tt.method, tt.err, w.Body)
		}
		if w.Header().Get("Retry-After") == "" {
			t.Errorf("%s, %v: does not say when to retry", tt.method, tt.err)
		}
	}
}
