package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clients is a set of clients, each asking for one operation after the other, and
// the history of what they were told. A client keeps to a node until that fails it.
type clients struct {
	nodes []*node
	now   func() time.Duration // the driver's clock
	http  *http.Client
	keys  keys
	gate  sync.RWMutex // held for reading while an operation is on its way
	group sync.WaitGroup

	mu      sync.Mutex
	history []op
	puts    int
	wrong   faults
}

const (
	// attemptTimeout is how long a client waits for an answer: longer than a node
	// is stopped, so that a node that wakes up finds questions.
	attemptTimeout = 6 * time.Second
	// pace is the pause of a client between two operations, on average, and
	// pauseAfterFailure that after one that was not done.
	pace              = 6 * time.Millisecond
	pauseAfterFailure = 40 * time.Millisecond
	// driverClient is the client of the driver's own operations.
	driverClient = 0
)

func newClients(nodes []*node, now func() time.Duration) *clients {
	return &clients{nodes: nodes, now: now,
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
}

// start starts n clients, which go on until ctx ends; wait waits for them.
func (c *clients) start(ctx context.Context, n int, seed uint64) {
	for i := range n {
		rng := rand.New(rand.NewPCG(seed, uint64(i)+1))
		c.group.Go(func() { c.run(ctx, i+1, rng) })
	}
}

func (c *clients) wait() { c.group.Wait() }

// pause keeps the clients from asking and returns once nothing is on its way;
// resume lets them go on.
func (c *clients) pause()  { c.gate.Lock() }
func (c *clients) resume() { c.gate.Unlock() }

func (c *clients) run(ctx context.Context, client int, rng *rand.Rand) {
	n := c.nodes[client%len(c.nodes)]
	for ctx.Err() == nil {
		o := op{Client: client, Key: c.keys.take(rng.IntN(slots)), Kind: get}
		switch dice := rng.IntN(100); {
		case dice < 45:
			o.Kind, o.Value = put, c.value(size(rng))
		case dice < 52:
			o.Kind = remove
		}
		c.gate.RLock()
		o = c.do(n, o)
		c.gate.RUnlock()
		rest := pace
		if o.Outcome != done {
			n, rest = c.nodes[rng.IntN(len(c.nodes))], pauseAfterFailure
		}
		sleep(ctx, rest/2+time.Duration(rng.Int64N(int64(rest))))
	}
}

// size draws the size of a value. Most are small; some are larger than a network
// buffer.
func size(rng *rand.Rand) int {
	if rng.IntN(100) == 0 {
		return rng.IntN(100 << 10)
	}
	return 20 + rng.IntN(200)
}

// value makes a value that no other one equals: a number, and its size in bytes.
func (c *clients) value(size int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.puts++
	return fmt.Sprintf("%d/%d", c.puts, size)
}

// body is what a value looks like on its way.
func body(value string) string {
	_, size, _ := strings.Cut(value, "/")
	n, err := strconv.Atoi(size)
	if err != nil {
		return value
	}
	return value + "\n" + strings.Repeat("x", n)
}

// unbody is the inverse of body.
func unbody(b string) (value string, ok bool) {
	value, _, _ = strings.Cut(b, "\n")
	return value, b == body(value)
}

// do asks node n for an operation and records what became of it.
func (c *clients) do(n *node, o op) op {
	o = c.attempt(n, o)
	c.record(o)
	if o.Kind == remove && o.Outcome == unknown {
		c.keys.openDelete(o.Key)
	}
	return o
}

// attempt asks node n for an operation. It waits for an answer even if the run ends:
// the outcome is part of the history.
func (c *clients) attempt(n *node, o op) op {
	o.Node, o.Start = n.id, c.now()
	err := c.ask(n, &o)
	o.End = c.now()
	if err != nil {
		o.Error = err.Error()
	}
	if errors.Is(err, errWrong) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wrong.add("%v", o)
	}
	return o
}

// record adds to the history.
func (c *clients) record(ops ...op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = append(c.history, ops...)
}

// errWrong is an answer that no node may give.
var errWrong = errors.New("wrong answer")

// ask sends a request and fills in the outcome. An error says why it was not done.
func (c *clients) ask(n *node, o *op) error {
	o.Outcome = unknown
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	req, err := o.request(ctx, n)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		o.Outcome = refused // nothing was sent
		return err
	} else if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	o.Index, _ = strconv.ParseUint(resp.Header.Get("Kv-Index"), 10, 64)
	return o.understand(resp.StatusCode, text)
}

func (o *op) request(ctx context.Context, n *node) (*http.Request, error) {
	u := url.URL{Scheme: "http", Host: n.http, Path: "/kv/" + o.Key}
	switch o.Kind {
	case put:
		return http.NewRequestWithContext(ctx, http.MethodPut, u.String(), strings.NewReader(body(o.Value)))
	case remove:
		return http.NewRequestWithContext(ctx, http.MethodDelete, u.String(), nil)
	case look:
		u.RawQuery = "consistency=stale"
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
}

// understand takes in an answer as the service documents it.
func (o *op) understand(status int, text []byte) error {
	switch {
	case o.writes() && status == http.StatusNoContent:
		o.Outcome = done
	case !o.writes() && status == http.StatusNotFound:
		o.Outcome, o.Value = done, ""
	case !o.writes() && status == http.StatusOK:
		value, ok := unbody(string(text))
		if !ok {
			return fmt.Errorf("%w: the value is garbled: %q and %d bytes", errWrong, value, len(text))
		}
		o.Outcome, o.Value = done, value
	case status == http.StatusServiceUnavailable:
		var problem struct{ Error, Outcome string }
		if err := json.Unmarshal(text, &problem); err != nil {
			return fmt.Errorf("%w: %d, %w", errWrong, status, err)
		}
		if problem.Outcome == "none" {
			o.Outcome = refused
		}
		return errors.New(problem.Error)
	default:
		return fmt.Errorf("%w: %d %s", errWrong, status, bytes.TrimSpace(text))
	}
	return nil
}

// snapshot returns what happened so far.
func (c *clients) snapshot() (history []op, wrong error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history[:len(c.history):len(c.history)], c.wrong.err()
}

// keys are the keys in use. A key is given up after some operations, or when one
// deletion too many may still happen: the search for a linearization takes a time
// that grows with the operations that overlap. The zero value is ready for use.
type keys struct {
	mu    sync.Mutex
	inUse [slots]keyUse
}

type keyUse struct{ generation, taken, open int }

const (
	slots      = 6
	maxTaken   = 150
	maxUnknown = 4
)

// take returns the key of a slot.
func (k *keys) take(slot int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	use := &k.inUse[slot]
	if use.taken == maxTaken || use.open == maxUnknown {
		*use = keyUse{generation: use.generation + 1}
	}
	use.taken++
	return keyName(slot, use.generation)
}

func keyName(slot, generation int) string { return fmt.Sprintf("k%d.%d", slot, generation) }

// openDelete counts a deletion of the key that may still happen.
func (k *keys) openDelete(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for slot := range k.inUse {
		if use := &k.inUse[slot]; keyName(slot, use.generation) == key {
			use.open++
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
