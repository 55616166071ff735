package rafttest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// CheckLogStore checks an implementation of [raft.LogStore] and, if it has them, of
// its extensions [raft.RangeLogStore], [raft.MonotonicLogStore] and
// [raft.CommitTrackingLogStore]. Each check is a subtest of t with a store of its own.
//
// open opens the store in a directory, which is empty at first. It is called again
// for the same directory after the store was closed, by Close if it is an
// [io.Closer], to see what it has kept; see [Volatile] for a store in memory.
func CheckLogStore(t *testing.T, open func(dir string) (raft.LogStore, error), options ...CheckOption) {
	t.Helper()
	o := newCheckOptions(options)
	logStoreSuite(open, o).test(t, o)
}

func logStoreSuite(open func(dir string) (raft.LogStore, error), o *checkOptions) suite {
	return bindChecks(logStoreChecks, func(p *probe) *logProbe {
		l := &logProbe{openStore: newOpenStore(p, open, o), model: map[uint64]*raft.Log{}, touched: map[uint64]bool{}}
		m, ok := l.store.(raft.MonotonicLogStore)
		l.monotonic = ok && m.IsMonotonic()
		return l
	})
}

var logStoreChecks = []check[*logProbe]{
	{
		"EmptyStore",
		"a store without entries has FirstIndex 0 and LastIndex 0, and GetLog returns exactly ErrLogNotFound",
		"NewRaft takes a new server for an old one, or a missing entry for a broken disk, and stops",
		func(l *logProbe) {
			l.touch(0, 1, 2, math.MaxUint64)
			l.verifyAndReopen()
		},
	},
	{
		"EveryField",
		"GetLog returns every field as it was stored: Index, Term, Type, Data, Extensions, and AppendedAt to the millisecond, zero if it was zero",
		"servers read entries that differ from those that were replicated, and their FSMs diverge",
		(*logProbe).checkFields,
	},
	{
		"Sizes",
		"entries of any size are stored, from no Data at all to several MiB, also together",
		"a large command, once committed, stops every server whose store does not take it",
		func(l *logProbe) {
			var batch []*raft.Log
			for i, size := range []int{0, 1, 4095, 4096, 65536, 1<<20 + 3, 3 << 20, 0} {
				e := logEntry(uint64(i+1), 1)
				e.Data = pattern(size, uint64(i))
				e.Extensions = pattern(size/2, uint64(i)+100)
				batch = append(batch, e)
			}
			l.storeBatch(batch)
			l.verifyAndReopen()
		},
	},
	{
		"Batches",
		"StoreLogs stores all entries of a batch, of one or of a thousand; an empty batch changes nothing",
		"entries are acknowledged to the leader that the store does not have: a committed entry can be lost",
		func(l *logProbe) {
			l.put(1, 1, 1)
			l.must(l.store.StoreLogs(nil), "StoreLogs(nil)")
			l.must(l.store.StoreLogs([]*raft.Log{}), "StoreLogs of an empty slice")
			l.verify()
			l.put(2, 1001, 2)
			l.verifyAndReopen()
			l.put(1002, 1003, 2)
			l.verifyAndReopen()
		},
	},
	{
		"OneByOne",
		"StoreLog appends one entry, and LastIndex follows at once",
		"the leader's log view and its store drift apart",
		func(l *logProbe) {
			for i := range uint64(20) {
				e := logEntry(i+1, 1)
				l.record("StoreLog %d", e.Index)
				l.must(l.store.StoreLog(e), "after %s", l.history())
				l.remember(e)
				l.verifyEnds()
			}
			l.verifyAndReopen()
		},
	},
	{
		"ReplaceSuffix",
		"after a suffix was deleted other entries, fewer or more, take its place",
		"entries of a deposed leader come back in place of committed ones",
		func(l *logProbe) {
			l.put(1, 10, 1)
			l.remove(4, 10)
			l.put(4, 5, 2)
			l.verifyAndReopen()
			l.remove(5, 5)
			l.put(5, 30, 3)
			l.verifyAndReopen()
		},
	},
	{
		"Overwrite",
		"an existing entry is overwritten, those around it stay; a MonotonicLogStore may refuse instead, and then keeps what it has",
		"entries of a deposed leader stay in place of committed ones",
		(*logProbe).checkOverwrite,
	},
	{
		"Gap",
		"entries may leave a gap behind what the store has; a MonotonicLogStore never has one: it refuses and keeps what it has",
		"after an installed snapshot entries can't be stored, or a store that counts on consecutive entries returns the wrong ones",
		(*logProbe).checkGap,
	},
	{
		"StartElsewhere",
		"a store that was emptied, or is new, takes entries of any higher index",
		"a server that got a snapshot can never store an entry again",
		func(l *logProbe) {
			l.put(1<<40, 1<<40+3, 7)
			l.verifyAndReopen()
			l.remove(1<<40, 1<<40+3)
			l.verifyAndReopen()
			l.put(1<<41, 1<<41+2, 8)
			l.verifyAndReopen()
			l.remove(1<<41, 1<<41+2)
			l.put(1<<42, 1<<42, 9)
			l.verifyAndReopen()
		},
	},
	{
		"DeletePrefix",
		"DeleteRange of a prefix deletes exactly that, both ends included",
		"compaction deletes entries that followers still need, or none",
		func(l *logProbe) {
			l.put(1, 20, 1)
			l.remove(1, 1)
			l.verifyEnds()
			l.remove(2, 10)
			l.verifyAndReopen()
			l.put(21, 22, 1)
			l.verifyAndReopen()
		},
	},
	{
		"DeleteSuffix",
		"DeleteRange of a suffix deletes exactly that, both ends included",
		"entries that the leader does not have stay behind, or committed ones go",
		func(l *logProbe) {
			l.put(1, 20, 1)
			l.remove(20, 20)
			l.verifyEnds()
			l.remove(11, 19)
			l.verifyAndReopen()
			l.put(11, 12, 2)
			l.verifyAndReopen()
		},
	},
	{
		"DeleteAll",
		"DeleteRange of all entries leaves an empty store",
		"an old log comes back below an installed snapshot",
		func(l *logProbe) {
			l.put(5, 20, 1)
			l.remove(5, 20)
			l.verifyAndReopen()
			l.put(21, 22, 1)
			l.verifyAndReopen()
		},
	},
	{
		"DeleteNothing",
		"DeleteRange of an empty range, or where there are no entries, is no error and deletes nothing",
		"a server stops for a failed store though nothing is wrong",
		func(l *logProbe) {
			l.remove(1, 1)
			l.remove(3, 2)
			l.put(5, 9, 1)
			l.remove(8, 7)
			l.remove(1, 4)
			l.remove(10, 20)
			l.verifyAndReopen()
		},
	},
	{
		"DeleteBeyondTheEnds",
		"DeleteRange may reach beyond the first and the last entry",
		"a server stops for a failed store, or keeps entries that it deleted",
		func(l *logProbe) {
			l.put(5, 20, 1)
			l.remove(1, 7)
			l.verifyEnds()
			l.remove(18, 1000)
			l.verifyAndReopen()
			l.remove(1, 1000)
			l.verifyAndReopen()
		},
	},
	{
		"DeleteMany",
		"DeleteRange works on thousands of entries",
		"compaction of a long log fails or leaves a part behind",
		func(l *logProbe) {
			l.put(1, 3000, 1)
			l.remove(1, 2000)
			l.verifyEnds()
			l.remove(2500, 3000)
			l.verifyAndReopen()
		},
	},
	{
		"CallersSlice",
		"the slice given to StoreLogs and the Log filled by GetLog are the caller's again when the call returns",
		"entries change in the store after they were acknowledged",
		(*logProbe).checkAliasing,
	},
	{
		"ReusedLog",
		"GetLog overwrites every field of the Log that it is given",
		"an entry without Data or Extensions is applied with those of another one",
		func(l *logProbe) {
			full, bare := logEntry(1, 1), &raft.Log{Index: 2, Term: 1}
			l.storeBatch([]*raft.Log{full, bare})
			for range 2 {
				got := *logEntry(77, 7)
				l.must(l.store.GetLog(2, &got), "GetLog(2)")
				if diff := diffLog(&got, bare); diff != "" {
					l.errorf("GetLog(2) into a Log that was used before: %s", diff)
				}
				l.reopen()
			}
		},
	},
	{
		"ReusedLogKeepsData",
		"GetLog does not write into the Data or Extensions that the given Log had before",
		"the Data of an entry that somebody still holds, like a LogCache that shares it, becomes that of another entry",
		func(l *logProbe) {
			l.put(1, 2, 1)
			before := pattern(1000, 1)
			got := raft.Log{Data: before, Extensions: before}
			l.must(l.store.GetLog(1, &got), "GetLog(1)")
			if !bytes.Equal(before, pattern(1000, 1)) {
				l.errorf("GetLog(1) has written into the slice that was in Log.Data before")
			}
		},
	},
	{
		"Ranges",
		"ReadLogs visits what GetLog returns for first to last in turn, ends without error at last or when visit returns false, and else with exactly ErrLogNotFound at the first missing entry",
		"a server starts with a log that has a gap, or its FSM is given other entries than those that were committed",
		(*logProbe).checkRanges,
	},
	{
		"RandomOperations",
		"whatever is stored and deleted in which order, the store has what it should, also after it was opened again",
		"a server goes on with another log than it has acknowledged",
		(*logProbe).checkRandom,
	},
	{
		"ReadersBesideAWriter",
		"GetLog, ReadLogs, FirstIndex and LastIndex may be called while one goroutine writes; what has been stored and is not being deleted is there and whole",
		"replication to a follower reads a torn entry, or none, and the FSMs diverge",
		(*logProbe).checkConcurrency,
	},
	{
		"CommitIndex",
		"StageCommitIndex takes effect with the next StoreLogs, and GetCommitIndex returns it from then on, also after the store was opened again",
		"RestoreCommittedLogs restores less than it could, or nothing",
		(*logProbe).checkCommitIndex,
	},
	{
		"CommitIndexWithoutEntries",
		"a commit index that was staged, but not followed by StoreLogs, is not durable",
		"after a restart other entries than those that were committed count as committed, and are applied",
		func(l *logProbe) {
			tracker := l.tracker()
			l.put(1, 5, 1)
			l.must(tracker.StageCommitIndex(6), "StageCommitIndex")
			if l.volatile {
				l.skipf("the store is in memory")
			}
			l.reopen()
			l.verifyCommitIndex(0)
			l.put(6, 9, 2)
			l.verifyCommitIndex(0)
		},
	},
}

func (l *logProbe) checkFields() {
	at := time.Date(2024, 5, 17, 12, 34, 56, 789_012_345, time.UTC)
	for i, e := range []raft.Log{
		{},
		{Term: 1},
		{Term: math.MaxUint64, Data: []byte("data")},
		{Term: 1 << 33, Extensions: []byte("extensions")},
		{Data: []byte{}, Extensions: []byte{}},
		{Data: pattern(256, 1), Extensions: pattern(300, 2)},
		{Data: bytes.Repeat([]byte{0}, 20), Extensions: bytes.Repeat([]byte{255}, 20)},
		{Type: raft.LogNoop},
		{Type: raft.LogAddPeerDeprecated, Data: []byte("peers")},
		{Type: raft.LogRemovePeerDeprecated, Data: []byte("peers")},
		{Type: raft.LogBarrier},
		{Type: raft.LogConfiguration, Data: []byte("configuration")},
		{AppendedAt: at},
		{AppendedAt: at.Truncate(time.Second)},
		{AppendedAt: at.In(time.FixedZone("east", 5*3600))},
		{Term: 3, Type: raft.LogConfiguration, Data: []byte("d"), Extensions: []byte("e"), AppendedAt: at},
	} {
		e.Index = uint64(i + 1)
		l.storeBatch([]*raft.Log{&e})
	}
	l.verifyAndReopen()
}

func (l *logProbe) checkOverwrite() {
	l.put(1, 6, 1)
	if l.monotonic {
		err := l.store.StoreLogs(logEntries(3, 4, 2))
		if err == nil {
			l.skipf("the store is monotonic and has its own way to overwrite")
		}
		l.verifyAndReopen()
		return
	}
	l.put(3, 4, 2)
	l.verifyAndReopen()
	l.put(6, 9, 3)
	l.verifyAndReopen()
}

func (l *logProbe) checkGap() {
	l.put(1, 3, 1)
	if l.monotonic {
		for _, batch := range [][]*raft.Log{
			logEntries(5, 6, 1),
			{logEntry(4, 1), logEntry(6, 1)},
		} {
			if err := l.store.StoreLogs(batch); err == nil {
				l.errorf("after %s the store took the entries %d to %d", l.history(), batch[0].Index, batch[1].Index)
			}
			l.verifyAndReopen()
		}
		return
	}
	l.put(10, 12, 2)
	l.touch(4, 5, 9)
	l.verifyAndReopen()
	l.remove(1, 5)
	l.verifyAndReopen()
	l.remove(11, 12)
	l.verifyAndReopen()
}

func (l *logProbe) checkAliasing() {
	batch := logEntries(1, 3, 1)
	l.storeBatch(batch)
	clear(batch)

	var got raft.Log
	l.must(l.store.GetLog(2, &got), "GetLog(2)")
	got.Index, got.Term, got.Type = 99, 99, 99
	got.Data, got.Extensions, got.AppendedAt = nil, nil, time.Time{}
	l.verifyAndReopen()
}

// checkRanges reads all ranges of a short log, and parts of them. The other checks read
// what the log has as ranges too, see verify.
func (l *logProbe) checkRanges() {
	l.ranges() // skips the check if there are none
	verify := func(low, high uint64) {
		for first := low; first <= high && !l.failed(); first++ {
			for last := first - 1; last <= high; last++ {
				for enough := range int(last-first) + 3 {
					l.verifyRange(first, last, enough+1)
				}
			}
		}
	}
	verify(1, 3)
	l.put(5, 9, 1)
	l.put(10, 13, 2)
	verify(4, 14)
	l.remove(5, 6)
	l.remove(13, 13)
	verify(4, 14)
	l.reopen()
	verify(4, 14)
	if !l.monotonic {
		l.put(15, 17, 3)
		verify(11, 18)
	}
}

// checkRandom compares the store with a map. The operations are those of raft:
// append, delete a suffix and go on, delete a prefix, start again elsewhere.
func (l *logProbe) checkRandom() {
	const seed, operations = 1, 150
	rng := rand.New(rand.NewPCG(seed, 0))
	for term := uint64(1); term <= operations && !l.failed(); term++ {
		first, last := l.ends()
		switch n := uint64(rng.IntN(10)); {
		case last == 0:
			start := l.highest + 1 + n*n
			l.put(start, start+n, term)
		case n < 5:
			l.put(last+1, last+1+n*n, term)
		case n < 7:
			from := first + rng.Uint64N(last-first+1)
			l.remove(from, last)
		case n < 8:
			l.remove(first, first+rng.Uint64N(last-first+1))
		case n < 9 && rng.IntN(5) == 0:
			l.remove(first, last)
		default:
			l.verify()
			l.reopen()
		}
		l.verifyEnds()
	}
	l.verify()
}

// checkConcurrency has entries appended, and deleted at both ends, beside readers
// who know what must be there.
func (l *logProbe) checkConcurrency() {
	const (
		rounds = 20
		batch  = 8
		keep   = 40 // entries that stay when a prefix is deleted
		redone = 4  // entries that are deleted from the end, and written anew
	)
	// There surely are the entries from low to high, and none below gone or
	// above top.
	var low, high, gone, top atomic.Uint64
	var stop atomic.Bool
	low.Store(1)

	look := func() {
		before := high.Load()
		last, err := l.store.LastIndex()
		switch after := top.Load(); {
		case err != nil:
			l.errorf("LastIndex beside a writer: %v", err)
		case last < before || last > after:
			l.errorf("LastIndex beside a writer is %d, but %d is stored and nothing above %d", last, before, after)
		}
		before = gone.Load()
		first, err := l.store.FirstIndex()
		switch after := low.Load(); {
		case err != nil:
			l.errorf("FirstIndex beside a writer: %v", err)
		case before > 0 && first <= before || first > after:
			l.errorf("FirstIndex beside a writer is %d, but %d is deleted and %d is not", first, before, after)
		}
	}
	read := func(rng *rand.Rand) {
		from, to := low.Load(), high.Load()
		if to < from {
			return
		}
		index := from + rng.Uint64N(to-from+1)
		var got raft.Log
		err := l.store.GetLog(index, &got)
		switch {
		case err == raft.ErrLogNotFound && index < low.Load():
		case err != nil:
			l.errorf("GetLog(%d) beside a writer, of an entry that is stored: %v", index, err)
		default:
			if diff := diffLog(&got, logEntry(index, got.Term)); diff != "" {
				l.errorf("GetLog(%d) beside a writer: %s", index, diff)
			}
		}
	}
	ranges, _ := readsRanges(l.store)
	readRange := func(rng *rand.Rand) {
		from, to := low.Load(), high.Load()
		if ranges == nil || to < from {
			return
		}
		from += rng.Uint64N(to - from + 1)
		next := from
		err := ranges.ReadLogs(from, to, func(got *raft.Log) bool {
			if diff := diffLog(got, logEntry(next, got.Term)); diff != "" {
				l.errorf("ReadLogs(%d, %d) beside a writer, at entry %d: %s", from, to, next, diff)
			}
			next++
			return true
		})
		switch {
		case err == raft.ErrLogNotFound && next < low.Load():
		case err != nil:
			l.errorf("ReadLogs(%d, %d) beside a writer, of entries that are stored: %v at entry %d", from, to, err, next)
		case next != to+1:
			l.errorf("ReadLogs(%d, %d) beside a writer has ended before entry %d", from, to, next)
		}
	}
	var readers []<-chan struct{}
	for i := range uint64(2) {
		readers = append(readers, l.spawn(func() {
			rng := rand.New(rand.NewPCG(i, 0))
			for last := false; !last; { // the last time when all is written
				last = stop.Load() || l.failed()
				look()
				read(rng)
				readRange(rng)
			}
		}))
	}
	defer func() {
		stop.Store(true)
		for _, done := range readers {
			<-done
		}
	}()

	next := uint64(1)
	for term := uint64(1); term <= rounds && !l.failed(); term++ {
		top.Store(next + batch - 1)
		l.put(next, next+batch-1, term)
		next += batch
		high.Store(next - 1 - redone) // the rest may be deleted below
		if first := low.Load(); next > first+2*keep {
			low.Store(next - keep)
			l.remove(first, next-keep-1)
			gone.Store(next - keep - 1)
		}
		l.remove(next-redone, next-1)
		l.put(next-redone, next-1, term+1000)
	}
	l.verify()
}

func (l *logProbe) checkCommitIndex() {
	tracker := l.tracker()
	l.verifyCommitIndex(0)
	l.put(1, 5, 1)
	l.verifyCommitIndex(0)

	l.must(tracker.StageCommitIndex(7), "StageCommitIndex(7)")
	l.put(6, 9, 1)
	l.verifyCommitIndex(7)
	l.reopen()
	l.verifyCommitIndex(7)

	tracker = l.tracker()
	l.put(10, 12, 1)
	l.verifyCommitIndex(7)
	l.must(tracker.StageCommitIndex(13), "StageCommitIndex(13)")
	l.put(13, 13, 1)
	l.verifyCommitIndex(13)
	l.remove(1, 8)
	l.verifyCommitIndex(13)
	l.reopen()
	l.verifyCommitIndex(13)
	l.verify()
}
