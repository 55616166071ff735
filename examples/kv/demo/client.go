package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	attemptTimeout = 15 * time.Second
	firstPause     = 20 * time.Millisecond
	longestPause   = 500 * time.Millisecond
)

// A client talks to the cluster through any of its nodes. Requests that fail for
// want of a leader are repeated at the next node; a PUT may be, because doing it
// twice is doing it once. It may be used by several goroutines.
type client struct {
	http    http.Client
	addrs   []string
	retries atomic.Int64 // requests repeated
	unknown atomic.Int64 // writes among them whose first outcome was unknown
}

func newClient(addrs []string, connections int) *client {
	return &client{
		addrs: addrs,
		http:  http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}},
	}
}

// errWrong is an answer that repeating the request won't change.
var errWrong = errors.New("unexpected answer")

// put writes a value; when it returns nil the write was acknowledged. first says
// which node to try first.
func (c *client) put(ctx context.Context, first int, key string, value []byte) error {
	_, err := c.retry(ctx, first, func(ctx context.Context, addr string) ([]byte, error) {
		return c.do(ctx, http.MethodPut, keyURL(addr, key, ""), value)
	})
	return err
}

// get reads a value linearizably.
func (c *client) get(ctx context.Context, first int, key string) ([]byte, error) {
	return c.retry(ctx, first, func(ctx context.Context, addr string) ([]byte, error) {
		return c.do(ctx, http.MethodGet, keyURL(addr, key, ""), nil)
	})
}

// getStale reads a value from one node's own state.
func (c *client) getStale(ctx context.Context, addr, key string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, keyURL(addr, key, "consistency=stale"), nil)
}

func keyURL(addr, key, query string) string {
	u := url.URL{Scheme: "http", Host: addr, Path: "/kv/" + key, RawQuery: query}
	return u.String()
}

// retry tries the nodes in turn until one answers, the answer is final, or ctx
// ends.
func (c *client) retry(ctx context.Context, first int, try func(context.Context, string) ([]byte, error)) ([]byte, error) {
	for i, pause := first, firstPause; ; i, pause = i+1, min(2*pause, longestPause) {
		b, err := try(ctx, c.addrs[i%len(c.addrs)])
		if err == nil || errors.Is(err, errWrong) {
			return b, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		c.retries.Add(1)
	}
}

// do sends one request and returns the body of the answer.
func (c *client) do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWrong, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode < 300:
		return text, nil
	case resp.StatusCode == http.StatusServiceUnavailable:
		c.countUnknown(text)
		return nil, fmt.Errorf("%s %s: %s", method, url, bytes.TrimSpace(text))
	}
	return nil, fmt.Errorf("%w: %s %s: %s %s", errWrong, method, url, resp.Status, bytes.TrimSpace(text))
}

func (c *client) countUnknown(answer []byte) {
	var p struct {
		Outcome string `json:"outcome"`
	}
	if json.Unmarshal(answer, &p) == nil && p.Outcome == "unknown" {
		c.unknown.Add(1)
	}
}

// nodeStatus is the part of GET /status that the demo looks at.
type nodeStatus struct {
	ID                 string `json:"id"`
	State              string `json:"state"`
	Term               uint64 `json:"term"`
	LastIndex          uint64 `json:"last_index"`
	CommitIndex        uint64 `json:"commit_index"`
	AppliedIndex       uint64 `json:"applied_index"`
	SnapshotIndex      uint64 `json:"snapshot_index"`
	SnapshotsInstalled int    `json:"snapshots_installed"`
	Keys               int    `json:"keys"`
	Bytes              int64  `json:"bytes"`
	Members            []any  `json:"members"`
	nodeHash
}

// nodeHash is the answer of GET /hash.
type nodeHash struct {
	Index uint64 `json:"hash_index"`
	Hash  string `json:"hash"`
}

func (c *client) status(ctx context.Context, addr string) (st nodeStatus, err error) {
	return st, c.getJSON(ctx, "http://"+addr+"/status", &st)
}

// hash asks for a node's state hash when it has applied the log up to index.
func (c *client) hash(ctx context.Context, addr string, index uint64) (h nodeHash, err error) {
	return h, c.getJSON(ctx, fmt.Sprintf("http://%s/hash?at_least=%d", addr, index), &h)
}

func (c *client) getJSON(ctx context.Context, url string, v any) error {
	b, err := c.do(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
