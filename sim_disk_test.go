package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// simDisk is LogStore, StableStore and SnapshotStore of a simulated node. What a
// method has returned nil for is durable: a crash loses only the batch that has not
// been carried out, or the rest of one.
type simDisk struct {
	first   uint64 // of entries, if there are any
	entries []*Log
	values  map[string][]byte
	numbers map[string]uint64
	snaps   []*simSnapshot // oldest first
	made    int            // snapshots, ever

	// fail, if not nil, is asked before each write; an error is what the write
	// returns. It may crash the node.
	fail func(op string) error

	// spill, if not nil, is how many of n entries end up on the disk when storing
	// them fails.
	spill func(n int) int

	// watch, if not nil, is told of what is on the disk now.
	watch diskWatch

	monotonic bool
}

// diskWatch is told of changes of a disk.
type diskWatch interface {
	storedEntry(e *Log)
	setNumber(key string, v uint64)
}

func newSimDisk() *simDisk {
	return &simDisk{values: map[string][]byte{}, numbers: map[string]uint64{}}
}

func (d *simDisk) check(op string) error {
	if d.fail == nil {
		return nil
	}
	return d.fail(op)
}

func (d *simDisk) IsMonotonic() bool { return d.monotonic }

func (d *simDisk) FirstIndex() (uint64, error) {
	i := slices.IndexFunc(d.entries, func(e *Log) bool { return e != nil })
	if i < 0 {
		return 0, nil
	}
	return d.first + uint64(i), nil
}

func (d *simDisk) LastIndex() (uint64, error) {
	if len(d.entries) == 0 {
		return 0, nil
	}
	return d.first + uint64(len(d.entries)) - 1, nil
}

// entry returns an entry, nil if there is none.
func (d *simDisk) entry(i uint64) *Log {
	if len(d.entries) == 0 || i < d.first || i >= d.first+uint64(len(d.entries)) {
		return nil
	}
	return d.entries[i-d.first]
}

func (d *simDisk) GetLog(i uint64, l *Log) error {
	e := d.entry(i)
	if e == nil {
		return ErrLogNotFound
	}
	*l = *e
	return nil
}

// ReadLogs spoils each entry once it has been visited: nobody may have kept it.
func (d *simDisk) ReadLogs(first, last uint64, visit func(*Log) bool) error {
	for i := first; i <= last; i++ {
		e := new(Log)
		if err := d.GetLog(i, e); err != nil {
			return err
		}
		e.Data = bytes.Clone(e.Data)
		more := visit(e)
		clear(e.Data)
		e.Index, e.Term, e.Type = 0, 0, 0
		if !more {
			break
		}
	}
	return nil
}

func (d *simDisk) ReadsLogsOf() LogStore { return d }

func (d *simDisk) StoreLog(l *Log) error { return d.StoreLogs([]*Log{l}) }

func (d *simDisk) StoreLogs(logs []*Log) error {
	err := d.check("store")
	if err != nil && d.spill != nil {
		logs = logs[:d.spill(len(logs))]
	} else if err != nil {
		return err
	}
	if e := d.put(logs); err == nil {
		err = e
	}
	return err
}

func (d *simDisk) put(logs []*Log) error {
	for _, e := range logs {
		if len(d.entries) == 0 {
			d.first = e.Index
		}
		if e.Index < d.first {
			return fmt.Errorf("sim: storing %d below the first entry %d", e.Index, d.first)
		}
		if d.monotonic && e.Index != d.first+uint64(len(d.entries)) {
			return fmt.Errorf("sim: storing %d behind entry %d", e.Index, d.first+uint64(len(d.entries))-1)
		}
		for d.first+uint64(len(d.entries)) <= e.Index {
			d.entries = append(d.entries, nil) // a gap, until it is filled
		}
		c := *e
		d.entries[e.Index-d.first] = &c
		if d.watch != nil {
			d.watch.storedEntry(&c)
		}
	}
	return nil
}

func (d *simDisk) DeleteRange(lo, hi uint64) error {
	if err := d.check("delete"); err != nil {
		return err
	}
	for i := lo; i <= hi; i++ {
		if d.entry(i) != nil {
			d.entries[i-d.first] = nil
		}
	}
	for len(d.entries) > 0 && d.entries[len(d.entries)-1] == nil {
		d.entries = d.entries[:len(d.entries)-1]
	}
	for len(d.entries) > 0 && d.entries[0] == nil {
		d.entries, d.first = d.entries[1:], d.first+1
	}
	return nil
}

func (d *simDisk) Set(k, v []byte) error {
	if err := d.check("set"); err != nil {
		return err
	}
	d.values[string(k)] = bytes.Clone(v)
	return nil
}

func (d *simDisk) Get(k []byte) ([]byte, error) { return d.values[string(k)], nil }

func (d *simDisk) SetUint64(k []byte, v uint64) error {
	if err := d.check("set"); err != nil {
		return err
	}
	d.numbers[string(k)] = v
	if d.watch != nil {
		d.watch.setNumber(string(k), v)
	}
	return nil
}

func (d *simDisk) GetUint64(k []byte) (uint64, error) { return d.numbers[string(k)], nil }

// simSnapshot is one snapshot. It counts once it is closed.
type simSnapshot struct {
	disk *simDisk
	meta SnapshotMeta
	buf  bytes.Buffer
	over bool
}

func (d *simDisk) Create(v SnapshotVersion, index, term uint64, c Configuration, ci uint64, _ Transport) (SnapshotSink, error) {
	if err := d.check("create"); err != nil {
		return nil, err
	}
	d.made++
	id := fmt.Sprintf("%d-%d-%d", term, index, d.made)
	return &simSnapshot{disk: d, meta: SnapshotMeta{Version: v, ID: id, Index: index, Term: term, Configuration: c.Clone(), ConfigurationIndex: ci}}, nil
}

func (s *simSnapshot) ID() string                  { return s.meta.ID }
func (s *simSnapshot) Write(b []byte) (int, error) { return s.buf.Write(b) }

func (s *simSnapshot) Cancel() error {
	s.over = true
	return nil
}

func (s *simSnapshot) Close() error {
	if s.over {
		return nil
	}
	s.over = true
	if err := s.disk.check("close"); err != nil {
		return err
	}
	s.meta.Size = int64(s.buf.Len())
	s.disk.snaps = append(s.disk.snaps, s)
	slices.SortStableFunc(s.disk.snaps, func(a, b *simSnapshot) int {
		if a.meta.Term != b.meta.Term {
			return int(a.meta.Term) - int(b.meta.Term)
		}
		return int(a.meta.Index) - int(b.meta.Index)
	})
	if n := len(s.disk.snaps); n > 2 {
		s.disk.snaps = s.disk.snaps[n-2:]
	}
	return nil
}

func (d *simDisk) List() ([]*SnapshotMeta, error) {
	var metas []*SnapshotMeta
	for i := len(d.snaps) - 1; i >= 0; i-- {
		m := d.snaps[i].meta
		metas = append(metas, &m)
	}
	return metas, nil
}

func (d *simDisk) Open(id string) (*SnapshotMeta, io.ReadCloser, error) {
	for _, s := range d.snaps {
		if s.meta.ID == id {
			m := s.meta
			return &m, io.NopCloser(bytes.NewReader(s.buf.Bytes())), nil
		}
	}
	return nil, nil, errors.New("sim: no such snapshot")
}

// simBatchStable is a simDisk that writes several values in one step.
type simBatchStable struct{ *simDisk }

func (d simBatchStable) SetAll(values []StableValue) error {
	if err := d.check("set"); err != nil {
		return err
	}
	for _, v := range values {
		if v.Bytes != nil {
			d.values[string(v.Key)] = bytes.Clone(v.Bytes)
		} else {
			d.numbers[string(v.Key)] = v.Number
		}
	}
	for _, v := range values {
		if v.Bytes == nil && d.watch != nil {
			d.watch.setNumber(string(v.Key), v.Number)
		}
	}
	return nil
}

// simTracking is a simDisk that keeps the commit index beside the entries.
type simTracking struct {
	*simDisk
	staged, commit uint64
}

func (d *simTracking) StageCommitIndex(i uint64) error {
	d.staged = i
	return nil
}

func (d *simTracking) GetCommitIndex() (uint64, error) { return d.commit, nil }

func (d *simTracking) StoreLogs(logs []*Log) error {
	err := d.simDisk.StoreLogs(logs)
	if err == nil {
		d.commit = d.staged
	}
	return err
}
