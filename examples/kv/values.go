package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// indexHeader is, in answers, a position in the log: of a write, or of the last
// write that the state a value was read from contains.
const indexHeader = "Kv-Index"

// serveKey serves /kv/{key...}.
func (s *server) serveKey(w http.ResponseWriter, r *http.Request, key string) error {
	if key == "" || len(key) > maxKey {
		return badRequest("a key has between 1 and %d bytes, this one has %d", maxKey, len(key))
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return s.get(w, r, key)
	case http.MethodPut:
		return s.put(w, r, key)
	case http.MethodDelete:
		return s.onLeader(func(w http.ResponseWriter, r *http.Request) error {
			return s.write(w, r, appendCommand(nil, opDelete, key))
		})(w, r)
	}
	w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
	return newProblem(http.StatusMethodNotAllowed, "no method %s on a key", r.Method)
}

// get answers from the leader and linearizably, or with ?consistency=stale from
// this node, which may lag behind.
func (s *server) get(w http.ResponseWriter, r *http.Request, key string) error {
	switch c := r.URL.Query().Get("consistency"); c {
	case "", "linearizable":
		return s.onLeader(func(w http.ResponseWriter, r *http.Request) error {
			if err := s.node.waitReadable(r.Context()); err != nil {
				return err
			}
			return s.local(w, r, key)
		})(w, r)
	case "stale":
		return s.local(w, r, key)
	default:
		return badRequest("consistency %q: it is linearizable or stale", c)
	}
}

// local answers from this node's state. Range and If-None-Match work.
func (s *server) local(w http.ResponseWriter, r *http.Request, key string) error {
	e, found, index := s.node.fsm.get(key)
	w.Header().Set(indexHeader, strconv.FormatUint(index, 10))
	if !found {
		return notFound("no such key")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", e.sum.etag())
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(e.value))
	return nil
}

// put refuses what is too large before anything is forwarded.
func (s *server) put(w http.ResponseWriter, r *http.Request, key string) error {
	limit := s.node.conf.maxValue
	if r.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	return s.onLeader(func(w http.ResponseWriter, r *http.Request) error {
		return s.putHere(w, r, key)
	})(w, r)
}

// putHere writes the body of r, on the leader.
func (s *server) putHere(w http.ResponseWriter, r *http.Request, key string) error {
	size := r.ContentLength
	if size < 0 {
		size = s.node.conf.maxValue // chunked: it may be anything
	}
	if !s.values.take(size) {
		return unavailable("too many values are being written")
	}
	defer s.values.give(size)
	cmd, err := readPut(r.Body, key, r.ContentLength)
	if err != nil {
		return err
	}
	return s.write(w, r, cmd)
}

// readPut reads a value of the given size, -1 if unknown, into a command.
func readPut(body io.Reader, key string, size int64) ([]byte, error) {
	head := appendCommand(nil, opPut, key)
	// ReadFrom wants room left at the end to see that there is no more.
	room := len(head) + int(max(size, 0)) + bytes.MinRead
	cmd := bytes.NewBuffer(append(make([]byte, 0, room), head...))
	if _, err := cmd.ReadFrom(body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, badRequest("reading the value: %w", err)
	}
	return cmd.Bytes(), nil
}

// write proposes a command and answers when it is applied.
func (s *server) write(w http.ResponseWriter, r *http.Request, cmd []byte) error {
	index, err := s.node.propose(r.Context(), cmd)
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	w.Header().Set(indexHeader, strconv.FormatUint(index, 10))
	w.WriteHeader(http.StatusNoContent)
	return nil
}
