package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/hashicorp/raft"
)

// A problem is an error as a client gets it: a status code, a sentence, and, if
// the request might have changed something, whether it did.
//
//	4xx                     the request is wrong; nothing was changed; don't retry as it is
//	503, outcome "none"     nothing was changed; retry
//	503, outcome "unknown"  the change may or may not have been applied, now or later;
//	                        retry if doing it twice does no harm
type problem struct {
	status  int
	outcome string
	err     error
}

const (
	outcomeNone    = "none"
	outcomeUnknown = "unknown"
)

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

func newProblem(status int, format string, args ...any) *problem {
	return &problem{status: status, outcome: outcomeNone, err: fmt.Errorf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return newProblem(http.StatusBadRequest, format, args...)
}

func notFound(format string, args ...any) error {
	return newProblem(http.StatusNotFound, format, args...)
}

func conflict(format string, args ...any) error {
	return newProblem(http.StatusConflict, format, args...)
}

func unavailable(format string, args ...any) error {
	return newProblem(http.StatusServiceUnavailable, format, args...)
}

// problemOf says what err means for a client. What isn't known to have had no
// effect has an unknown outcome.
func problemOf(err error) *problem {
	var p *problem
	var tooLarge *http.MaxBytesError
	var network *net.OpError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "the value is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, raft.ErrEntryTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "%w", err)
	case errors.Is(err, errBadCommand):
		return newProblem(http.StatusInternalServerError, "%w", err)
	case errors.Is(err, raft.ErrNotLeader),
		errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.As(err, &network) && network.Op == "dial":
		return newProblem(http.StatusServiceUnavailable, "%w", err)
	}
	return &problem{status: http.StatusServiceUnavailable, outcome: outcomeUnknown, err: err}
}

// writeProblem answers a request that failed. A request that changes nothing
// has no outcome to be unsure of.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == context.Canceled {
		return // nobody is listening
	}
	p := problemOf(err)
	body := struct {
		Error   string `json:"error"`
		Outcome string `json:"outcome,omitempty"`
	}{Error: p.Error()}
	if changes(r) {
		body.Outcome = p.outcome
		if p.outcome == outcomeUnknown {
			body.Error += ": the change may or may not have been applied"
		}
	}
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.status, body)
}

// changes reports whether a request may change the state.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // fails only if the client is gone
}
