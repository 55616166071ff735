package rafttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

var errFull = errors.New("no space left")

// entries returns the entries of a range of indexes.
func entries(lo, hi uint64) []*raft.Log {
	var logs []*raft.Log
	for i := lo; i <= hi; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 1})
	}
	return logs
}

// bounds returns the first and the last index of a store, and fails the test if
// there is a gap between them.
func bounds(t *testing.T, s raft.LogStore) (first, last uint64) {
	t.Helper()
	first, err := s.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err = s.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last && i > 0; i++ {
		if err := s.GetLog(i, new(raft.Log)); err != nil {
			t.Errorf("entry %d of %d to %d: %v", i, first, last, err)
		}
	}
	return first, last
}

func expectBounds(t *testing.T, s raft.LogStore, first, last uint64) {
	t.Helper()
	if a, b := bounds(t, s); a != first || b != last {
		t.Errorf("the log is %d to %d, want %d to %d", a, b, first, last)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// onDisks runs a test on disks of many seeds, each in a bubble.
func onDisks(t *testing.T, test func(t *testing.T, d *Disk)) {
	t.Helper()
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) { test(t, NewMemDisk(seed)) })
	}
}

// seenAll fails the test unless all of some outcomes were seen.
func seenAll(t *testing.T, seen map[string]int, outcomes ...string) {
	t.Helper()
	for _, o := range outcomes {
		if seen[o] == 0 {
			t.Errorf("never %s: %v", o, seen)
		}
	}
}

// share says how much of something was done.
func share(done, total uint64) string {
	switch done {
	case 0:
		return "none"
	case total:
		return "all"
	default:
		return "part"
	}
}

// A crash keeps what was acknowledged, and of the write under way a prefix, or
// nothing, or all.
func TestDiskCrash(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		d.SetLatency(2*time.Millisecond, 5*time.Millisecond)
		const batch = 4
		s := d.LogStore()
		var acked uint64
		var failure error
		done := make(chan struct{})
		go func() {
			defer close(done)
			for failure == nil {
				if failure = s.StoreLogs(entries(acked+1, acked+batch)); failure == nil {
					acked += batch
				}
			}
		}()
		time.Sleep(30 * time.Millisecond)
		d.Crash()
		_, last := bounds(t, d.LogStore())
		<-done
		if failure != ErrCrashed || acked == 0 || last < acked || last > acked+batch {
			t.Errorf("error %v, %d acknowledged, the log ends with %d", failure, acked, last)
		}
		how := share(last-acked, batch)
		seen[how]++
		if c := d.Counts(); c.Crashes != 1 || (c.Torn == 1) != (how == "part") {
			t.Errorf("counts %+v, done was %s", c, how)
		}
		must(t, d.LogStore().StoreLogs(entries(last+1, last+2)))
		expectBounds(t, d.LogStore(), 1, last+2)
	})
	seenAll(t, seen, "none", "part", "all")
}

// slowLogs takes a second for each write.
type slowLogs struct{ raft.LogStore }

func (s slowLogs) StoreLogs(logs []*raft.Log) error {
	time.Sleep(time.Second)
	return s.LogStore.StoreLogs(logs)
}

// A write that a crash interrupts does not return while the crash still uses what it
// was given, and one that has reached the stores is finished first.
func TestDiskCrashWaits(t *testing.T) {
	for _, hang := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := raft.NewInmemStore()
			d := NewDisk(slowLogs{store}, store, raft.NewInmemSnapshotStore(), 2)
			if hang {
				d.Hang()
			}
			start := time.Now()
			done := make(chan error, 1)
			go func() { done <- d.LogStore().StoreLogs(entries(1, 100)) }()
			time.Sleep(time.Second / 2)
			d.Crash()
			_, last := bounds(t, d.LogStore())
			err := <-done
			took := time.Since(start)
			if hang && (err != ErrCrashed || took != 3*time.Second/2 || last == 0) {
				t.Errorf("error %v after %v, the log ends with %d", err, took, last)
			}
			if !hang && (err != nil || took != time.Second || last != 100) {
				t.Errorf("error %v after %v, the log ends with %d", err, took, last)
			}
		})
	}
}

// A deletion that is interrupted leaves no gap.
func TestDiskCrashDelete(t *testing.T) {
	for name, tt := range map[string]struct {
		lo, hi  uint64
		deleted func(first, last uint64) uint64
	}{
		"prefix": {1, 10, func(first, _ uint64) uint64 { return first - 1 }},
		"suffix": {11, 20, func(_, last uint64) uint64 { return 20 - last }},
		"all":    {1, 20, func(_, last uint64) uint64 { return 20 - last }},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]int{}
			onDisks(t, func(t *testing.T, d *Disk) {
				must(t, d.LogStore().StoreLogs(entries(1, 20)))
				d.Hang()
				s := d.LogStore()
				go s.DeleteRange(tt.lo, tt.hi)
				synctest.Wait()
				d.Crash()
				d.Release()
				first, last := bounds(t, d.LogStore())
				first = max(first, 1) // 0 if there is none
				gone := tt.deleted(first, last)
				if gone != first-1+20-last {
					t.Errorf("left %d to %d", first, last)
				}
				seen[share(gone, tt.hi-tt.lo+1)]++
			})
			seenAll(t, seen, "none", "part", "all")
		})
	}
}

// spy counts the calls of all stores.
type spy struct {
	raft.InmemCommitTrackingStore
	snaps *raft.InmemSnapshotStore
	calls atomic.Int64
}

func (s *spy) FirstIndex() (uint64, error) {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.FirstIndex()
}

func (s *spy) LastIndex() (uint64, error) {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.LastIndex()
}

func (s *spy) GetLog(i uint64, l *raft.Log) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.GetLog(i, l)
}

func (s *spy) StoreLogs(l []*raft.Log) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.StoreLogs(l)
}

func (s *spy) DeleteRange(lo, hi uint64) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.DeleteRange(lo, hi)
}

func (s *spy) StageCommitIndex(i uint64) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.StageCommitIndex(i)
}

func (s *spy) GetCommitIndex() (uint64, error) {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.GetCommitIndex()
}

func (s *spy) Get(k []byte) ([]byte, error) {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.Get(k)
}

func (s *spy) GetUint64(k []byte) (uint64, error) {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.GetUint64(k)
}

func (s *spy) Set(k, v []byte) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.Set(k, v)
}

func (s *spy) SetUint64(k []byte, v uint64) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.SetUint64(k, v)
}

func (s *spy) SetAll(v []raft.StableValue) error {
	s.calls.Add(1)
	return s.InmemCommitTrackingStore.SetAll(v)
}

func (s *spy) List() ([]*raft.SnapshotMeta, error) {
	s.calls.Add(1)
	return s.snaps.List()
}

func (s *spy) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.calls.Add(1)
	meta, r, err := s.snaps.Open(id)
	return meta, spyReader{s, r}, err
}

func (s *spy) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	s.calls.Add(1)
	sink, err := s.snaps.Create(version, index, term, c, ci, trans)
	return spySink{s, sink}, err
}

type spySink struct {
	*spy
	raft.SnapshotSink
}

func (s spySink) Write(p []byte) (int, error) {
	s.calls.Add(1)
	return s.SnapshotSink.Write(p)
}

func (s spySink) Close() error {
	s.calls.Add(1)
	return s.SnapshotSink.Close()
}

func (s spySink) Cancel() error {
	s.calls.Add(1)
	return s.SnapshotSink.Cancel()
}

type spyReader struct {
	*spy
	io.ReadCloser
}

func (s spyReader) Read(p []byte) (int, error) {
	s.calls.Add(1)
	return s.ReadCloser.Read(p)
}

func (s spyReader) Close() error {
	s.calls.Add(1)
	return s.ReadCloser.Close()
}

// create begins a snapshot at an index.
func create(s raft.SnapshotStore, index uint64) (raft.SnapshotSink, error) {
	return s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
}

// storeCalls are all that a server can do with its stores, which have a snapshot.
func storeCalls(t *testing.T, d *Disk) map[string]func() error {
	logs, stable, snaps := d.LogStore(), d.StableStore(), d.SnapshotStore()
	tracker, batch := logs.(raft.CommitTrackingLogStore), stable.(raft.BatchStableStore)
	sink, err := create(snaps, 2)
	must(t, err)
	list, err := snaps.List()
	must(t, err)
	_, source, err := snaps.Open(list[0].ID)
	must(t, err)
	key := []byte("k")
	return map[string]func() error{
		"FirstIndex":       func() error { _, err := logs.FirstIndex(); return err },
		"LastIndex":        func() error { _, err := logs.LastIndex(); return err },
		"GetLog":           func() error { return logs.GetLog(1, new(raft.Log)) },
		"StoreLog":         func() error { return logs.StoreLog(entries(1, 1)[0]) },
		"StoreLogs":        func() error { return logs.StoreLogs(entries(1, 2)) },
		"DeleteRange":      func() error { return logs.DeleteRange(1, 1) },
		"StageCommitIndex": func() error { return tracker.StageCommitIndex(1) },
		"GetCommitIndex":   func() error { _, err := tracker.GetCommitIndex(); return err },
		"Get":              func() error { _, err := stable.Get(key); return err },
		"GetUint64":        func() error { _, err := stable.GetUint64(key); return err },
		"Set":              func() error { return stable.Set(key, key) },
		"SetUint64":        func() error { return stable.SetUint64(key, 1) },
		"SetAll":           func() error { return batch.SetAll([]raft.StableValue{{Key: key, Number: 1}}) },
		"List":             func() error { _, err := snaps.List(); return err },
		"Open":             func() error { _, _, err := snaps.Open(list[0].ID); return err },
		"Create":           func() error { _, err := create(snaps, 3); return err },
		"sink.Write":       func() error { _, err := sink.Write(key); return err },
		"sink.Close":       sink.Close,
		"sink.Cancel":      sink.Cancel,
		"source.Read":      func() error { _, err := source.Read(make([]byte, 1)); return err },
		"source.Close":     source.Close,
	}
}

func spiedDisk(t *testing.T) (*Disk, *spy) {
	s := &spy{snaps: raft.NewInmemSnapshotStore()}
	sink, err := create(s.snaps, 1)
	must(t, err)
	must(t, sink.Close())
	return NewDisk(s, s, s, 1), s
}

// Stores that were in use when the disk crashed never touch it again.
func TestDiskDead(t *testing.T) {
	d, s := spiedDisk(t)
	calls := storeCalls(t, d)
	d.Crash()
	before := s.calls.Load()
	for name, call := range calls {
		if err := call(); err != ErrCrashed {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if got := s.calls.Load() - before; got != 0 {
		t.Errorf("%d calls have reached the stores", got)
	}
	for name, call := range storeCalls(t, d) {
		if err := call(); errors.Is(err, ErrCrashed) {
			t.Errorf("%s after the crash: %v", name, err)
		}
	}
}

// Writes wait for a disk that hangs, reads don't, and a crash frees them.
func TestDiskHang(t *testing.T) {
	writes := []string{"StoreLog", "StoreLogs", "DeleteRange", "Set", "SetUint64", "SetAll", "Create", "sink.Write", "sink.Close"}
	for name, end := range map[string]func(*Disk){"release": (*Disk).Release, "crash": (*Disk).Crash} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := spiedDisk(t)
				calls := storeCalls(t, d)
				outcomes := make(chan error)
				d.Hang()
				for _, name := range writes {
					go func() { outcomes <- calls[name]() }()
				}
				synctest.Wait()
				if err := calls["LastIndex"](); err != nil {
					t.Errorf("reading: %v", err)
				}
				time.Sleep(time.Hour)
				select {
				case err := <-outcomes:
					t.Fatalf("a write has ended: %v", err)
				default:
				}
				end(d)
				for range writes {
					if err := <-outcomes; errors.Is(err, ErrCrashed) != (name == "crash") {
						t.Errorf("a write has ended with %v", err)
					}
				}
			})
		})
	}
}

func TestDiskLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := spiedDisk(t)
		calls := storeCalls(t, d)
		d.SetLatency(time.Second, time.Second)
		for _, name := range []string{"StoreLog", "StoreLogs", "DeleteRange", "Set", "SetUint64", "SetAll", "Create", "sink.Close"} {
			start := time.Now()
			must(t, calls[name]())
			if took := time.Since(start); took != time.Second {
				t.Errorf("%s took %v", name, took)
			}
		}
		for _, name := range []string{"FirstIndex", "GetCommitIndex", "Get", "List", "StageCommitIndex"} {
			start := time.Now()
			must(t, calls[name]())
			if took := time.Since(start); took != 0 {
				t.Errorf("%s took %v", name, took)
			}
		}
	})
}

// A write that fails was done from the beginning on up to somewhere, and works when
// the disk does.
func TestDiskFail(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		s := d.LogStore()
		must(t, s.StoreLogs(entries(1, 3)))
		d.Fail(errFull)
		if err := s.StoreLogs(entries(4, 8)); err != errFull {
			t.Errorf("error %v", err)
		}
		if _, err := create(d.SnapshotStore(), 1); err != errFull {
			t.Errorf("a snapshot: error %v", err)
		}
		must(t, d.StableStore().SetUint64([]byte("k"), 1))
		_, last := bounds(t, s)
		seen[share(last-3, 5)]++
		if err := s.DeleteRange(2, last); err != errFull {
			t.Errorf("error %v", err)
		}
		if first, _ := bounds(t, s); first != 1 {
			t.Errorf("the log begins with %d", first)
		}
		d.Fail(nil)
		must(t, s.StoreLogs(entries(1, 8)))
		expectBounds(t, s, 1, 8)
	})
	seenAll(t, seen, "none", "part", "all")
}

func TestDiskFailStable(t *testing.T) {
	d := NewMemDisk(1)
	s, key := d.StableStore(), []byte("k")
	must(t, s.SetUint64(key, 1))
	d.FailStable(errFull)
	for range 10 {
		if err := s.SetUint64(key, 2); err != errFull {
			t.Errorf("error %v", err)
		}
	}
	if v, err := s.GetUint64(key); v != 1 || err != nil {
		t.Errorf("value %d, error %v", v, err)
	}
	must(t, d.LogStore().StoreLogs(entries(1, 1)))
	d.FailStable(nil)
	must(t, s.SetUint64(key, 3))
	if got := d.Counts(); got.Failed != 10 || got.StableWrites != 12 || got.LogWrites != 1 {
		t.Errorf("counts %+v", got)
	}
}

// A batch of the stable store is done or not done.
func TestDiskCrashStable(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		s := d.StableStore().(raft.BatchStableStore)
		d.Hang()
		go s.SetAll([]raft.StableValue{{Key: []byte("a"), Number: 1}, {Key: []byte("b"), Number: 1}})
		synctest.Wait()
		d.Crash()
		a, _ := d.StableStore().GetUint64([]byte("a"))
		b, _ := d.StableStore().GetUint64([]byte("b"))
		seen[share(a+b, 2)]++
	})
	seenAll(t, seen, "none", "all")
	if seen["part"] > 0 {
		t.Errorf("a batch was done in part: %v", seen)
	}
}

// A snapshot is there after a crash if it was closed, perhaps if it was being closed,
// and not if it was being written.
func TestDiskCrashSnapshot(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		closed, err := create(d.SnapshotStore(), 5)
		must(t, err)
		_, err = io.WriteString(closed, "state")
		must(t, err)
		must(t, closed.Close())
		torn, err := create(d.SnapshotStore(), 7)
		must(t, err)
		closing, err := create(d.SnapshotStore(), 6)
		must(t, err)
		d.Hang()
		go io.WriteString(torn, "something")
		go closing.Close()
		synctest.Wait()
		d.Crash()
		list, err := d.SnapshotStore().List()
		must(t, err)
		switch newest := list[0].Index; newest {
		case 5:
			seen["none"]++
			_, r, err := d.SnapshotStore().Open(list[0].ID)
			must(t, err)
			if state, err := io.ReadAll(r); string(state) != "state" || err != nil {
				t.Errorf("state %q, error %v", state, err)
			}
		case 6:
			seen["all"]++
		default:
			t.Errorf("a snapshot at %d", newest)
		}
	})
	seenAll(t, seen, "none", "all")
}

// The commit index is never ahead of the entries that it came with.
func TestDiskCommitIndex(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		s := d.LogStore().(raft.CommitTrackingLogStore)
		must(t, s.StageCommitIndex(2))
		if commit, err := s.GetCommitIndex(); commit != 0 || err != nil {
			t.Errorf("commit index %d, error %v, before there are entries", commit, err)
		}
		must(t, s.StoreLogs(entries(1, 3)))
		if commit, err := s.GetCommitIndex(); commit != 2 || err != nil {
			t.Errorf("commit index %d, error %v, want 2", commit, err)
		}
		d.Hang()
		must(t, s.StageCommitIndex(6))
		go s.StoreLogs(entries(4, 6))
		synctest.Wait()
		d.Crash()
		d.Release()
		s = d.LogStore().(raft.CommitTrackingLogStore)
		_, last := bounds(t, s)
		how := share(last-3, 3)
		seen[how]++
		commit, err := s.GetCommitIndex()
		must(t, err)
		if want := map[bool]uint64{true: 6, false: 2}[how == "all"]; commit != want {
			t.Errorf("commit index %d behind a write of which %s was done", commit, how)
		}
		must(t, s.StoreLogs(entries(last+1, last+1))) // what was staged is forgotten
		if after, _ := s.GetCommitIndex(); after != commit {
			t.Errorf("commit index became %d without being staged", after)
		}
	})
	seenAll(t, seen, "none", "part", "all")
}

// plainLogs and plainStable are stores without extensions.
type (
	plainLogs   struct{ raft.LogStore }
	plainStable struct{ raft.StableStore }
	monotonic   struct {
		raft.LogStore
		is bool
	}
	monotonicTracking struct{ raft.CommitTrackingLogStore }
)

func (m monotonic) IsMonotonic() bool         { return m.is }
func (m monotonicTracking) IsMonotonic() bool { return true }

// A disk's stores have the extensions of the stores under them and no others.
func TestDiskExtensions(t *testing.T) {
	store := raft.NewInmemCommitTrackingStore()
	for _, tt := range []struct {
		logs                        raft.LogStore
		stable                      raft.StableStore
		mono, tracks, batch, ranges bool
	}{
		{plainLogs{store}, plainStable{store}, false, false, false, false},
		{store, store, false, true, true, true},
		{raft.NewInmemStore(), store, false, false, true, true},
		{&MockMonotonicLogStore{}, store, true, false, true, false},
		{monotonic{store, false}, plainStable{store}, true, false, false, false},
		{monotonicTracking{store}, store, true, true, true, false},
	} {
		d := NewDisk(tt.logs, tt.stable, raft.NewInmemSnapshotStore(), 1)
		logs := d.LogStore()
		m, mono := logs.(raft.MonotonicLogStore)
		_, tracks := logs.(raft.CommitTrackingLogStore)
		_, ranges := readsRanges(logs)
		_, batch := d.StableStore().(raft.BatchStableStore)
		if mono != tt.mono || tracks != tt.tracks || batch != tt.batch || ranges != tt.ranges {
			t.Errorf("over a %T and a %T: monotonic %v, tracking %v, batches %v, ranges %v", tt.logs, tt.stable, mono, tracks, batch, ranges)
		}
		if mono && m.IsMonotonic() != tt.logs.(raft.MonotonicLogStore).IsMonotonic() {
			t.Errorf("over a %T: monotonic is %v", tt.logs, m.IsMonotonic())
		}
		must(t, logs.StoreLogs(entries(1, 2)))
	}
}

// A disk that lies loses what it has acknowledged last, and nothing from before, and
// keeps the order.
func TestDiskLying(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		key := []byte("term")
		d.SetLying(true)
		s := d.LogStore()
		must(t, s.StoreLogs(entries(1, 5)))
		must(t, s.DeleteRange(4, 5))
		must(t, d.StableStore().SetUint64(key, 1))
		time.Sleep(2 * lieTime)
		for i := uint64(4); i <= 6; i++ {
			must(t, s.StoreLogs(entries(i, i)))
			must(t, d.StableStore().SetUint64(key, i))
		}
		d.Crash()
		_, last := bounds(t, d.LogStore())
		term, err := d.StableStore().GetUint64(key)
		must(t, err)
		if last == 3 && term == 1 || last > 3 && (term == last || term == max(1, last-1) || last == 4 && term == 1) {
			seen[share(last-3, 3)]++
		} else {
			t.Errorf("the log ends with %d, the number is %d", last, term)
		}
	})
	seenAll(t, seen, "none", "part", "all")
}

// What is forgotten of a truncation is there again, and what was compacted stays so.
func TestDiskLyingDelete(t *testing.T) {
	seen := map[string]int{}
	onDisks(t, func(t *testing.T, d *Disk) {
		d.SetLying(true)
		s := d.LogStore()
		must(t, s.StoreLogs(entries(1, 9)))
		must(t, s.DeleteRange(1, 2)) // also makes everything before durable
		must(t, s.DeleteRange(6, 9))
		must(t, s.StoreLogs([]*raft.Log{{Index: 6, Term: 2}}))
		d.Crash()
		first, last := bounds(t, d.LogStore())
		var e raft.Log
		must(t, d.LogStore().GetLog(last, &e))
		how := fmt.Sprintf("%d to %d of term %d", first, last, e.Term)
		seen[how]++
	})
	seenAll(t, seen, "3 to 9 of term 1", "3 to 5 of term 1", "3 to 6 of term 2")
	if len(seen) != 3 {
		t.Errorf("outcomes %v", seen)
	}
}

// A process that ends takes nothing with it that was acknowledged, but its stores.
func TestDiskRetire(t *testing.T) {
	onDisks(t, func(t *testing.T, d *Disk) {
		d.SetLying(true)
		s := d.LogStore()
		must(t, s.StoreLogs(entries(1, 5)))
		d.retire()
		if err := s.StoreLogs(entries(6, 6)); err != ErrCrashed {
			t.Errorf("error %v", err)
		}
		expectBounds(t, d.LogStore(), 1, 5)
		if c := d.Counts(); !slices.Equal([]int{c.Crashes, c.Forgotten}, []int{0, 0}) {
			t.Errorf("counts %+v", c)
		}
	})
}
