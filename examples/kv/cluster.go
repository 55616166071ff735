package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	joinRetry    = time.Second
	joinTimeout  = 15 * time.Second // of one attempt
	maxJSON      = 64 << 10
	probeTimeout = 5 * time.Second
)

// joinRequest is the body of POST /cluster/join.
type joinRequest struct {
	ID       string `json:"id"`
	RaftAddr string `json:"raft_addr"`
	HTTPAddr string `json:"http_addr"`
}

func (m joinRequest) validate() error {
	if m.ID == "" || len(m.ID) > maxKey {
		return badRequest("an id has between 1 and %d bytes", maxKey)
	}
	if err := checkAddress(m.RaftAddr); err != nil {
		return badRequest("raft_addr: %w", err)
	}
	if err := checkAddress(m.HTTPAddr); err != nil {
		return badRequest("http_addr: %w", err)
	}
	return nil
}

// join serves POST /cluster/join on the leader.
func (s *server) join(w http.ResponseWriter, r *http.Request) error {
	var m joinRequest
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	body.DisallowUnknownFields()
	if err := body.Decode(&m); err != nil {
		return badRequest("body: %w", err)
	}
	if err := m.validate(); err != nil {
		return err
	}
	if err := s.probe(r.Context(), m); err != nil {
		return unavailable("node %s can't be reached: %w", m.ID, err)
	}
	if err := s.node.addMember(r.Context(), m); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// probe asks the node that wants to join whether it is there. A voter that can't
// be reached counts all the same: taken in by a cluster of one it would stop it.
func (s *server) probe(ctx context.Context, m joinRequest) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.HTTPAddr+"/status", nil)
	if err != nil {
		return err
	}
	resp, err := s.peers.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var st status
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxJSON)).Decode(&st); err != nil {
		return fmt.Errorf("%s does not answer like a node: %w", m.HTTPAddr, err)
	}
	if st.ID != m.ID || st.RaftAddr != m.RaftAddr {
		return fmt.Errorf("at %s is node %s with raft address %s", m.HTTPAddr, st.ID, st.RaftAddr)
	}
	return nil
}

// leave serves DELETE /cluster/{id} on the leader.
func (s *server) leave(w http.ResponseWriter, r *http.Request) error {
	if err := s.node.removeMember(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// errRefused means that asking again won't help.
var errRefused = errors.New("the cluster refuses this node")

// joinCluster asks the seeds in turn to take this node in, until one says that
// it is done, it is refused, or ctx ends.
func (s *server) joinCluster(ctx context.Context) error {
	n := s.node
	body, err := json.Marshal(joinRequest{ID: n.conf.id, RaftAddr: n.raftAddr, HTTPAddr: n.httpAddr})
	if err != nil {
		return err
	}
	for seeds := n.conf.seeds(); ; seeds = append(seeds[1:], seeds[0]) {
		err := s.askToJoin(ctx, seeds[0], body)
		if err == nil || errors.Is(err, errRefused) {
			return err
		}
		n.log.Info("not in the cluster yet", "asked", seeds[0], "error", err)
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *server) askToJoin(ctx context.Context, seed string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+seed+"/cluster/join", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	resp, err := s.peers.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxJSON))
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode < 500:
		return fmt.Errorf("%w: %s: %s", errRefused, resp.Status, text)
	}
	return fmt.Errorf("%s: %s", resp.Status, text)
}
