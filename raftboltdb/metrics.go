package raftboltdb

import (
	"context"
	"time"

	"github.com/hashicorp/raft/internal/metrics"
	"go.etcd.io/bbolt"
)

// defaultMetricsInterval is the interval of RunMetrics if none is given.
const defaultMetricsInterval = 5 * time.Second

func name(parts ...string) []string { return append([]string{"raft", "boltdb"}, parts...) }

var (
	metricGetLog        = name("getLog")
	metricStoreLogs     = name("storeLogs")
	metricLogSize       = name("logSize")
	metricLogsPerBatch  = name("logsPerBatch")
	metricLogBatchSize  = name("logBatchSize")
	metricWriteCapacity = name("writeCapacity")
)

func measure(metric []string, start time.Time) { metrics.MeasureSince(metric, start) }

func measureEntry(size int) { metrics.AddSample(metricLogSize, float32(size)) }

// measureBatch reports a StoreLogs of n entries and size bytes.
func measureBatch(n, size int, start time.Time) {
	metrics.AddSample(metricLogsPerBatch, float32(n))
	metrics.AddSample(metricLogBatchSize, float32(size))
	if took := time.Since(start); took > 0 {
		metrics.AddSample(metricWriteCapacity, float32(float64(n)/took.Seconds()))
	}
	measure(metricStoreLogs, start)
}

// RunMetrics reports bbolt's statistics at once and then every interval (5 s if
// that is not positive). It returns when ctx is done.
func (s *BoltStore) RunMetrics(ctx context.Context, interval time.Duration) {
	if interval <= 0 {
		interval = defaultMetricsInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var r statsReport
	for {
		r.emit(s.db.Stats())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A statsReport turns statistics that bbolt counts from the opening of the file
// into metrics of what happened between two reports.
type statsReport struct{ last bbolt.Stats }

func (r *statsReport) emit(now bbolt.Stats) {
	metrics.SetGauge(name("numFreePages"), float32(now.FreePageN))
	metrics.SetGauge(name("numPendingPages"), float32(now.PendingPageN))
	metrics.SetGauge(name("freePageBytes"), float32(now.FreeAlloc))
	metrics.SetGauge(name("freelistBytes"), float32(now.FreelistInuse))
	metrics.SetGauge(name("openReadTxn"), float32(now.OpenTxN))
	metrics.SetGauge(name("txstats", "pageCount"), float32(now.TxStats.GetPageCount()))
	metrics.SetGauge(name("txstats", "pageAlloc"), float32(now.TxStats.GetPageAlloc()))

	delta := now.Sub(&r.last)
	r.last = now
	metrics.IncrCounter(name("totalReadTxn"), float32(delta.TxN))
	emitTx(&delta.TxStats)
}

func emitTx(delta *bbolt.TxStats) {
	for _, c := range []struct {
		name  string
		count int64
	}{
		{"cursorCount", delta.GetCursorCount()},
		{"nodeCount", delta.GetNodeCount()},
		{"nodeDeref", delta.GetNodeDeref()},
		{"rebalance", delta.GetRebalance()},
		{"split", delta.GetSplit()},
		{"spill", delta.GetSpill()},
		{"write", delta.GetWrite()},
	} {
		metrics.IncrCounter(name("txstats", c.name), float32(c.count))
	}
	for _, c := range []struct {
		name string
		took time.Duration
	}{
		{"rebalanceTime", delta.GetRebalanceTime()},
		{"spillTime", delta.GetSpillTime()},
		{"writeTime", delta.GetWriteTime()},
	} {
		metrics.AddSample(name("txstats", c.name), float32(c.took.Seconds()*1e3))
	}
}
