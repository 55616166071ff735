package raftwal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
)

// hardStateKeys are the stable values of a node: its term and its vote. Those that a
// service has put into the store itself must be named to CopyStore.
var (
	hardStateKeys = []string{"CurrentTerm", "LastVoteCand", "LastVoteID", "LastVoteTerm"}
	numberKeys    = []string{"CurrentTerm", "LastVoteTerm"}
)

// CopyStore copies a node's log and stable values from one store into another, which must
// be empty, whatever kinds they are. The node must not be running. keys names stable
// values that are not raft's own; a missing one is left out. A copy that was interrupted
// must not be used: [Move] sees to that.
func CopyStore(dst, src interface {
	raft.LogStore
	raft.StableStore
}, keys ...string) error {
	last, err := dst.LastIndex()
	if err != nil {
		return fmt.Errorf("raftwal: reading the destination: %w", err)
	}
	if last > 0 {
		return fmt.Errorf("raftwal: the destination has a log up to %d, it must be empty", last)
	}
	if err := copyLog(dst, src); err != nil {
		return err
	}
	for _, key := range slices.Concat(keys, hardStateKeys) {
		if err := copyValue(dst, src, []byte(key)); err != nil {
			return fmt.Errorf("raftwal: copying %s: %w", key, err)
		}
	}
	return nil
}

// copyValue copies a stable value, if there is one. Most stores keep a number as its
// bytes; in those that do not it must be copied as what it is.
func copyValue(dst, src raft.StableStore, key []byte) error {
	val, err := src.Get(key)
	if err == nil && val != nil && !slices.Contains(numberKeys, string(key)) {
		return dst.Set(key, val)
	}
	if err != nil && err.Error() != ErrKeyNotFound.Error() {
		return err
	}
	n, err := src.GetUint64(key)
	if err == nil && (n > 0 || val != nil) {
		return dst.SetUint64(key, n)
	}
	if err != nil && err.Error() != ErrKeyNotFound.Error() {
		return err
	}
	return nil
}

// copyBatch bounds what is copied at a time, in entries and in bytes.
const (
	copyEntries = 4096
	copyBytes   = 4 << 20
)

func copyLog(dst, src raft.LogStore) error {
	first, err := src.FirstIndex()
	if err != nil {
		return err
	}
	last, err := src.LastIndex()
	if err != nil {
		return err
	}
	var batch []*raft.Log
	size := 0
	for i := first; i <= last && last > 0; i++ {
		e := new(raft.Log)
		if err := src.GetLog(i, e); err != nil {
			return fmt.Errorf("raftwal: copying entry %d: %w", i, err)
		}
		batch, size = append(batch, e), size+frameSize(e)
		if len(batch) == copyEntries || size >= copyBytes || i == last {
			if err := dst.StoreLogs(batch); err != nil {
				return fmt.Errorf("raftwal: copying entries up to %d: %w", i, err)
			}
			batch, size = nil, 0
		}
	}
	return nil
}

// Move copies src, see [CopyStore], into a new store at dir, which must not exist, and
// returns that, open. Until the copy is whole its name ends in ".new": so if dir does not
// exist after a crash, Move can be called again, and if it does it is whole. src stays as it is; it must not be used by
// a node any more.
func Move(dir string, src interface {
	raft.LogStore
	raft.StableStore
}, keys ...string) (*Store, error) {
	dir = filepath.Clean(dir)
	if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("raftwal: %s exists: open it, or move to another directory", dir)
	}
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return nil, err
	}
	s, err := Open(unfinished)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(CopyStore(s, src, keys...), s.Close()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(unfinished))
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return nil, err
	}
	if err := (osFS{}).SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	return Open(dir)
}
