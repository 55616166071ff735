package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is the library that ours shares clusters with.
const peer = "upstream-1.8.0"

// TestTour lives through every action once with every kind of leader.
func TestTour(t *testing.T) {
	for _, mix := range []string{"ours " + peer + " " + peer, peer + " ours ours"} {
		t.Run(mix, func(t *testing.T) { runCluster(t, options{mix: strings.Fields(mix), duration: 25 * time.Second}) })
	}
}

// TestUpgrade changes the servers of a cluster to our library, one by one, on
// their data, and back.
func TestUpgrade(t *testing.T) {
	runCluster(t, options{mix: []string{peer, peer, peer}, upgrade: "ours"})
}

func runCluster(t *testing.T, o options) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	o.peers, o.clients, o.pace, o.seed = defaultPeers(), 4, 5*time.Millisecond, uint64(time.Now().UnixNano())
	o.out = &lines{t: t}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	if err := run(ctx, o); err != nil {
		t.Fatal(err)
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
