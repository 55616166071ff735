package main

import (
	"fmt"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// A disk is raft's append thread: it saves entries and the hard state, one save for
// all that came during the last one, and delivers the responses afterwards.
type disk struct {
	appends *mailbox[raftpb.Message]
	deliver func(...raftpb.Message)
	memory  *raft.MemoryStorage
	flushes atomic.Uint64

	// Owned by run.
	log     *wal.WAL
	state   raftpb.HardState // the last one saved
	entries []raftpb.Entry   // of one save
}

// createDisk makes a log in dir that begins behind start, and puts start into memory.
func createDisk(dir string, start raftpb.Snapshot, deliver func(...raftpb.Message)) (*disk, error) {
	log, err := wal.Create(zap.NewNop(), dir, nil)
	if err != nil {
		return nil, fmt.Errorf("create the WAL: %w", err)
	}
	at := start.Metadata
	mark := walpb.Snapshot{Index: at.Index, Term: at.Term, ConfState: &at.ConfState}
	state := raftpb.HardState{Term: at.Term, Commit: at.Index}
	memory := raft.NewMemoryStorage()
	for _, step := range []func() error{
		func() error { return log.SaveSnapshot(mark) },
		func() error { return log.Save(state, nil) },
		func() error { return memory.ApplySnapshot(start) },
		func() error { return memory.SetHardState(state) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("write the beginning of the log: %w", err)
		}
	}
	return &disk{
		appends: newMailbox[raftpb.Message](),
		deliver: deliver,
		memory:  memory,
		log:     log,
		state:   state,
	}, nil
}

// run saves until stopping is closed.
func (d *disk) run(stopping <-chan struct{}) error {
	var appends []raftpb.Message
	for {
		select {
		case <-stopping:
			return nil
		case <-d.appends.ready:
		}
		appends = d.appends.take(appends)
		if err := d.handle(appends); err != nil {
			return err
		}
	}
}

// handle saves what appends have, together, and delivers their responses.
func (d *disk) handle(appends []raftpb.Message) error {
	if err := d.save(appends); err != nil {
		return err
	}
	for i := range appends {
		d.deliver(appends[i].Responses...)
	}
	return nil
}

func (d *disk) save(appends []raftpb.Message) error {
	state, entries := raftpb.HardState{}, d.entries[:0]
	for i := range appends {
		m := &appends[i]
		if changed := (raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}); !raft.IsEmptyHardState(changed) {
			state = changed
		}
		entries = append(entries, m.Entries...) // a later one replaces an earlier one
	}
	if err := d.saveOnce(state, entries); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	for i := range appends {
		if err := d.memory.Append(appends[i].Entries); err != nil {
			return fmt.Errorf("append: %w", err)
		}
	}
	clear(entries)
	d.entries = entries
	return nil
}

// saveOnce saves with the flush that raft demands: none for a commit index alone.
func (d *disk) saveOnce(state raftpb.HardState, entries []raftpb.Entry) error {
	if raft.IsEmptyHardState(state) && len(entries) == 0 {
		return nil
	}
	if raft.MustSync(state, d.state, len(entries)) {
		d.flushes.Add(1)
	}
	if !raft.IsEmptyHardState(state) {
		d.state = state
	}
	return d.log.Save(state, entries)
}

func (d *disk) close() error {
	if err := d.log.Close(); err != nil {
		return fmt.Errorf("close the WAL: %w", err)
	}
	return nil
}
