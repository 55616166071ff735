package fuzzy

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// kv is the FSM of the clusters: values by key. A command is "set KEY VALUE", which
// answers with the value before, or "append KEY VALUE", which answers with the one
// after.
type kv struct {
	watch *watch

	mu     sync.Mutex
	values map[string]string
}

func newKV(w *watch) raft.FSM { return &kv{watch: w, values: map[string]string{}} }

// Apply implements [raft.FSM].
func (f *kv) Apply(e *raft.Log) any {
	if f.watch != nil {
		f.watch.applied(e)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := parseCommand(e.Data)
	before := f.values[c.key]
	f.values[c.key] = c.apply(before)
	return c.response(before)
}

// get is the one query.
func (f *kv) get(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.values[key]
}

// Snapshot implements [raft.FSM].
func (f *kv) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return kvSnapshot(maps.Clone(f.values)), nil
}

// Restore implements [raft.FSM].
func (f *kv) Restore(r io.ReadCloser) error {
	defer r.Close()
	values := map[string]string{}
	if err := json.NewDecoder(r).Decode(&values); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.values = values
	return nil
}

type kvSnapshot map[string]string

func (s kvSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (kvSnapshot) Release() {}

// command is what a client writes.
type command struct{ op, key, value string }

func parseCommand(data []byte) command {
	op, rest, _ := strings.Cut(string(data), " ")
	key, value, _ := strings.Cut(rest, " ")
	return command{op, key, value}
}

// apply is the value that the command makes of one.
func (c command) apply(before string) string {
	if c.op == "append" {
		return before + c.value
	}
	return c.value
}

func (c command) response(before string) string {
	if c.op == "append" {
		return c.apply(before)
	}
	return before
}

const (
	clients     = 4
	keysAtATime = 4
	keyLifetime = 10 * time.Second
)

// drawKey draws one of the keys of the moment, rarely one of the moment before. A key is
// in use for a short time only, so that the history of each is short enough for a
// search through all orders.
func drawKey(rng *rand.Rand) string {
	slot := time.Now().Unix() / int64(keyLifetime.Seconds())
	if rng.IntN(10) == 0 {
		slot--
	}
	return fmt.Sprintf("%d.%d", slot%1e6, rng.IntN(keysAtATime))
}

// drawCommand draws a command. Those of clients beyond the usual ones, who flood leaders
// that are cut off, each have a key of their own: dozens of writes of unknown outcome on
// one key are more than a search can bear.
func drawCommand(rng *rand.Rand, client int) []byte {
	op, key := "append", drawKey(rng)
	if rng.IntN(3) == 0 {
		op = "set"
	}
	if client >= clients {
		key += fmt.Sprintf(".%x", rng.Uint64())
	}
	return fmt.Appendf(nil, "%s %s %d:%x,", op, key, client, rng.Uint32())
}
