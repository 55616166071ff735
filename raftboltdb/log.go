package raftboltdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

const (
	// fillPercent is how full a page of the log gets before another is begun.
	// Entries come in order of their index, so nothing is ever inserted into a
	// full page; the rest is room for an entry to be overwritten by a longer one.
	fillPercent = 0.95

	// maxBatch is the largest buffer that is kept for the next batch.
	maxBatch = 8 << 20
)

// FirstIndex implements [raft.LogStore].
func (s *BoltStore) FirstIndex() (uint64, error) { return s.end((*bbolt.Cursor).First) }

// LastIndex implements [raft.LogStore].
func (s *BoltStore) LastIndex() (uint64, error) { return s.end((*bbolt.Cursor).Last) }

// end returns the index to which move brings a cursor over the log, 0 if the log
// is empty.
func (s *BoltStore) end(move func(*bbolt.Cursor) (key, value []byte)) (index uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		key, _ := move(tx.Bucket(bucketLogs).Cursor())
		if key == nil {
			return nil
		}
		index, err = indexOf(key)
		return err
	})
	return index, err
}

func indexOf(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("raftboltdb: the log has a key %x, which is no index", key)
	}
	return binary.BigEndian.Uint64(key), nil
}

// GetLog implements [raft.LogStore]. Data and Extensions are the caller's own:
// nothing that log pointed to before is written to. If GetLog fails, log is as it
// was. An entry that cannot be decoded is an error.
func (s *BoltStore) GetLog(index uint64, log *raft.Log) error {
	defer measure(metricGetLog, time.Now())
	return s.db.View(func(tx *bbolt.Tx) error {
		val := tx.Bucket(bucketLogs).Get(uint64Bytes(index))
		if val == nil {
			return raft.ErrLogNotFound
		}
		e, err := entryAt(index, val)
		if err != nil {
			return err
		}
		e.Data, e.Extensions = bytes.Clone(e.Data), bytes.Clone(e.Extensions) // val lies in the mapped file
		*log = e
		return nil
	})
}

// ReadLogs implements [raft.RangeLogStore]. It is one transaction, in which nothing is
// copied: memory that is kept longer than it may ends the process, once the file is
// mapped anew. Of a large entry only the first and the last page are read, unless visit
// looks at its Data. An entry that cannot be decoded is an error.
func (s *BoltStore) ReadLogs(first, last uint64, visit func(*raft.Log) bool) error {
	if first > last {
		return nil
	}
	return s.db.View(func(tx *bbolt.Tx) error {
		var e raft.Log
		c := tx.Bucket(bucketLogs).Cursor()
		key, val := c.Seek(uint64Bytes(first))
		for index := first; ; index++ {
			if len(key) != 8 || binary.BigEndian.Uint64(key) != index {
				return raft.ErrLogNotFound
			}
			var err error
			if e, err = entryAt(index, val); err != nil {
				return err
			}
			if !visit(&e) || index == last {
				return nil
			}
			key, val = c.Next()
		}
	})
}

// ReadsLogsOf implements [raft.RangeLogStore].
func (s *BoltStore) ReadsLogsOf() raft.LogStore { return s }

// entryAt decodes the value of an index. The entry may alias it.
func entryAt(index uint64, val []byte) (raft.Log, error) {
	e, err := decodeEntry(val)
	if err == nil && e.Index != index {
		err = fmt.Errorf("it names itself %d", e.Index)
	}
	if err != nil {
		return raft.Log{}, fmt.Errorf("raftboltdb: entry %d is corrupt: %w", index, err)
	}
	return e, nil
}

// StoreLog implements [raft.LogStore].
func (s *BoltStore) StoreLog(log *raft.Log) error {
	return s.StoreLogs([]*raft.Log{log})
}

// StoreLogs implements [raft.LogStore]: all entries, and the commit index if one
// is staged, are durable when it returns nil; none of it is written if it fails.
func (s *BoltStore) StoreLogs(logs []*raft.Log) error {
	start := time.Now()
	commit := s.staged.Swap(0)
	var size int
	err := s.db.Update(func(tx *bbolt.Tx) (err error) {
		if size, err = s.put(tx.Bucket(bucketLogs), logs); err != nil {
			return err
		}
		return putCommit(tx, commit, logs)
	})
	if err == nil {
		measureBatch(len(logs), size, start)
	}
	return err
}

// put writes entries to the bucket and returns the size of their encoding. Keys
// and values stay in s.batch until the transaction ends, as bbolt demands.
func (s *BoltStore) put(bucket *bbolt.Bucket, logs []*raft.Log) (size int, err error) {
	bucket.FillPercent = fillPercent
	buf := s.batch[:0]
	for _, l := range logs {
		at := len(buf)
		buf = binary.BigEndian.AppendUint64(buf, l.Index)
		buf = appendEntry(buf, l, s.newTime)
		key, val := buf[at:at+8], buf[at+8:]
		if err := bucket.Put(key, val); err != nil {
			return 0, fmt.Errorf("raftboltdb: entry %d: %w", l.Index, err)
		}
		measureEntry(len(val))
		size += len(val)
	}
	if cap(buf) <= maxBatch {
		s.batch = buf
	}
	return size, nil
}

// DeleteRange implements [raft.LogStore]. It is one transaction: after a crash all
// entries are there or none is. Its cost is that of the entries that exist.
func (s *BoltStore) DeleteRange(min, max uint64) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLogs).Cursor()
		seek := make([]byte, 8)
		// bbolt wants a cursor to be positioned anew after each change.
		for next := min; ; next++ {
			binary.BigEndian.PutUint64(seek, next)
			key, _ := c.Seek(seek)
			if key == nil {
				return nil
			}
			index, err := indexOf(key)
			if err != nil || index > max {
				return err
			}
			if err := c.Delete(); err != nil || index == max {
				return err
			}
			next = index
		}
	})
}

// StageCommitIndex implements [raft.CommitTrackingLogStore]. The index goes with
// the next StoreLogs, whether that succeeds or not.
func (s *BoltStore) StageCommitIndex(index uint64) error {
	s.staged.Store(index)
	return nil
}

// putCommit stores a commit index beside the entries that it comes with, unless
// it is 0.
func putCommit(tx *bbolt.Tx, commit uint64, logs []*raft.Log) error {
	if commit == 0 || len(logs) == 0 {
		return nil
	}
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	val := uint64Bytes(min(commit, logs[len(logs)-1].Index))
	if bytes.Equal(meta.Get(keyCommit), val) {
		return nil // spares the page
	}
	return meta.Put(keyCommit, val)
}

// GetCommitIndex implements [raft.CommitTrackingLogStore]. It is never above the
// last index.
func (s *BoltStore) GetCommitIndex() (commit uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		last, _ := tx.Bucket(bucketLogs).Cursor().Last()
		if meta == nil || last == nil {
			return nil
		}
		val := meta.Get(keyCommit)
		if val == nil {
			return nil
		}
		if len(val) != 8 {
			return fmt.Errorf("raftboltdb: the commit index has %d bytes", len(val))
		}
		lastIndex, err := indexOf(last)
		commit = min(binary.BigEndian.Uint64(val), lastIndex)
		return err
	})
	return commit, err
}
