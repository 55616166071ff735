package rafttest

import (
	"io"

	"github.com/hashicorp/raft"
)

// This file is the snapshot store that a server on a Disk gets.

// SnapshotStore returns the snapshot store, for use until the next crash.
func (d *Disk) SnapshotStore() raft.SnapshotStore { return &diskSnapshots{d, d.present()} }

type diskSnapshots struct {
	disk *Disk
	boot *boot
}

func (s *diskSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	var sink raft.SnapshotSink
	err := s.write(&write{do: whole(func() (err error) {
		sink, err = s.disk.snaps.Create(version, index, term, configuration, configurationIndex, trans)
		return err
	})})
	if err != nil {
		return nil, err
	}
	return &diskSink{s, sink}, nil
}

func (s *diskSnapshots) List() (list []*raft.SnapshotMeta, err error) {
	err = s.disk.read(s.boot, func() (err error) {
		list, err = s.disk.snaps.List()
		return err
	})
	return list, err
}

func (s *diskSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	var meta *raft.SnapshotMeta
	var source io.ReadCloser
	err := s.disk.read(s.boot, func() (err error) {
		meta, source, err = s.disk.snaps.Open(id)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return meta, &diskReader{s, source}, nil
}

func (s *diskSnapshots) write(w *write) error {
	return s.disk.write(s.boot, w, &s.disk.counts.SnapshotWrites)
}

// whole makes a write that is done or not done.
func whole(do func() error) func(fraction) (int, int, error) {
	return func(f fraction) (int, int, error) {
		if f.of(1) == 0 {
			return 0, 1, nil
		}
		return 1, 1, do()
	}
}

// diskSink is a snapshot that is being written. One that a crash interrupts is
// neither closed nor cancelled.
type diskSink struct {
	*diskSnapshots
	sink raft.SnapshotSink
}

// Write takes no time of its own, like one to a file that is not synced yet.
func (s *diskSink) Write(p []byte) (written int, err error) {
	err = s.write(&write{instant: true, do: func(f fraction) (int, int, error) {
		var err error
		written, err = s.sink.Write(p[:f.of(len(p))])
		return written, len(p), err
	}})
	return written, err
}

func (s *diskSink) Close() error { return s.write(&write{do: whole(s.sink.Close)}) }

func (s *diskSink) Cancel() error { return s.disk.read(s.boot, s.sink.Cancel) }

func (s *diskSink) ID() string { return s.sink.ID() }

type diskReader struct {
	*diskSnapshots
	source io.ReadCloser
}

func (r *diskReader) Read(p []byte) (n int, err error) {
	err = r.disk.read(r.boot, func() (err error) {
		n, err = r.source.Read(p)
		return err
	})
	return n, err
}

func (r *diskReader) Close() error { return r.disk.read(r.boot, r.source.Close) }
