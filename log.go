package raft

import (
	"fmt"
	"time"
)

// LogType says who an entry of the log is for.
type LogType uint8

const (
	// LogCommand is a user's command; the FSM applies it.
	LogCommand LogType = iota

	// LogNoop is the entry that opens a leader's term.
	LogNoop

	// LogAddPeerDeprecated and LogRemovePeerDeprecated hold a whole set of
	// voters. Protocol versions 0 and 1 wrote them; every version reads them.
	LogAddPeerDeprecated
	LogRemovePeerDeprecated

	// LogBarrier is what [Raft.Barrier] waits for. The FSM does not see it.
	LogBarrier

	// LogConfiguration holds the cluster's membership, see
	// [EncodeConfiguration].
	LogConfiguration
)

// String returns the name of the constant, or the number of an unknown type.
func (t LogType) String() string {
	switch t {
	case LogCommand:
		return "LogCommand"
	case LogNoop:
		return "LogNoop"
	case LogAddPeerDeprecated:
		return "LogAddPeerDeprecated"
	case LogRemovePeerDeprecated:
		return "LogRemovePeerDeprecated"
	case LogBarrier:
		return "LogBarrier"
	case LogConfiguration:
		return "LogConfiguration"
	default:
		return fmt.Sprintf("%d", uint8(t))
	}
}

// Log is one entry of the replicated log. It is immutable once appended: the
// writer, the lanes and the FSM all hold the same pointer.
type Log struct {
	// Index is the entry's position; the first entry of a log has index 1.
	Index uint64

	// Term is the term of the leader that appended the entry. Index and Term
	// together name it for ever (the Log Matching property, §5.3).
	Term uint64

	// Type says who the entry is for.
	Type LogType

	// Data is the command, the configuration, or empty.
	Data []byte

	// Extensions is for libraries that wrap this one and must tell their own
	// data from their users'. The protocol only carries it.
	Extensions []byte

	// AppendedAt is the leader's clock when it appended the entry; zero if an
	// older version wrote it. It is good for measuring lag and nothing else:
	// clocks of different leaders differ.
	AppendedAt time.Time
}

// MaxEntrySize is the largest Data plus Extensions of an entry, in bytes:
// [Raft.Apply] refuses more with [ErrEntryTooLarge]. Entries should be far
// smaller, see [SuggestedMaxDataSize].
const MaxEntrySize = 1 << 30

// SuggestedMaxDataSize is advice for the size of an entry's Data, in bytes: a
// large entry delays everything behind it.
const SuggestedMaxDataSize = 512 * 1024

// LogStore keeps the log on stable storage. Every method may be called from
// several goroutines at once; writes (StoreLog, StoreLogs, DeleteRange) come
// from one goroutine at a time.
//
// A write that fails may have been done in part. If the error wraps syscall.EIO the
// node stops. After any other it steps aside, takes nothing for stored that was not
// acknowledged, and tries the store again until it works.
type LogStore interface {
	// FirstIndex returns the index of the first entry, 0 if there is none.
	FirstIndex() (uint64, error)

	// LastIndex returns the index of the last entry, 0 if there is none.
	LastIndex() (uint64, error)

	// GetLog reads an entry into log. For an entry that the store does not
	// have it returns exactly [ErrLogNotFound].
	GetLog(index uint64, log *Log) error

	// StoreLog stores one entry, see StoreLogs.
	StoreLog(log *Log) error

	// StoreLogs stores entries of consecutive indexes. When it returns nil they
	// survive a crash. An existing entry is overwritten. The entries may leave a
	// gap behind what the store has, unless it is a [MonotonicLogStore]. They must
	// not be changed.
	StoreLogs(logs []*Log) error

	// DeleteRange deletes the entries min to max, both included. The range is a
	// prefix or a suffix of the log; an empty one is no error.
	DeleteRange(min, max uint64) error
}

// RangeLogStore is an optional extension of [LogStore] for stores that read many entries
// faster together than one by one: in one transaction, with one cursor, with large reads.
// It is used to open the log, to apply entries that are not in memory and to catch up
// followers.
type RangeLogStore interface {
	LogStore

	// ReadLogs calls visit with the entries first to last, both included, in order,
	// until visit returns false. They are those that GetLog would return, each as it is
	// at some time during the call. At the first entry that the store does not have
	// ReadLogs ends and returns exactly [ErrLogNotFound], at one that it can't read
	// what GetLog would. If first is above last there is nothing to do.
	//
	// The Log, and the memory that it points to, is the store's: it must not be changed,
	// and is valid only until visit returns. visit is quick, and calls no method of the
	// store.
	ReadLogs(first, last uint64, visit func(*Log) bool) error

	// ReadsLogsOf returns the store itself, or nil if ReadLogs is not to be used. A type
	// that embeds a store has that one's ReadLogs without having asked for it, and may
	// have another GetLog: what it inherits here is not itself, and ReadLogs is not
	// called. To have it used the type needs a ReadsLogsOf of its own.
	ReadsLogsOf() LogStore
}

// MonotonicLogStore is an optional extension of [LogStore] for stores that
// cannot have gaps: their entries are always consecutive. Such a store is
// emptied before it starts again at another index, as it does after a snapshot
// was installed.
type MonotonicLogStore interface {
	IsMonotonic() bool
}

// CommitTrackingLogStore is an optional extension of [LogStore] for stores that
// keep the commit index beside the entries. [Config.RestoreCommittedLogs] needs
// it.
type CommitTrackingLogStore interface {
	LogStore

	// StageCommitIndex announces the commit index that the next StoreLogs makes
	// durable, in one step with its entries. It is never above the last entry of
	// that call.
	StageCommitIndex(index uint64) error

	// GetCommitIndex returns the durable commit index, 0 if there is none.
	GetCommitIndex() (uint64, error)
}

// entryID names a log entry. Two logs that both contain an entryID are equal up
// to and including it.
type entryID struct{ index, term uint64 }

// atLeast reports whether a log that ends with a is at least as up to date as
// one that ends with b (§5.4.1).
func (a entryID) atLeast(b entryID) bool {
	return a.term > b.term || a.term == b.term && a.index >= b.index
}

func (a entryID) String() string { return fmt.Sprintf("%d@%d", a.index, a.term) }

func idOf(e *Log) entryID { return entryID{e.Index, e.Term} }

// logSize is what an entry counts against byte bounds: its payload and about
// what the rest of it takes on the wire.
func logSize(e *Log) int { return len(e.Data) + len(e.Extensions) + 64 }
