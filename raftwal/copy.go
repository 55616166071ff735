package raftwal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// hardStateKeys are the stable values of a node: its term and its vote. Those that a
// service has put into the store itself must be named to CopyStore.
var hardStateKeys = []string{"CurrentTerm", "LastVoteCand", "LastVoteID", "LastVoteTerm"}

// CopyStore copies a node's log and stable values from one store into another, which must
// be empty, whatever kinds they are. The node must not be running. keys names stable
// values that are not raft's own; a missing one is left out. A copy that was interrupted
// must not be used: [Move] sees to that.
func CopyStore(dst, src interface {
	raft.LogStore
	raft.StableStore
}, keys ...string) error {
	if last, err := dst.LastIndex(); err != nil || last > 0 {
		return errors.Join(err, fmt.Errorf("raftwal: the destination has a log up to %d, it must be empty", last))
	}
	if err := copyLog(dst, src); err != nil {
		return err
	}
	for _, key := range append(keys, hardStateKeys...) {
		val, err := src.Get([]byte(key))
		if err != nil && err.Error() == ErrKeyNotFound.Error() || err == nil && val == nil {
			continue
		}
		if err == nil {
			err = dst.Set([]byte(key), val)
		}
		if err != nil {
			return fmt.Errorf("raftwal: copying %s: %w", key, err)
		}
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
		batch, size = append(batch, e), size+len(e.Data)
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
// returns that, open. Until the copy is whole its name ends in ".new", so after a crash
// there is none, and Move can be called again. src stays as it is; it must not be used by
// a node any more.
func Move(dir string, src interface {
	raft.LogStore
	raft.StableStore
}, keys ...string) (*Store, error) {
	if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("raftwal: %s exists", dir)
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
