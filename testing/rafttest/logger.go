package rafttest

import (
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// testLog writes a server's log to a test. A test must not be logged to once it
// has ended, so it stops when it is closed.
type testLog struct {
	mu     sync.Mutex
	t      *testing.T
	closed bool
}

// newTestLogger returns a logger that writes to t until t ends.
func newTestLogger(t *testing.T, name, level string) hclog.Logger {
	l := &testLog{t: t}
	t.Cleanup(l.close)
	return hclog.New(&hclog.LoggerOptions{
		Name:   name,
		Level:  hclog.LevelFromString(level),
		Output: l,
	})
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.t.Log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
