package raftboltdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// ErrKeyNotFound is what [BoltStore.Get] and [BoltStore.GetUint64] return for a
// key that the store does not have. Its text is known to every version of raft.
var ErrKeyNotFound = errors.New("not found")

var (
	bucketLogs = []byte("logs")
	bucketConf = []byte("conf")
	bucketMeta = []byte("meta") // made when there is something to put in it
	keyCommit  = []byte("commit")
)

// Options says how New opens a store.
type Options struct {
	// Path is the file. It is created, with mode 0600, if it does not exist; its
	// directory must exist. Until it is whole its name ends in ".new".
	Path string

	// BoltOptions are bbolt's. Nil stands for settings that suit a log: the free
	// list is kept in memory only and as a map. If it is not nil, what it leaves
	// at zero has bbolt's meaning, except for an empty FreelistType, which is
	// the map. It is not modified. NoSync in it has no effect.
	BoltOptions *bbolt.Options

	// NoSync leaves out the fsync of each transaction. A crash of the machine may
	// then make the node forget votes and entries that others count on: it is for
	// tests, and for callers of Sync who know why.
	NoSync bool

	// MsgpackUseNewTimeFormat writes [raft.Log.AppendedAt] in the newer of two
	// formats. Both can be read whatever is set here.
	MsgpackUseNewTimeFormat bool
}

// BoltStore is a [raft.LogStore] and a [raft.StableStore] in a bbolt file. It is
// also a [raft.RangeLogStore], a [raft.CommitTrackingLogStore] and a
// [raft.BatchStableStore]. It is safe for concurrent use. After Close every call fails.
type BoltStore struct {
	// Immutable.
	db      *bbolt.DB
	newTime bool

	// staged is the commit index for the next StoreLogs, 0 if there is none.
	staged atomic.Uint64

	// batch is room for the encoding of the entries of a transaction. Owned by
	// the write transaction, of which bbolt has one at a time.
	batch []byte
}

var (
	_ raft.LogStore               = (*BoltStore)(nil)
	_ raft.RangeLogStore          = (*BoltStore)(nil)
	_ raft.CommitTrackingLogStore = (*BoltStore)(nil)
	_ raft.StableStore            = (*BoltStore)(nil)
	_ raft.BatchStableStore       = (*BoltStore)(nil)
)

// NewBoltStore is New with defaults.
func NewBoltStore(path string) (*BoltStore, error) {
	return New(Options{Path: path})
}

// New opens a store. While another process has the file open, New waits, as long
// as BoltOptions.Timeout says: for ever if it is 0. Errors of bbolt are returned as
// they stand.
func New(options Options) (*BoltStore, error) {
	bolt := boltOptions(options.BoltOptions)
	if err := create(options.Path, bolt); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(options.Path, fileMode, bolt)
	if err != nil {
		return nil, err
	}
	db.NoSync = options.NoSync
	db.AllocSize = growStep
	s := &BoltStore{db: db, newTime: options.MsgpackUseNewTimeFormat}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

const (
	fileMode = 0o600

	// growStep is by how much the file grows at a time; each step costs an fsync.
	growStep = 4 << 20

	// mapSize is how much of the address space is mapped from the start. A file
	// that outgrows the mapping makes a writer wait for readers.
	mapSize = 128 << 20
)

// boltOptions returns bbolt's options to open a file with, given those of the
// caller.
func boltOptions(given *bbolt.Options) *bbolt.Options {
	if given == nil {
		given = &bbolt.Options{
			// The free list is as long as the log is fragmented, and would be
			// written whole with every transaction. Without it, opening the file
			// reads the tree once.
			NoFreelistSync:  true,
			InitialMmapSize: initialMmapSize(),
		}
	}
	o := *given
	if o.FreelistType == "" {
		o.FreelistType = bbolt.FreelistMapType
	}
	return &o
}

// initialMmapSize is mapSize where a mapping costs nothing: on Windows the file
// would be made as large, and 32 bits have little space to give.
func initialMmapSize() int {
	if runtime.GOOS == "windows" || ^uint(0)>>32 == 0 {
		return 0
	}
	return mapSize
}

// prepare makes sure that both buckets exist, and that the file does after a
// crash.
func (s *BoltStore) prepare() error {
	if s.db.IsReadOnly() {
		return s.db.View(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{bucketLogs, bucketConf} {
				if tx.Bucket(name) == nil {
					return fmt.Errorf("raftboltdb: %s has no bucket %s", s.db.Path(), name)
				}
			}
			return nil
		})
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		_, err1 := tx.CreateBucketIfNotExists(bucketLogs)
		_, err2 := tx.CreateBucketIfNotExists(bucketConf)
		return errors.Join(err1, err2)
	})
	if err != nil || s.db.NoSync {
		return err
	}
	return syncDir(filepath.Dir(s.db.Path()))
}

// syncDir is syncDirectory but in a test that looks whether it is called.
var syncDir = syncDirectory

// syncDirectory makes the names in a directory durable, where the system can: bbolt
// syncs the file it has created, but not its name.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// Close closes the file, once every transaction has ended.
func (s *BoltStore) Close() error { return s.db.Close() }

// Sync makes everything written so far durable. It is of use with
// [Options.NoSync] only.
func (s *BoltStore) Sync() error { return s.db.Sync() }

// Stats returns bbolt's statistics.
func (s *BoltStore) Stats() bbolt.Stats { return s.db.Stats() }

// Set implements [raft.StableStore]. An empty key is an error.
func (s *BoltStore) Set(k, v []byte) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketConf).Put(k, v)
	})
}

// SetUint64 implements [raft.StableStore]. It stores 8 bytes, big-endian.
func (s *BoltStore) SetUint64(key []byte, val uint64) error {
	return s.Set(key, uint64Bytes(val))
}

// SetAll implements [raft.BatchStableStore].
func (s *BoltStore) SetAll(values []raft.StableValue) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		conf := tx.Bucket(bucketConf)
		for _, v := range values {
			val := v.Bytes
			if val == nil {
				val = uint64Bytes(v.Number)
			}
			if err := conf.Put(v.Key, val); err != nil {
				return fmt.Errorf("%s: %w", v.Key, err)
			}
		}
		return nil
	})
}

// Get implements [raft.StableStore]. For a missing key it returns
// [ErrKeyNotFound], for an empty value nil.
func (s *BoltStore) Get(k []byte) ([]byte, error) {
	var val []byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketConf).Get(k)
		if v == nil {
			return ErrKeyNotFound
		}
		val = append(val, v...) // v lies in the mapped file
		return nil
	})
	return val, err
}

// GetUint64 implements [raft.StableStore]. For a missing key it returns
// [ErrKeyNotFound]. A value of less than 8 bytes is an error.
func (s *BoltStore) GetUint64(key []byte) (uint64, error) {
	val, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(val) < 8 {
		return 0, fmt.Errorf("raftboltdb: the value of key %q has %d bytes and is no number", key, len(val))
	}
	return binary.BigEndian.Uint64(val), nil
}

func uint64Bytes(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
