package main

import (
	"bytes"
	"testing"
	"time"
)

// TestMatrix lives through every scenario with the newest release: in both mixes,
// and in an upgrade and back.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	m := matrix{releases: releases[:1], short: true, parallel: 3, options: options{
		peers: defaultPeers(), clients: 4, pace: 5 * time.Millisecond, seed: uint64(time.Now().UnixNano()), out: lines{t},
	}}
	if err := m.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// lines writes to the log of a test.
type lines struct{ t *testing.T }

func (l lines) Write(b []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSuffix(b, []byte("\n")))
	return len(b), nil
}
