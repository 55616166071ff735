package raft

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// cacheBytes is what the entries in a LogCache may take together, by logSize.
const cacheBytes = 64 << 20

// LogCache keeps the newest entries of a [LogStore] in memory, so that reading
// them does not reach the store. It is bounded by a number of entries and by 64
// MiB, whichever is reached first. An entry is in the cache only once the store
// has it, and leaves it before the store deletes or overwrites it.
//
// It is safe for concurrent use if the store is.
type LogCache struct {
	store     LogStore
	monotonic bool

	// writing is held over a write to the store and the cache, so that they see
	// the same order of writes.
	writing sync.Mutex

	mu     sync.RWMutex
	recent entryRing
}

// NewLogCache returns a cache of up to capacity entries above store. A capacity
// below 1 is an error.
func NewLogCache(capacity int, store LogStore) (*LogCache, error) {
	if capacity <= 0 {
		return nil, errors.New("capacity must be positive")
	}
	m, ok := store.(MonotonicLogStore)
	return &LogCache{
		store:     store,
		monotonic: ok && m.IsMonotonic(),
		recent:    entryRing{slots: make([]*Log, capacity), maxBytes: cacheBytes},
	}, nil
}

// IsMonotonic implements [MonotonicLogStore]: it says what the store says, false
// if the store says nothing.
func (c *LogCache) IsMonotonic() bool { return c.monotonic }

// FirstIndex implements [LogStore].
func (c *LogCache) FirstIndex() (uint64, error) { return c.store.FirstIndex() }

// LastIndex implements [LogStore].
func (c *LogCache) LastIndex() (uint64, error) { return c.store.LastIndex() }

// GetLog implements [LogStore]. The entry's Data may be shared with other
// callers: it must not be modified.
func (c *LogCache) GetLog(index uint64, log *Log) error {
	c.mu.RLock()
	e := c.recent.get(index)
	c.mu.RUnlock()
	if e == nil {
		return c.store.GetLog(index, log)
	}
	*log = *e
	return nil
}

// ReadLogs implements [RangeLogStore]. What the cache has comes from there, the rest
// from the store.
func (c *LogCache) ReadLogs(first, last uint64, visit func(*Log) bool) error {
	for more := true; more && first <= last; {
		e, hi := c.lookup(first, last)
		if e != nil {
			more = visit(e)
			first++
			continue
		}
		err := ReadLogs(c.store, first, hi, func(e *Log) bool {
			more = visit(e)
			return more
		})
		if err != nil {
			return err
		}
		first = hi + 1
	}
	return nil
}

// lookup returns an entry that is in the cache. For one that is not it returns up to
// where, within a range, none is.
func (c *LogCache) lookup(first, last uint64) (e *Log, missing uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e = c.recent.get(first)
	if c.recent.n > 0 && first < c.recent.first {
		last = min(last, c.recent.first-1)
	}
	return e, last
}

// ReadsLogsOf implements [RangeLogStore]: the cache is one if the store is.
func (c *LogCache) ReadsLogsOf() LogStore {
	if _, ok := rangesOf(c.store); !ok {
		return nil
	}
	return c
}

// StoreLog implements [LogStore].
func (c *LogCache) StoreLog(log *Log) error { return c.StoreLogs([]*Log{log}) }

// StoreLogs implements [LogStore]. The store's error can be got by errors.Is and
// errors.As.
func (c *LogCache) StoreLogs(logs []*Log) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	// If the store fails, nobody knows which of the old and the new entries it
	// has: the cache must have neither.
	lowest := uint64(math.MaxUint64)
	for _, l := range logs {
		lowest = min(lowest, l.Index)
	}
	c.drop(lowest, math.MaxUint64)
	if err := c.store.StoreLogs(logs); err != nil {
		return &cachedStoreError{err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		c.recent.add(l)
	}
	return nil
}

// DeleteRange implements [LogStore].
func (c *LogCache) DeleteRange(min, max uint64) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.drop(min, max)
	return c.store.DeleteRange(min, max)
}

func (c *LogCache) drop(min, max uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent.drop(min, max)
}

// A cachedStoreError is a failure of the store under a LogCache.
type cachedStoreError struct{ err error }

func (e *cachedStoreError) Error() string {
	return fmt.Sprintf("unable to store logs within log store, err: %q", e.err)
}

func (e *cachedStoreError) Unwrap() error { return e.err }

// commitTracker returns s as a store that keeps the commit index, if it is one or
// is a cache above one. What it returns is used in place of s: it writes entries
// through the cache.
func commitTracker(s LogStore) (CommitTrackingLogStore, bool) {
	if t, ok := s.(CommitTrackingLogStore); ok {
		return t, true
	}
	cache, ok := s.(*LogCache)
	if !ok {
		return nil, false
	}
	t, ok := commitTracker(cache.store)
	if !ok {
		return nil, false
	}
	return &trackingLogCache{cache, t}, true
}

// trackingLogCache is a LogCache above a CommitTrackingLogStore. LogCache itself
// lacks the methods, because it would have them above any store.
type trackingLogCache struct {
	*LogCache
	tracker CommitTrackingLogStore
}

func (c *trackingLogCache) StageCommitIndex(index uint64) error {
	return c.tracker.StageCommitIndex(index)
}

func (c *trackingLogCache) GetCommitIndex() (uint64, error) { return c.tracker.GetCommitIndex() }

// entryRing holds a run of consecutive entries, the newest of the log.
type entryRing struct {
	slots    []*Log // the entry of index i is at i % len(slots)
	first, n uint64 // it holds first..last(), n entries
	bytes    int
	maxBytes int
}

func (r *entryRing) last() uint64 { return r.first + r.n - 1 }

func (r *entryRing) slot(index uint64) **Log { return &r.slots[index%uint64(len(r.slots))] }

// get returns an entry, or nil if it is not there.
func (r *entryRing) get(index uint64) *Log {
	if index < r.first || index-r.first >= r.n {
		return nil
	}
	return *r.slot(index)
}

// add puts e behind the others and lets the oldest go for it. If e does not follow
// them, none of them stays.
func (r *entryRing) add(e *Log) {
	if e.Index != r.first+r.n {
		r.dropOldest(r.n)
		r.first = e.Index
	}
	if r.n == uint64(len(r.slots)) {
		r.dropOldest(1)
	}
	*r.slot(e.Index) = e
	r.n++
	r.bytes += logSize(e)
	for r.bytes > r.maxBytes {
		r.dropOldest(1)
	}
}

// drop lets the entries min..max go. Entries above max stay only if none below
// min do: what remains is a run.
func (r *entryRing) drop(min, max uint64) {
	if min > max || r.n == 0 || max < r.first || min > r.last() {
		return
	}
	if min <= r.first && max < r.last() {
		r.dropOldest(max - r.first + 1)
		return
	}
	for r.n > 0 && r.last() >= min {
		r.release(r.last())
		r.n--
	}
}

// dropOldest lets the k oldest entries go.
func (r *entryRing) dropOldest(k uint64) {
	for ; k > 0; k-- {
		r.release(r.first)
		r.first++
		r.n--
	}
}

func (r *entryRing) release(index uint64) {
	p := r.slot(index)
	r.bytes -= logSize(*p)
	*p = nil
}
