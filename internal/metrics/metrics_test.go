package metrics

import (
	"slices"
	"testing"
	"time"
)

// Whichever library is chosen, everything must arrive in that library's global
// instance: it is where a service installs its sink.
func TestEmitsIntoGlobalSink(t *testing.T) {
	emitted := captureGlobal(t)
	labels := []Label{{Name: "peer_id", Value: "n2"}}
	for _, tt := range []struct {
		want string
		emit func()
	}{
		{"counter raft.apply", func() { IncrCounter([]string{"raft", "apply"}, 1) }},
		{"counter raft.logs;peer_id=n2", func() { IncrCounterWithLabels([]string{"raft", "logs"}, 1, labels) }},
		{"gauge raft.peers", func() { SetGauge([]string{"raft", "peers"}, 3) }},
		{"sample raft.lastContact", func() { AddSample([]string{"raft", "lastContact"}, 1) }},
		{"sample raft.commitTime", func() { MeasureSince([]string{"raft", "commitTime"}, time.Now()) }},
		{"sample raft.heartbeat;peer_id=n2", func() {
			MeasureSinceWithLabels([]string{"raft", "heartbeat"}, time.Now(), labels)
		}},
	} {
		if slices.Contains(emitted(), tt.want) {
			t.Errorf("%q is there before it was emitted", tt.want)
		}
		tt.emit()
		if got := emitted(); !slices.Contains(got, tt.want) {
			t.Errorf("want %q in the global sink, which has %q", tt.want, got)
		}
	}
}
