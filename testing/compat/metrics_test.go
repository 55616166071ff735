package compat

import (
	"slices"
	"testing"
)

// The library and raft-boltdb must emit to the same metrics library, whichever
// the build tag chooses: a service installs one sink.
func TestMetricsArriveInOneSink(t *testing.T) {
	emitted := captureGlobal(t)
	svc := newService(t, 1, stores["raft-boltdb"])
	svc.start(t)
	svc.write(t, "x")
	svc.stop(t)
	for _, want := range []string{"raft.apply", "raft.boltdb.storeLogs"} {
		if got := emitted(); !slices.Contains(got, want) {
			t.Errorf("no %s among %q", want, got)
		}
	}
}
