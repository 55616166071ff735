package rafttest

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// ErrCrashed is what the stores of a [Disk] return that were in use when it
// crashed.
var ErrCrashed = errors.New("the disk has crashed")

// Disk is the stores of one server, and what can go wrong with them. The stores
// under it hold what is on the disk; a server gets LogStore, StableStore and
// SnapshotStore, which are good until the next Crash and have exactly those of the
// optional methods (of [raft.MonotonicLogStore], [raft.CommitTrackingLogStore] and
// [raft.BatchStableStore]) that the stores under them have.
//
// It begins without a fault. Writes are what changes a store: of entries, of the
// hard state, of a snapshot. Reads never wait and never fail before a crash. All
// methods may be called from any goroutine.
type Disk struct {
	// Immutable: the stores that survive.
	logs   raft.LogStore
	stable raft.StableStore
	snaps  raft.SnapshotStore

	gate gate // held while the disk hangs

	mu            sync.Mutex
	rng           *rand.Rand
	latency       span
	failure       error // of the logs and snapshots
	stableFailure error
	lying         bool
	volatile      []lie // what was acknowledged and is in the cache only, oldest first
	boot          *boot
	counts        DiskCounts
}

// DiskCounts says what a disk has done so far.
type DiskCounts struct {
	LogWrites      int // calls of StoreLog, StoreLogs and DeleteRange
	StableWrites   int // calls of Set, SetUint64 and SetAll
	SnapshotWrites int // calls of Create, and of a sink's Write and Close
	Failed         int // writes, by Fail and FailStable
	Crashes        int
	Torn           int // writes that a crash or Fail has left done in part
	Forgotten      int // writes that were acknowledged and lost, see SetLying
}

// NewDisk returns a disk over stores that hold what survives. What happens at
// random is drawn from seed. Stable store and log store may be the same object.
func NewDisk(logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore, seed uint64) *Disk {
	return &Disk{
		logs: logs, stable: stable, snaps: snaps,
		rng:  rand.New(rand.NewPCG(seed, 0)),
		boot: newBoot(),
	}
}

// NewMemDisk returns an empty disk in memory. Its log store keeps the commit index,
// its stable store takes batches, and it has room for one snapshot.
func NewMemDisk(seed uint64) *Disk {
	store := raft.NewInmemCommitTrackingStore()
	return NewDisk(store, store, raft.NewInmemSnapshotStore(), seed)
}

// SetLatency makes each write take a time between min and max before it reaches the
// store.
func (d *Disk) SetLatency(min, max time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latency = newSpan(min, max)
}

// Hang makes writes block until Release, or a crash. A write that has waited for it
// is done after Release.
func (d *Disk) Hang() { d.gate.hold() }

// Release ends Hang.
func (d *Disk) Release() { d.gate.release() }

// Fail makes writes of entries and snapshots fail with err from now on, also those
// under way. Of the entries or the deletion a part may be done, in order from its
// beginning, as a disk that has filled up leaves it. Nil ends it.
func (d *Disk) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = err
}

// FailStable makes writes to the stable store fail with err from now on, also those
// under way; they are not done. Nil ends it.
func (d *Disk) FailStable(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stableFailure = err
}

// SetLying makes the disk acknowledge writes that are in its cache only: a crash
// forgets the last of them, none or more, as far back as a tenth of a second. It
// keeps the order: what is forgotten is all that came after some moment. Compaction
// and a finished snapshot empty the cache.
//
// No cluster is safe on such a disk. It is for tests of tests: whatever is to notice
// lost writes must notice these.
func (d *Disk) SetLying(lying bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lying, d.volatile = lying, nil
}

// Counts returns what the disk has done so far.
func (d *Disk) Counts() DiskCounts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}
