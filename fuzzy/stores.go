package fuzzy

import (
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file is the stores of the clusters. They are in memory, under the Disk of
// rafttest: what they are told is what has reached the disk.

// makeStores returns empty stores of a server. With batches the stable store takes
// several values in one step; without them a crash may come between two.
func (w *watch) makeStores(server raft.ServerID, batches bool) rafttest.Stores {
	logs := &logStore{InmemCommitTrackingStore: raft.NewInmemCommitTrackingStore(), watch: w, disk: w.open(server)}
	s := rafttest.Stores{
		Logs:      struct{ raft.CommitTrackingLogStore }{logs}, // and no stable store
		Stable:    &stableStore{StableStore: raft.NewInmemStore(), watch: w, disk: logs.disk},
		Snapshots: &snapshotStore{SnapshotStore: raft.NewInmemSnapshotStore(), watch: w, disk: logs.disk},
	}
	if batches {
		s.Stable = batchStore{s.Stable.(*stableStore)}
	}
	return s
}

type logStore struct {
	*raft.InmemCommitTrackingStore
	*watch
	disk *disk
}

func (s *logStore) StoreLog(e *raft.Log) error { return s.StoreLogs([]*raft.Log{e}) }

func (s *logStore) StoreLogs(entries []*raft.Log) error {
	err := s.InmemCommitTrackingStore.StoreLogs(entries)
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last := entries[0], entries[len(entries)-1]
	s.happened(s.disk, "store", id{first.Index, first.Term}, id{last.Index, last.Term})
	for _, e := range entries {
		s.stored(s.disk, e)
	}
	return err
}

// stored sees an entry on a disk.
func (w *watch) stored(d *disk, e *raft.Log) {
	if e.Term > d.term {
		w.fail(entryBeforeTerm, "%s stores %d@%d in term %d", d.server, e.Index, e.Term, d.term)
	}
	base, isBased := d.bases[e.Index-1] // not the newest snapshot if that has joined what is on its way here
	if d.last != 0 && e.Index > d.last+1 && !isBased {
		w.fail(gap, "%s stores %d@%d, its log ends at %d and its snapshot is %v", d.server, e.Index, e.Term, d.last, d.snapshot)
	}
	if old := d.log[e.Index]; old != nil && old.term != e.Term {
		w.dropped(d, old)
	}
	prev := d.log[e.Index-1]
	if prev == nil && isBased {
		prev = w.facts[base]
	}
	f := w.note(e, prev)
	f.held |= w.bit(d.server)
	d.log[e.Index], d.last = f, e.Index
}

// dropped sees an entry leave a disk. A committed one may do so if a majority has it
// without this disk: it was there, but never acknowledged.
func (w *watch) dropped(d *disk, f *fact) {
	if f.index <= d.snapshot.index {
		return
	}
	f.held &^= w.bit(d.server)
	if w.isCommitted(f.id) {
		w.isKept(f)
	}
}

func (s *logStore) DeleteRange(lo, hi uint64) error {
	err := s.InmemCommitTrackingStore.DeleteRange(lo, hi)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.happened(s.disk, "delete", id{index: lo}, id{index: hi})
	for i := lo; i <= min(hi, s.disk.last); i++ {
		if f := s.disk.log[i]; f != nil {
			s.dropped(s.disk, f)
			delete(s.disk.log, i)
		}
	}
	if hi >= s.disk.last && lo <= s.disk.last {
		s.disk.last = lo - 1
	}
	return err
}

type stableStore struct {
	raft.StableStore
	*watch
	disk *disk
}

func (s *stableStore) Set(key, value []byte) error {
	err := s.StableStore.Set(key, value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(key) == "LastVoteCand" {
		s.disk.candidate = string(value)
	}
	return err
}

func (s *stableStore) SetUint64(key []byte, value uint64) error {
	err := s.StableStore.SetUint64(key, value)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(key) {
	case "CurrentTerm":
		if value < s.disk.term {
			s.fail(termFell, "on the disk of %s from %d to %d", s.disk.server, s.disk.term, value)
		}
		s.disk.term = value
	case "LastVoteTerm":
		s.voted(s.disk, value)
	}
	return err
}

// voted sees a vote on a disk.
func (w *watch) voted(d *disk, term uint64) {
	if before, ok := d.votes[term]; ok && before != d.candidate {
		w.fail(secondVote, "%s votes for %s and then for %s in term %d", d.server, before, d.candidate, term)
	}
	d.votes[term] = d.candidate
	w.votes[ballot{d.server, term}] = raft.ServerAddress(d.candidate)
}

// batchStore is a stableStore that takes several values in one step.
type batchStore struct{ *stableStore }

func (s batchStore) SetAll(values []raft.StableValue) error {
	for _, v := range values {
		var err error
		if v.Bytes != nil {
			err = s.Set(v.Key, v.Bytes)
		} else {
			err = s.SetUint64(v.Key, v.Number)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type snapshotStore struct {
	raft.SnapshotStore
	*watch
	disk *disk
}

func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	return &snapshotSink{sink, s, id{index, term}, configuration.Servers}, err
}

type snapshotSink struct {
	raft.SnapshotSink
	store   *snapshotStore
	at      id
	members []raft.Server
}

func (s *snapshotSink) Close() error {
	err := s.SnapshotSink.Close()
	w, d := s.store.watch, s.store.disk
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		d.bases[s.at.index] = s.at // of an older one, too: a newer that has arrived may have been given up
	}
	if err == nil && s.at.index >= d.snapshot.index {
		w.happened(d, "snapshot", s.at, s.at)
		w.isTrue(d.server, s.at)
		d.snapshot, d.members = s.at, s.members
	}
	return err
}
