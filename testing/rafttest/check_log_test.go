package rafttest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// faultyLog is a good log store but for what its functions do instead.
type faultyLog struct {
	raft.LogStore
	first, last func(raft.LogStore) (uint64, error)
	get         func(raft.LogStore, uint64, *raft.Log) error
	put         func(raft.LogStore, []*raft.Log) error
	remove      func(s raft.LogStore, min, max uint64) error
	monotonic   bool
	close       func() error
}

func (f *faultyLog) IsMonotonic() bool { return f.monotonic }

func (f *faultyLog) FirstIndex() (uint64, error) {
	if f.first != nil {
		return f.first(f.LogStore)
	}
	return f.LogStore.FirstIndex()
}

func (f *faultyLog) LastIndex() (uint64, error) {
	if f.last != nil {
		return f.last(f.LogStore)
	}
	return f.LogStore.LastIndex()
}

func (f *faultyLog) GetLog(index uint64, log *raft.Log) error {
	if f.get != nil {
		return f.get(f.LogStore, index, log)
	}
	return f.LogStore.GetLog(index, log)
}

func (f *faultyLog) StoreLog(log *raft.Log) error { return f.StoreLogs([]*raft.Log{log}) }

func (f *faultyLog) StoreLogs(logs []*raft.Log) error {
	if f.put != nil {
		return f.put(f.LogStore, logs)
	}
	return f.LogStore.StoreLogs(logs)
}

func (f *faultyLog) DeleteRange(min, max uint64) error {
	if f.remove != nil {
		return f.remove(f.LogStore, min, max)
	}
	return f.LogStore.DeleteRange(min, max)
}

func (f *faultyLog) Close() error {
	if f.close != nil {
		return f.close()
	}
	return nil
}

// reads is a store with something wrong in what it reads.
func reads(spoil func(*raft.Log)) faultyLog {
	return faultyLog{get: func(s raft.LogStore, index uint64, log *raft.Log) error {
		err := s.GetLog(index, log)
		if err == nil {
			spoil(log)
		}
		return err
	}}
}

var errFault = errors.New("no, thanks")

func TestCheckLogStoreFindsFaults(t *testing.T) {
	var faults []fault
	add := func(name string, f faultyLog, found map[string]string) *fault {
		open := durable(func() raft.LogStore {
			f := f
			f.LogStore = raft.NewInmemStore()
			return &f
		})
		faults = append(faults, fault{name: name, suite: logStoreSuite(open, &checkOptions{}), found: found})
		return &faults[len(faults)-1]
	}
	ends := func(s raft.LogStore) (first, last uint64) {
		first, _ = s.FirstIndex()
		last, _ = s.LastIndex()
		return first, last
	}

	add("another error for a missing entry", faultyLog{get: func(s raft.LogStore, index uint64, log *raft.Log) error {
		if err := s.GetLog(index, log); err != nil {
			return fmt.Errorf("wrapped: %w", err)
		}
		return nil
	}}, map[string]string{"EmptyStore": "want exactly ErrLogNotFound"})
	add("an empty store begins at 1", faultyLog{first: func(s raft.LogStore) (uint64, error) {
		first, err := s.FirstIndex()
		return max(first, 1), err
	}}, map[string]string{"EmptyStore": "FirstIndex is 1", "DeleteAll": "FirstIndex is 1"})
	add("no Extensions", reads(func(l *raft.Log) { l.Extensions = nil }), map[string]string{"EveryField": "Extensions is", "Sizes": "Extensions is"})
	add("no Type", reads(func(l *raft.Log) { l.Type = 0 }), map[string]string{"EveryField": "and type"})
	add("a Term of 32 bits", reads(func(l *raft.Log) { l.Term = uint64(uint32(l.Term)) }), map[string]string{"EveryField": "of term"})
	add("AppendedAt in seconds", reads(func(l *raft.Log) { l.AppendedAt = l.AppendedAt.Truncate(time.Second) }), map[string]string{"EveryField": "AppendedAt is"})
	add("a zero AppendedAt as of 1970", reads(func(l *raft.Log) {
		if l.AppendedAt.IsZero() {
			l.AppendedAt = time.Unix(0, 0)
		}
	}), map[string]string{"EveryField": "AppendedAt is 1970"})
	add("Data of up to 64 KiB", reads(func(l *raft.Log) { l.Data = l.Data[:min(len(l.Data), 1<<16)] }), map[string]string{"Sizes": "(65536 bytes), want"})
	add("a large entry is refused", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		for _, l := range logs {
			if len(l.Data) > 1<<20 {
				return errFault
			}
		}
		return s.StoreLogs(logs)
	}}, map[string]string{"Sizes": "no, thanks"})
	add("the last of a large batch is lost", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		return s.StoreLogs(logs[:min(len(logs), 999)])
	}}, map[string]string{"Batches": "LastIndex is 1000", "DeleteMany": "StoreLogs 1 to 3000"})
	add("an empty batch is an error", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		if len(logs) == 0 {
			return errFault
		}
		return s.StoreLogs(logs)
	}}, map[string]string{"Batches": "StoreLogs(nil)"})
	add("single entries are lost", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		if len(logs) == 1 {
			return nil
		}
		return s.StoreLogs(logs)
	}}, map[string]string{"OneByOne": "LastIndex is 0"})
	add("DeleteRange does not include max", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		return s.DeleteRange(min, max-1)
	}}, map[string]string{"DeletePrefix": "FirstIndex is 1, error <nil>, want 2", "DeleteSuffix": "LastIndex is 20", "DeleteAll": "FirstIndex is 20", "DeleteMany": "FirstIndex is 2000"})
	add("a suffix is not deleted", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		if first, last := ends(s); min > first && max >= last {
			return nil
		}
		return s.DeleteRange(min, max)
	}}, map[string]string{"ReplaceSuffix": "LastIndex is 10", "DeleteSuffix": "LastIndex is 20", "RandomOperations": "LastIndex is"})
	add("a prefix is not deleted", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		if first, last := ends(s); min <= first && max < last {
			return nil
		}
		return s.DeleteRange(min, max)
	}}, map[string]string{"DeletePrefix": "FirstIndex is 1", "ReadersBesideAWriter": "FirstIndex"})
	add("not all can be deleted", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		_, last := ends(s)
		return s.DeleteRange(min, slices.Min([]uint64{max, last - 1}))
	}}, map[string]string{"DeleteAll": "LastIndex is 20", "StartElsewhere": "LastIndex is"})
	add("a range beyond the end is refused", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		if _, last := ends(s); max > last {
			return errFault
		}
		return s.DeleteRange(min, max)
	}}, map[string]string{"DeleteBeyondTheEnds": "no, thanks", "DeleteNothing": "no, thanks"})
	add("an empty range is taken for another", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		return s.DeleteRange(slices.Min([]uint64{min, max}), slices.Max([]uint64{min, max}))
	}}, map[string]string{"DeleteNothing": "GetLog(7): log not found"})
	add("large ranges are deleted in part", faultyLog{remove: func(s raft.LogStore, min, max uint64) error {
		return s.DeleteRange(min, slices.Min([]uint64{max, min + 999}))
	}}, map[string]string{"DeleteMany": "FirstIndex is 1001"})
	add("an emptied store starts at 1 only", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		if _, last := ends(s); last == 0 && len(logs) > 0 && logs[0].Index != 1 {
			return errFault
		}
		return s.StoreLogs(logs)
	}}, map[string]string{"StartElsewhere": "no, thanks"})
	add("existing entries stay", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		_, last := ends(s)
		return s.StoreLogs(slices.DeleteFunc(slices.Clone(logs), func(l *raft.Log) bool { return l.Index <= last }))
	}}, map[string]string{"Overwrite": "GetLog(3): is entry 3 of term 1"})
	add("an overwritten entry takes those behind it along", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		if _, last := ends(s); len(logs) > 0 {
			_ = s.DeleteRange(logs[0].Index, last)
		}
		return s.StoreLogs(logs)
	}}, map[string]string{"Overwrite": "LastIndex is 4"})
	add("a gap is refused", faultyLog{put: func(s raft.LogStore, logs []*raft.Log) error {
		if _, last := ends(s); last != 0 && len(logs) > 0 && logs[0].Index > last+1 {
			return errFault
		}
		return s.StoreLogs(logs)
	}}, map[string]string{"Gap": "no, thanks"})
	add("a monotonic store has a gap", faultyLog{monotonic: true}, map[string]string{"Gap": "the store took the entries 5 to 6"})
	add("a monotonic store stores what comes before the gap", faultyLog{monotonic: true, put: func(s raft.LogStore, logs []*raft.Log) error {
		for _, l := range logs {
			if _, last := ends(s); last != 0 && l.Index != last+1 {
				return errFault
			}
			_ = s.StoreLog(l)
		}
		return nil
	}}, map[string]string{"Gap": "LastIndex is 4"})
	add("GetLog leaves the Log's empty fields as they are", faultyLog{get: func(s raft.LogStore, index uint64, log *raft.Log) error {
		var e raft.Log
		err := s.GetLog(index, &e)
		if err != nil {
			return err
		}
		if len(e.Data) == 0 {
			e.Data = log.Data
		}
		if e.AppendedAt.IsZero() {
			e.AppendedAt = log.AppendedAt
		}
		*log = e
		return nil
	}}, map[string]string{"ReusedLog": "Data is"})
	add("GetLog uses the Log's memory", faultyLog{get: func(s raft.LogStore, index uint64, log *raft.Log) error {
		room := log.Data
		err := s.GetLog(index, log)
		if err == nil {
			log.Data = append(room[:0], log.Data...)
		}
		return err
	}}, map[string]string{"ReusedLogKeepsData": "has written into the slice"})
	// What goes wrong while entries are written only.
	beside := func(name string, f func(busy func() bool) faultyLog, found string) {
		var writing atomic.Bool
		faulty := f(writing.Load)
		faulty.put = func(s raft.LogStore, logs []*raft.Log) error {
			writing.Store(true)
			defer writing.Store(false)
			time.Sleep(time.Millisecond)
			return s.StoreLogs(logs)
		}
		add(name, faulty, map[string]string{"ReadersBesideAWriter": found})
	}
	beside("no entry is read while one is written", func(busy func() bool) faultyLog {
		return faultyLog{get: func(s raft.LogStore, index uint64, log *raft.Log) error {
			if busy() {
				return raft.ErrLogNotFound
			}
			return s.GetLog(index, log)
		}}
	}, "of an entry that is stored: log not found")
	beside("entries are torn while one is written", func(busy func() bool) faultyLog {
		return faultyLog{get: func(s raft.LogStore, index uint64, log *raft.Log) error {
			err := s.GetLog(index, log)
			if busy() && err == nil {
				log.Data = log.Data[:1]
			}
			return err
		}}
	}, "beside a writer: Data is")
	beside("LastIndex is 0 while entries are written", func(busy func() bool) faultyLog {
		return faultyLog{last: func(s raft.LogStore) (uint64, error) {
			if busy() {
				return 0, nil
			}
			return s.LastIndex()
		}}
	}, "LastIndex beside a writer is 0")
	beside("FirstIndex is 1 while entries are written", func(busy func() bool) faultyLog {
		return faultyLog{first: func(s raft.LogStore) (uint64, error) {
			if busy() {
				return 1, nil
			}
			return s.FirstIndex()
		}}
	}, "FirstIndex beside a writer is 1")
	add("a panic", faultyLog{last: func(raft.LogStore) (uint64, error) { panic("oops") }}, map[string]string{"EmptyStore": "panic: oops", "ReadersBesideAWriter": "panic: oops"})
	released := make(chan struct{})
	hang := add("a hang", faultyLog{last: func(raft.LogStore) (uint64, error) {
		<-released
		return 0, nil
	}}, map[string]string{"EmptyStore": "a call has not returned"})
	hang.limit, hang.release = 100*time.Millisecond, func() { close(released) }
	add("Close fails", faultyLog{close: func() error { return errFault }}, map[string]string{"EmptyStore": "Close: no, thanks"})

	kept := map[string]*keptSlices{}
	faults = append(faults,
		fault{
			name: "the slice is kept",
			suite: logStoreSuite(func(dir string) (raft.LogStore, error) {
				if kept[dir] == nil {
					kept[dir] = &keptSlices{LogStore: raft.NewInmemStore()}
				}
				return kept[dir], nil
			}, &checkOptions{}),
			found: map[string]string{"CallersSlice": "panic"},
		},
		fault{
			name:  "nothing survives",
			suite: logStoreSuite(func(string) (raft.LogStore, error) { return raft.NewInmemStore(), nil }, &checkOptions{}),
			found: map[string]string{"EveryField": "reopened: LastIndex is 0", "RandomOperations": "reopened"},
		},
		fault{
			name:  "open fails",
			suite: logStoreSuite(func(string) (raft.LogStore, error) { return nil, errFault }, &checkOptions{}),
			found: map[string]string{"EmptyStore": "open: no, thanks"},
		},
	)
	testFaults(t, faults)
}

// keptSlices takes its entries from the slice that StoreLogs got.
type keptSlices struct {
	raft.LogStore
	slices [][]*raft.Log
}

func (k *keptSlices) StoreLogs(logs []*raft.Log) error {
	k.slices = append(k.slices, logs)
	return k.LogStore.StoreLogs(logs)
}

func (k *keptSlices) GetLog(index uint64, log *raft.Log) error {
	for _, s := range k.slices {
		for _, l := range s {
			if l.Index == index {
				*log = *l
				return nil
			}
		}
	}
	return raft.ErrLogNotFound
}

// commitLog is a durable CommitTrackingLogStore with faults.
type commitLog struct {
	*raft.InmemStore
	staged, commit uint64

	atOnce    bool // a staged index is durable without entries
	never     bool // it never is
	forgetful bool // it goes with the next entries
}

func (c *commitLog) StageCommitIndex(index uint64) error {
	c.staged = index
	if c.atOnce {
		c.commit = index
	}
	return nil
}

func (c *commitLog) StoreLogs(logs []*raft.Log) error {
	if !c.never && (c.staged > 0 || c.forgetful) {
		c.commit = c.staged
	}
	c.staged = 0
	return c.InmemStore.StoreLogs(logs)
}

func (c *commitLog) GetCommitIndex() (uint64, error) { return c.commit, nil }

func TestCheckLogStoreFindsFaultsOfTheCommitIndex(t *testing.T) {
	var faults []fault
	add := func(name string, c commitLog, found map[string]string) {
		open := durable(func() raft.LogStore {
			c := c
			c.InmemStore = raft.NewInmemStore()
			return &c
		})
		faults = append(faults, fault{name: name, suite: logStoreSuite(open, &checkOptions{}), found: found})
	}
	add("durable without entries", commitLog{atOnce: true}, map[string]string{"CommitIndexWithoutEntries": "GetCommitIndex is 6"})
	add("never durable", commitLog{never: true}, map[string]string{"CommitIndex": "GetCommitIndex is 0, error <nil>, want 7"})
	add("forgotten with the next entries", commitLog{forgetful: true}, map[string]string{"CommitIndex": "StoreLogs 10 to 12: GetCommitIndex is 0"})
	testFaults(t, faults)
}

// rangesLog is a store with faults in ReadLogs.
type rangesLog struct {
	*raft.InmemStore
	read func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error
}

func (r *rangesLog) ReadsLogsOf() raft.LogStore { return r }

func (r *rangesLog) ReadLogs(first, last uint64, visit func(*raft.Log) bool) error {
	return r.read(r.InmemStore, first, last, visit)
}

func TestCheckLogStoreFindsFaultsOfRanges(t *testing.T) {
	var faults []fault
	add := func(name string, found map[string]string, read func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error) {
		open := durable(func() raft.LogStore { return &rangesLog{raft.NewInmemStore(), read} })
		faults = append(faults, fault{name: name, suite: logStoreSuite(open, &checkOptions{}), found: found})
	}
	add("a gap is no error", map[string]string{"Ranges": "returns error <nil> (<nil>) at the missing entry 1"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		if err := raft.ReadLogs(s, first, last, visit); err != raft.ErrLogNotFound {
			return err
		}
		return nil
	})
	add("another error at a gap", map[string]string{"Ranges": "want exactly ErrLogNotFound", "EveryField": "want exactly ErrLogNotFound"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		if err := raft.ReadLogs(s, first, last, visit); err != nil {
			return fmt.Errorf("wrapped: %w", err)
		}
		return nil
	})
	add("a gap is left out", map[string]string{"Ranges": "returns error <nil> (<nil>) at the missing entry 1"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		if s.GetLog(first, new(raft.Log)) != nil {
			first++
		}
		return raft.ReadLogs(s, first, last, visit)
	})
	add("last is not included", map[string]string{"Ranges": "returns error <nil> (<nil>) at the missing entry 1"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		if first > last {
			return nil
		}
		return raft.ReadLogs(s, first, last-1, visit)
	})
	add("it goes on beyond last", map[string]string{"Ranges": "returns entry 6, which should not be there"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		if first > last {
			return nil
		}
		return raft.ReadLogs(s, first, last+1, visit)
	})
	add("it goes on when it should not", map[string]string{"Ranges": "though visit has returned false"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		return raft.ReadLogs(s, first, last, func(l *raft.Log) bool {
			visit(l)
			return true
		})
	})
	add("an empty range fails", map[string]string{"Ranges": "no, thanks"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		if first > last {
			return errFault
		}
		return raft.ReadLogs(s, first, last, visit)
	})
	add("no Extensions", map[string]string{"EveryField": "Extensions is", "RandomOperations": "Extensions is"}, func(s raft.LogStore, first, last uint64, visit func(*raft.Log) bool) error {
		return raft.ReadLogs(s, first, last, func(l *raft.Log) bool {
			e := *l
			e.Extensions = nil
			return visit(&e)
		})
	})
	testFaults(t, faults)
}
