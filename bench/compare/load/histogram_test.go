package load

import (
	"math/rand"
	"slices"
	"testing"
	"time"
)

// Every duration comes back with an error of less than 1 %.
func TestHistogramError(t *testing.T) {
	for d := time.Duration(1); d < time.Hour/4; d += d/301 + 1 {
		var h histogram
		h.record(d)
		h.record(time.Hour / 3) // so that d is not the largest, which is exact
		if got := h.quantile(0.4); got < d-d/100 || got > d+d/100 {
			t.Fatalf("%d ns became %d", d, got)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	var h histogram
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(1000 * (1 + random.ExpFloat64()*100))
		all = append(all, d)
		h.record(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.99, 0.999} {
		want := all[int(q*float64(len(all)))]
		if got := h.quantile(q); got < want-want/100 || got > want+want/100 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if want := all[len(all)-1]; h.max() != want || h.quantile(1) > want {
		t.Errorf("maximum %v, quantile 1 is %v, want %v", h.max(), h.quantile(1), want)
	}
}

func TestHistogramBounds(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("median of nothing is %v", got)
	}
	h.record(-1) // a clock may be stepped
	h.record(1 << 62)
	if h.count.Load() != 2 || h.max() != 1<<62 {
		t.Errorf("counted %d, maximum %d", h.count.Load(), h.max())
	}
}

func TestBucketsAreInOrder(t *testing.T) {
	last := -1
	for ns := range uint64(1 << 12) {
		b := bucket(ns)
		if b != last && b != last+1 {
			t.Fatalf("%d ns is in bucket %d, after bucket %d", ns, b, last)
		}
		last = b
	}
	if b := bucket(1<<longest - 1); b != buckets-1 {
		t.Errorf("the longest duration is in bucket %d of %d", b, buckets)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	h := new(histogram)
	if n := testing.AllocsPerRun(100, func() { h.record(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkLoop is what the harness costs an operation.
func BenchmarkLoop(b *testing.B) {
	l := loop{}
	l.phase.Store(measuring)
	l.client(0, func(int) error {
		if !b.Loop() {
			l.phase.Store(over)
		}
		return nil
	}, &l.ops)
}
