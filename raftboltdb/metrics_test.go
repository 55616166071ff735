//go:build !hashicorpmetrics

package raftboltdb

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/raft"
)

// record returns the intervals of a sink that gets all metrics from now on.
func record(t *testing.T) *metrics.InmemSink {
	t.Helper()
	sink := metrics.NewInmemSink(time.Hour, time.Hour)
	conf := metrics.DefaultConfig("")
	conf.EnableHostname = false
	conf.EnableRuntimeMetrics = false
	_, err := metrics.NewGlobal(conf, sink)
	must(t, err)
	t.Cleanup(func() { metrics.NewGlobal(conf, &metrics.BlackholeSink{}) })
	return sink
}

func TestMetricsOfCalls(t *testing.T) {
	s := openNew(t)
	sink := record(t)
	must(t, s.StoreLogs(entries(1, 3, 1)), s.GetLog(1, new(raft.Log)))
	samples := sink.Data()[0].Samples
	for name, count := range map[string]int{
		"raft.boltdb.getLog": 1, "raft.boltdb.storeLogs": 1, "raft.boltdb.logsPerBatch": 1,
		"raft.boltdb.logBatchSize": 1, "raft.boltdb.writeCapacity": 1, "raft.boltdb.logSize": 3,
	} {
		if got := samples[name]; got.AggregateSample == nil || got.Count != count {
			t.Errorf("%s: %+v, want %d samples", name, got, count)
		}
	}
	if batch, size := samples["raft.boltdb.logBatchSize"], samples["raft.boltdb.logSize"]; batch.Sum != size.Sum || batch.Sum == 0 {
		t.Errorf("a batch of %v bytes has entries of %v", batch.Sum, size.Sum)
	}
	if n := samples["raft.boltdb.logsPerBatch"].Sum; n != 3 {
		t.Errorf("a batch of %v entries, want 3", n)
	}
}

func TestRunMetrics(t *testing.T) {
	s := openNew(t)
	sink := record(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.RunMetrics(ctx, 0) // reports once all the same
	data := sink.Data()[0]
	for _, tt := range []struct {
		got  []string
		want []string
	}{
		{slices.Sorted(maps.Keys(data.Gauges)), []string{
			"raft.boltdb.freePageBytes", "raft.boltdb.freelistBytes", "raft.boltdb.numFreePages", "raft.boltdb.numPendingPages",
			"raft.boltdb.openReadTxn", "raft.boltdb.txstats.pageAlloc", "raft.boltdb.txstats.pageCount"}},
		{slices.Sorted(maps.Keys(data.Counters)), []string{
			"raft.boltdb.totalReadTxn", "raft.boltdb.txstats.cursorCount", "raft.boltdb.txstats.nodeCount", "raft.boltdb.txstats.nodeDeref",
			"raft.boltdb.txstats.rebalance", "raft.boltdb.txstats.spill", "raft.boltdb.txstats.split", "raft.boltdb.txstats.write"}},
		{slices.Sorted(maps.Keys(data.Samples)), []string{
			"raft.boltdb.txstats.rebalanceTime", "raft.boltdb.txstats.spillTime", "raft.boltdb.txstats.writeTime"}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
}

// A counter gets what happened since the last report.
func TestReportsAreDeltas(t *testing.T) {
	s := openNew(t)
	sink := record(t)
	_, err := s.FirstIndex() // of the first report
	must(t, err)
	var r statsReport
	r.emit(s.db.Stats())
	const name = "raft.boltdb.totalReadTxn"
	before := sink.Data()[0].Counters[name].Sum
	for range 3 {
		_, err := s.FirstIndex()
		must(t, err)
	}
	r.emit(s.db.Stats())
	if got := sink.Data()[0].Counters[name].Sum - before; got != 3 {
		t.Errorf("%v read transactions since the last report, want 3", got)
	}
}
