package raft

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// fickleStore is an InmemStore that counts reads and fails writes on demand,
// after it has made them or before.
type fickleStore struct {
	InmemStore
	reads      int
	failBefore error
	failAfter  error
	monotonic  bool
}

func (s *fickleStore) IsMonotonic() bool { return s.monotonic }

func (s *fickleStore) GetLog(index uint64, log *Log) error {
	s.reads++
	return s.InmemStore.GetLog(index, log)
}

func (s *fickleStore) StoreLogs(logs []*Log) error {
	if s.failBefore != nil {
		return s.failBefore
	}
	return errors.Join(s.InmemStore.StoreLogs(logs), s.failAfter)
}

func newTestCache(t *testing.T, capacity int, store LogStore) *LogCache {
	t.Helper()
	c, err := NewLogCache(capacity, store)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cached prints the indexes that the cache holds.
func cached(c *LogCache) string {
	if c.recent.n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d..%d", c.recent.first, c.recent.last())
}

func TestNewLogCacheCapacity(t *testing.T) {
	for _, capacity := range []int{0, -1} {
		if _, err := NewLogCache(capacity, NewInmemStore()); err == nil || err.Error() != "capacity must be positive" {
			t.Errorf("capacity %d: %v", capacity, err)
		}
	}
}

func TestLogCacheHolds(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *LogCache) error
		want string
	}{
		{"the newest", func(c *LogCache) error { return c.StoreLogs(entriesFrom(1, 6, 1)) }, "3..6"},
		{"single entries", func(c *LogCache) error {
			return errors.Join(c.StoreLog(&Log{Index: 1}), c.StoreLog(&Log{Index: 2}))
		}, "1..2"},
		{"what follows an overwritten entry no more", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 4, 1)), c.StoreLogs(entriesFrom(2, 2, 2)))
		}, "1..2"},
		{"what lies behind a gap", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 3, 1)), c.StoreLogs(entriesFrom(8, 9, 1)))
		}, "8..9"},
		{"what lies below all others", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(8, 9, 1)), c.StoreLogs(entriesFrom(1, 2, 1)))
		}, "1..2"},
		{"a prefix no more", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 4, 1)), c.DeleteRange(0, 2))
		}, "3..4"},
		{"a suffix no more", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 4, 1)), c.DeleteRange(3, math.MaxUint64))
		}, "1..2"},
		{"nothing at all", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 4, 1)), c.DeleteRange(0, math.MaxUint64))
		}, "none"},
		{"all but an older prefix", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 9, 1)), c.DeleteRange(1, 5), c.DeleteRange(12, 13), c.DeleteRange(9, 8))
		}, "6..9"},
		{"no hole", func(c *LogCache) error {
			return errors.Join(c.StoreLogs(entriesFrom(1, 4, 1)), c.DeleteRange(2, 3))
		}, "1..1"},
		{"the last index there is", func(c *LogCache) error {
			return errors.Join(c.StoreLog(&Log{Index: math.MaxUint64}), c.DeleteRange(math.MaxUint64, math.MaxUint64))
		}, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestCache(t, 4, NewInmemStore())
			if err := tt.do(c); err != nil {
				t.Fatal(err)
			}
			if got := cached(c); got != tt.want {
				t.Errorf("holds %s, want %s", got, tt.want)
			}
		})
	}
}

// A few large entries must not make the cache a leak (D5).
func TestLogCacheIsBoundedByBytes(t *testing.T) {
	c := newTestCache(t, 100, NewInmemStore())
	c.recent.maxBytes = 1000
	for i := uint64(1); i <= 20; i++ {
		if err := c.StoreLog(&Log{Index: i, Data: make([]byte, 200-64), Extensions: make([]byte, 10)}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := cached(c), "17..20"; got != want {
		t.Errorf("holds %s, want %s", got, want)
	}
	if err := c.StoreLog(&Log{Index: 21, Data: make([]byte, 1000)}); err != nil {
		t.Fatal(err)
	}
	if got := cached(c); got != "none" || c.recent.bytes != 0 {
		t.Errorf("holds %s and counts %d bytes, want nothing: the last entry is above the bound alone", got, c.recent.bytes)
	}
}

func TestLogCacheSparesReads(t *testing.T) {
	store := &fickleStore{}
	c := newTestCache(t, 2, store)
	if err := c.StoreLogs(entriesFrom(1, 3, 1)); err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, c), "1..3: 1@1 2@1 3@1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := 21 - 2; store.reads != want {
		t.Errorf("%d reads of the store for indexes 0 to 20, want %d: 2 and 3 are in the cache", store.reads, want)
	}
	var l Log
	if err := c.GetLog(3, &l); err != nil {
		t.Fatal(err)
	}
	l.Term = 99 // of the caller's copy
	if got, want := contents(t, c), "1..3: 1@1 2@1 3@1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// After a failed write the store alone knows what it has.
func TestLogCacheOfFailedStore(t *testing.T) {
	full := errors.New("disk full")
	for _, tt := range []struct {
		name          string
		before, after error
		want          string
	}{
		{"not written", full, nil, "1..3: 1@1 2@1 3@1"},
		{"written", nil, full, "1..4: 1@1 2@2 3@2 4@2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := &fickleStore{}
			c := newTestCache(t, 10, store)
			if err := c.StoreLogs(entriesFrom(1, 3, 1)); err != nil {
				t.Fatal(err)
			}
			store.failBefore, store.failAfter = tt.before, tt.after
			err := c.StoreLogs(entriesFrom(2, 4, 2))
			if !errors.Is(err, full) {
				t.Errorf("got %v, which hides the store's error", err)
			}
			if want := `unable to store logs within log store, err: "disk full"`; err.Error() != want {
				t.Errorf("got %s, want %s", err, want)
			}
			if got := contents(t, c); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestLogCacheIsMonotonic(t *testing.T) {
	for _, tt := range []struct {
		store LogStore
		want  bool
	}{
		{NewInmemStore(), false},
		{&fickleStore{}, false},
		{&fickleStore{monotonic: true}, true},
		{newTestCache(t, 1, &fickleStore{monotonic: true}), true},
	} {
		if got := newTestCache(t, 1, tt.store).IsMonotonic(); got != tt.want {
			t.Errorf("%T: %v, want %v", tt.store, got, tt.want)
		}
	}
}

// RestoreCommittedLogs must work with a cache too (H22).
func TestCommitTracker(t *testing.T) {
	tracking := NewInmemCommitTrackingStore()
	cache := newTestCache(t, 4, tracking)
	for _, tt := range []struct {
		name  string
		store LogStore
		want  bool
	}{
		{"plain", NewInmemStore(), false},
		{"cache above plain", newTestCache(t, 4, NewInmemStore()), false},
		{"tracking", tracking, true},
		{"cache above tracking", cache, true},
		{"two caches", newTestCache(t, 4, cache), true},
	} {
		if _, ok := commitTracker(tt.store); ok != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, ok, tt.want)
		}
	}

	s, _ := commitTracker(cache)
	if err := errors.Join(s.StageCommitIndex(2), s.StoreLogs(entriesFrom(1, 3, 1))); err != nil {
		t.Fatal(err)
	}
	if n, err := s.GetCommitIndex(); n != 2 || err != nil {
		t.Errorf("commit index %d, %v, want 2", n, err)
	}
	if got := cached(cache); got != "1..3" {
		t.Errorf("the cache holds %s, want 1..3: the tracker writes past it", got)
	}
}

// A cache is never seen: a store with one and a store without agree after any
// sequence of writes.
func TestLogCacheAgreesWithStore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	store := NewInmemStore()
	c := newTestCache(t, 5, store)
	c.recent.maxBytes = 300
	for step := range 5000 {
		lo := rng.Uint64N(18) + 1
		hi := lo + rng.Uint64N(4)
		var err error
		if rng.IntN(3) == 0 {
			err = c.DeleteRange(lo, hi)
		} else {
			err = c.StoreLogs(entriesFrom(lo, min(hi, 20), uint64(step)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := contents(t, c), contents(t, store); got != want {
			t.Fatalf("step %d: got %s, want %s", step, got, want)
		}
		if c.recent.bytes > 300 || c.recent.n > 5 {
			t.Fatalf("step %d: %d entries of %d bytes", step, c.recent.n, c.recent.bytes)
		}
	}
}
