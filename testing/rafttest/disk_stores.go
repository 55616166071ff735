package rafttest

import "github.com/hashicorp/raft"

// This file is the log store and the stable store that a server on a Disk gets.

// LogStore returns the log store, for use until the next crash.
func (d *Disk) LogStore() raft.LogStore {
	s := &diskLogs{disk: d, boot: d.present()}
	store := s.extended()
	if _, ok := readsRanges(d.logs); ok {
		s.ranges = store
	}
	return store
}

// extended returns s with the extensions that the store under it has.
func (s *diskLogs) extended() raft.LogStore {
	monotonic, isMonotonic := s.disk.logs.(raft.MonotonicLogStore)
	tracker, isTracker := s.disk.logs.(raft.CommitTrackingLogStore)
	commits := diskCommits{s, tracker}
	switch {
	case isMonotonic && isTracker:
		return struct {
			*diskLogs
			diskCommits
			raft.MonotonicLogStore
		}{s, commits, monotonic}
	case isMonotonic:
		return struct {
			*diskLogs
			raft.MonotonicLogStore
		}{s, monotonic}
	case isTracker:
		return struct {
			*diskLogs
			diskCommits
		}{s, commits}
	default:
		return s
	}
}

// StableStore returns the stable store, for use until the next crash.
func (d *Disk) StableStore() raft.StableStore {
	s := &diskStable{disk: d, boot: d.present()}
	if batch, ok := d.stable.(raft.BatchStableStore); ok {
		return struct {
			*diskStable
			diskBatches
		}{s, diskBatches{s, batch}}
	}
	return s
}

func (d *Disk) present() *boot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.boot
}

type diskLogs struct {
	disk   *Disk
	boot   *boot
	ranges raft.LogStore // the store that has these methods, nil if the one below reads no ranges
}

func (s *diskLogs) FirstIndex() (index uint64, err error) {
	err = s.disk.read(s.boot, func() (err error) {
		index, err = s.disk.logs.FirstIndex()
		return err
	})
	return index, err
}

func (s *diskLogs) LastIndex() (index uint64, err error) {
	err = s.disk.read(s.boot, func() (err error) {
		index, err = s.disk.logs.LastIndex()
		return err
	})
	return index, err
}

func (s *diskLogs) GetLog(index uint64, log *raft.Log) error {
	return s.disk.read(s.boot, func() error { return s.disk.logs.GetLog(index, log) })
}

func (s *diskLogs) ReadLogs(first, last uint64, visit func(*raft.Log) bool) error {
	return s.disk.read(s.boot, func() error { return raft.ReadLogs(s.disk.logs, first, last, visit) })
}

func (s *diskLogs) ReadsLogsOf() raft.LogStore { return s.ranges }

func (s *diskLogs) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *diskLogs) StoreLogs(logs []*raft.Log) error {
	return s.write(&write{
		do: func(f fraction) (int, int, error) {
			n := f.of(len(logs))
			return n, len(logs), s.store(logs[:n], n == len(logs))
		},
		prepare: func() func() { return s.beforeStore(logs) },
	})
}

// store writes entries, and the staged commit index if they are all that there are:
// it may be above what only some of them reach.
func (s *diskLogs) store(logs []*raft.Log, all bool) error {
	commit := s.boot.staged.Swap(0)
	if !all {
		if len(logs) == 0 {
			return nil
		}
		return s.disk.logs.StoreLogs(logs)
	}
	if commit > 0 {
		if err := s.disk.logs.(raft.CommitTrackingLogStore).StageCommitIndex(commit); err != nil {
			return err
		}
	}
	return s.disk.logs.StoreLogs(logs)
}

// beforeStore returns what takes back that entries are stored.
func (s *diskLogs) beforeStore(logs []*raft.Log) (revert func()) {
	if len(logs) == 0 {
		return func() {}
	}
	lo, hi := logs[0].Index, logs[len(logs)-1].Index
	before := s.entries(lo, hi)
	return func() {
		_ = s.disk.logs.DeleteRange(lo, hi) // a crash has nobody to report to
		_ = s.disk.logs.StoreLogs(before)
	}
}

// DeleteRange is done in part so that no gap is left: from the end of the log on if it
// reaches that, else from its beginning. A deletion of the whole log may be one of all
// that contradicts a leader, of which the end must not stay.
func (s *diskLogs) DeleteRange(lo, hi uint64) error {
	w := &write{do: func(f fraction) (int, int, error) { return s.delete(lo, hi, f) }}
	if s.reachesEnd(hi) {
		w.prepare = func() func() {
			before := s.entries(lo, hi)
			return func() { _ = s.disk.logs.StoreLogs(before) }
		}
	}
	return s.write(w)
}

func (s *diskLogs) delete(lo, hi uint64, f fraction) (done, total int, err error) {
	if f == 1 {
		return 1, 1, s.disk.logs.DeleteRange(lo, hi)
	}
	first, err := s.disk.logs.FirstIndex()
	if err != nil {
		return 0, 0, err
	}
	last, err := s.disk.logs.LastIndex()
	if err != nil {
		return 0, 0, err
	}
	from, to := max(lo, first), min(hi, last)
	if from > to || last == 0 {
		return 0, 0, nil
	}
	total = int(to - from + 1)
	if done = f.of(total); done == 0 {
		return 0, total, nil
	}
	if hi < last {
		to = from + uint64(done) - 1
	} else {
		from = to - uint64(done) + 1
	}
	return done, total, s.disk.logs.DeleteRange(from, to)
}

// reachesEnd reports whether a deletion up to hi is one of the log's end.
func (s *diskLogs) reachesEnd(hi uint64) bool {
	last, err := s.LastIndex()
	return err == nil && hi >= last
}

// entries returns the entries of a range that there are.
func (s *diskLogs) entries(lo, hi uint64) []*raft.Log {
	var found []*raft.Log
	for i := lo; i <= hi; i++ {
		var e raft.Log
		if s.disk.logs.GetLog(i, &e) == nil {
			found = append(found, &e)
		}
	}
	return found
}

func (s *diskLogs) write(w *write) error {
	return s.disk.write(s.boot, w, &s.disk.counts.LogWrites)
}

// diskCommits is the commit index that a log store keeps.
type diskCommits struct {
	logs  *diskLogs
	store raft.CommitTrackingLogStore
}

// StageCommitIndex keeps the index until entries are stored: of a store under it
// that makes it durable at once the crash would show more than was written.
func (c diskCommits) StageCommitIndex(index uint64) error {
	return c.logs.disk.read(c.logs.boot, func() error {
		c.logs.boot.staged.Store(index)
		return nil
	})
}

func (c diskCommits) GetCommitIndex() (index uint64, err error) {
	err = c.logs.disk.read(c.logs.boot, func() (err error) {
		index, err = c.store.GetCommitIndex()
		return err
	})
	return index, err
}

type diskStable struct {
	disk *Disk
	boot *boot
}

func (s *diskStable) Get(key []byte) (value []byte, err error) {
	err = s.disk.read(s.boot, func() (err error) {
		value, err = s.disk.stable.Get(key)
		return err
	})
	return value, err
}

func (s *diskStable) GetUint64(key []byte) (value uint64, err error) {
	err = s.disk.read(s.boot, func() (err error) {
		value, err = s.disk.stable.GetUint64(key)
		return err
	})
	return value, err
}

func (s *diskStable) Set(key, value []byte) error {
	return s.write(func() error { return s.disk.stable.Set(key, value) }, raft.StableValue{Key: key, Bytes: value})
}

func (s *diskStable) SetUint64(key []byte, value uint64) error {
	return s.write(func() error { return s.disk.stable.SetUint64(key, value) }, raft.StableValue{Key: key, Number: value})
}

// write does all or nothing.
func (s *diskStable) write(do func() error, values ...raft.StableValue) error {
	return s.disk.write(s.boot, &write{
		do:      whole(do),
		stable:  true,
		prepare: func() func() { return s.before(values) },
	}, &s.disk.counts.StableWrites)
}

// before returns what takes back that values are set. What was not there becomes
// empty: a store forgets no key.
func (s *diskStable) before(values []raft.StableValue) (revert func()) {
	var old []func() error
	for _, v := range values {
		if v.Bytes != nil {
			value, _ := s.disk.stable.Get(v.Key) // an error means that it is not there
			old = append(old, func() error { return s.disk.stable.Set(v.Key, value) })
		} else {
			value, _ := s.disk.stable.GetUint64(v.Key)
			old = append(old, func() error { return s.disk.stable.SetUint64(v.Key, value) })
		}
	}
	return func() {
		for _, f := range old {
			_ = f() // a crash has nobody to report to
		}
	}
}

// diskBatches is a stable store that takes batches.
type diskBatches struct {
	stable *diskStable
	store  raft.BatchStableStore
}

func (b diskBatches) SetAll(values []raft.StableValue) error {
	return b.stable.write(func() error { return b.store.SetAll(values) }, values...)
}
