package load

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram counts durations. Its buckets are wide in proportion to what they hold:
// quantiles are wrong by less than 1 %, in a few KiB however much is counted. It is
// shared by all clients, for 1024 of them with one each would show in the memory
// measured. The zero value is empty.
type histogram struct {
	count   atomic.Uint64
	largest atomic.Int64 // exact, in nanoseconds
	buckets [buckets]atomic.Uint64
}

const (
	precision = 7  // bits of a duration that tell its bucket, beneath its highest
	longest   = 40 // bits of the longest duration told apart, 18 minutes in nanoseconds
	buckets   = (longest - precision + 1) << precision
)

func (h *histogram) record(d time.Duration) {
	ns := max(int64(d), 0)
	h.buckets[bucket(uint64(ns))].Add(1)
	h.count.Add(1)
	for {
		old := h.largest.Load()
		if ns <= old || h.largest.CompareAndSwap(old, ns) {
			return
		}
	}
}

// quantile returns the duration that a share q of all is not above. It returns 0 if the
// histogram is empty.
func (h *histogram) quantile(q float64) time.Duration {
	rank := min(uint64(q*float64(h.count.Load())), h.count.Load()-1)
	seen := uint64(0)
	for i := range h.buckets {
		seen += h.buckets[i].Load()
		if seen > rank {
			return min(middle(i), h.max())
		}
	}
	return 0
}

func (h *histogram) max() time.Duration { return time.Duration(h.largest.Load()) }

// bucket returns the bucket of a duration of ns nanoseconds: small ones have one each,
// others share one with those that begin with the same bits.
func bucket(ns uint64) int {
	ns = min(ns, 1<<longest-1)
	shift := max(bits.Len64(ns)-precision-1, 0)
	return shift<<precision + int(ns>>shift)
}

// middle returns the middle of a bucket.
func middle(i int) time.Duration {
	shift := max(i>>precision-1, 0)
	low := uint64(i-shift<<precision) << shift
	return time.Duration(low + (1<<shift)/2)
}
