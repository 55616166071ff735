//go:build hashicorpmetrics

package compat

import (
	"testing"
	"time"

	"github.com/hashicorp/go-metrics"
)

// captureGlobal makes an in-memory sink the global one, and returns a function
// that names the counters and samples that have arrived there.
func captureGlobal(t *testing.T) func() []string {
	sink := metrics.NewInmemSink(time.Hour, time.Hour)
	conf := metrics.DefaultConfig("")
	conf.EnableHostname = false
	conf.EnableRuntimeMetrics = false
	if _, err := metrics.NewGlobal(conf, sink); err != nil {
		t.Fatal(err)
	}
	return func() []string {
		var names []string
		for _, interval := range sink.Data() {
			for name := range interval.Counters {
				names = append(names, name)
			}
			for name := range interval.Samples {
				names = append(names, name)
			}
		}
		return names
	}
}
