package raft

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft/internal/metrics"
)

// This file is about reading snapshots: which one to use, what configuration it
// carries, and how it gets into an FSM. It owns no state.

// CountingReader is a reader that counts what is read from it.
type CountingReader interface {
	io.Reader

	// Count returns the bytes read so far. It may be called from any goroutine.
	Count() int64
}

// ReadCloserWrapper is implemented by the reader that [FSM].Restore gets, so that an
// FSM that knows its SnapshotStore can get at the store's own reader.
type ReadCloserWrapper interface {
	io.ReadCloser

	// WrappedReadCloser returns the reader that the SnapshotStore opened.
	WrappedReadCloser() io.ReadCloser
}

type countingReader struct {
	source io.Reader
	count  atomic.Int64
}

func newCountingReader(source io.Reader) *countingReader {
	return &countingReader{source: source}
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	r.count.Add(int64(n))
	return n, err
}

func (r *countingReader) Count() int64 { return r.count.Load() }

// countingReadCloser is the reader that FSM.Restore gets.
type countingReadCloser struct {
	*countingReader
	source io.ReadCloser
}

func newCountingReadCloser(source io.ReadCloser) *countingReadCloser {
	return &countingReadCloser{newCountingReader(source), source}
}

func (c *countingReadCloser) Close() error                     { return c.source.Close() }
func (c *countingReadCloser) WrappedReadCloser() io.ReadCloser { return c.source }

// snapshotProgressInterval is how often a long transfer or restore is logged.
const snapshotProgressInterval = 10 * time.Second

// logProgress logs, at every interval and at the end, how much of size bytes were
// read. The returned function ends it and returns when its goroutine has ended.
func logProgress(logger hclog.Logger, text string, r CountingReader, size int64) (stop func()) {
	stopping, ended := make(chan struct{}), make(chan struct{})
	report := func() {
		read, percent := r.Count(), 100.0
		if size > 0 {
			percent = 100 * float64(read) / float64(size)
		}
		logger.Info(text, "read-bytes", read, "percent-complete", fmt.Sprintf("%.2f%%", percent))
	}
	go func() {
		defer close(ended)
		ticker := time.NewTicker(snapshotProgressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				report()
			case <-stopping:
				report()
				return
			}
		}
	}()
	return func() {
		close(stopping)
		<-ended
	}
}

// errNoUsableSnapshot reports that there are snapshots and none can be used. Going
// on without would forget what they hold.
var errNoUsableSnapshot = errors.New("failed to load any existing snapshots")

// usableSnapshot opens the newest snapshot and hands it to use. One that can't be
// opened or used is reported and the next older one tried. It returns the metadata
// of the one that use accepted, nil if the store has none, and errNoUsableSnapshot,
// wrapped with the last failure, if it has some and none will do.
//
// use need not close the reader.
func usableSnapshot(snaps SnapshotStore, logger hclog.Logger,
	use func(meta *SnapshotMeta, rc io.ReadCloser) error) (*SnapshotMeta, error) {
	list, err := snaps.List()
	if err != nil {
		return nil, fmt.Errorf("failed to list snapshots: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	for _, listed := range list {
		var meta *SnapshotMeta
		if meta, err = useSnapshot(snaps, listed.ID, use); err == nil {
			return meta, nil
		}
		logger.Error("snapshot is unusable, trying an older one",
			"id", listed.ID, "last-index", listed.Index, "last-term", listed.Term, "error", err)
	}
	return nil, fmt.Errorf("%w: %w", errNoUsableSnapshot, err)
}

func useSnapshot(snaps SnapshotStore, id string, use func(*SnapshotMeta, io.ReadCloser) error) (*SnapshotMeta, error) {
	meta, rc, err := snaps.Open(id)
	if err != nil {
		return nil, fmt.Errorf("failed to open snapshot %v: %w", id, err)
	}
	defer rc.Close() // was only read, and perhaps is closed already
	if err := use(meta, rc); err != nil {
		return nil, fmt.Errorf("failed to restore snapshot %v: %w", id, err)
	}
	return meta, nil
}

// snapshotConfiguration returns the configuration in force at the end of a snapshot.
func snapshotConfiguration(meta *SnapshotMeta, trans Transport) (configEntry, error) {
	switch meta.Version {
	case 1:
		return configEntry{meta.ConfigurationIndex, meta.Configuration.Clone()}, nil
	case 0:
		c, err := decodePeers(meta.Peers, trans)
		return configEntry{meta.Index, c}, err
	default:
		return configEntry{}, fmt.Errorf("unsupported snapshot version %d", meta.Version)
	}
}

// restoreFSM replaces the FSM's state by a snapshot's and closes source. It blocks
// as long as FSM.Restore does. After an error the FSM's state is undefined.
func restoreFSM(fsm FSM, meta *SnapshotMeta, source io.ReadCloser, logger hclog.Logger) error {
	start := time.Now()
	defer source.Close() // was only read, and the FSM should have closed it
	reader := newCountingReadCloser(source)
	logger = logger.With("id", meta.ID, "last-index", meta.Index, "last-term", meta.Term, "size-in-bytes", meta.Size)
	stop := logProgress(logger, "snapshot restore progress", reader, meta.Size)
	defer stop()
	if err := fsm.Restore(reader); err != nil {
		return err
	}
	metrics.MeasureSince([]string{"raft", "fsm", "restore"}, start)
	metrics.SetGauge([]string{"raft", "fsm", "lastRestoreDuration"}, float32(time.Since(start).Milliseconds()))
	return nil
}
