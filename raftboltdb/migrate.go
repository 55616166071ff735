package raftboltdb

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// migrateLockTimeout is how long MigrateToV2 waits for the source's lock.
const migrateLockTimeout = time.Minute

// MigrateToV2 copies a file of the older library github.com/boltdb/bolt into a new
// one and returns that, open, with defaults. The source is opened read-only and
// must not be in use for writing; the destination must not exist. If MigrateToV2
// fails, or the machine does, there is no destination: until the copy is whole its
// name ends in ".new".
//
// The two libraries have the same file format, so a file need not be migrated to
// be opened. A copy has no free pages, though, and leaves the source as it is.
func MigrateToV2(source, destination string) (*BoltStore, error) {
	if _, err := os.Stat(destination); err == nil {
		return nil, fmt.Errorf("file exists in destination %v", destination)
	}
	src, err := bbolt.Open(source, 0o600, &bbolt.Options{ReadOnly: true, Timeout: migrateLockTimeout})
	if err != nil {
		return nil, fmt.Errorf("failed opening source database: %w", err)
	}
	defer src.Close()
	from, err := src.Begin(false)
	if err != nil {
		return nil, fmt.Errorf("failed connecting to source database: %w", err)
	}
	defer from.Rollback()

	copied := destination + unfinished
	if err := copyTo(copied, from); err != nil {
		return nil, err
	}
	if err := os.Rename(copied, destination); err != nil {
		return nil, fmt.Errorf("failed creating destination database: %w", errors.Join(err, os.Remove(copied)))
	}
	dst, err := New(Options{Path: destination})
	if err != nil {
		return nil, fmt.Errorf("failed creating destination database: %w", errors.Join(err, os.Remove(destination)))
	}
	return dst, nil
}

// copyTo writes a new file, durably, or none.
func copyTo(path string, from *bbolt.Tx) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("failed creating destination database: %w", err)
	}
	dst, err := New(Options{Path: path})
	if err != nil {
		return fmt.Errorf("failed creating destination database: %w", err)
	}
	if err := errors.Join(dst.copyFrom(from), dst.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// copyFrom fills s, in one transaction.
func (s *BoltStore) copyFrom(from *bbolt.Tx) error {
	to, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("failed connecting to destination database: %w", err)
	}
	defer to.Rollback()
	for _, name := range [][]byte{bucketConf, bucketLogs} {
		if err := copyBucket(to.Bucket(name), from.Bucket(name)); err != nil {
			return fmt.Errorf("failed to copy %s bucket: %w", name, err)
		}
	}
	if err := to.Commit(); err != nil {
		return fmt.Errorf("failed commiting data to destination: %w", err)
	}
	return nil
}

func copyBucket(to, from *bbolt.Bucket) error {
	if from == nil {
		return errors.New("the source does not have it")
	}
	to.FillPercent = fillPercent
	return from.ForEach(to.Put)
}
