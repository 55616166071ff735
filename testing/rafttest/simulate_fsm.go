package rafttest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The properties that FSMs are held to while they run.
const (
	differentEntries = "different entries applied"
	appliedAgain     = "applied index went back"
	entriesMissing   = "entries missing in an FSM"
	brokenFSMUsed    = "entry applied to an FSM that could not be restored"
)

// journal is what the FSMs of a cluster have applied, all of them together.
type journal struct {
	violate func(*Violation)

	mu      sync.Mutex
	applied map[uint64]journalEntry
	last    uint64
}

type journalEntry struct {
	raft.Log
	number uint64 // of entries up to this one
}

func newJournal(violate func(*Violation)) *journal {
	return &journal{violate: violate, applied: map[uint64]journalEntry{}}
}

// note records that a server applies an entry. It must be the one that others have
// applied at its index, after as many.
func (j *journal) note(f *simFSM, e *raft.Log) {
	j.mu.Lock()
	known, isKnown := j.applied[e.Index]
	if !isKnown {
		c := *e
		c.Data, c.Extensions = slices.Clone(e.Data), slices.Clone(e.Extensions)
		j.applied[e.Index] = journalEntry{c, f.number}
		j.last = max(j.last, e.Index)
	}
	j.mu.Unlock()
	switch {
	case !isKnown:
	case !sameEntry(&known.Log, e):
		j.violate(violation(differentEntries, "%s applies %s, another server applied %s", f.name(), entryString(e), entryString(&known.Log)))
	case known.number != f.number:
		j.violate(violation(entriesMissing, "%s applies %s as number %d, another server as number %d", f.name(), entryString(e), f.number, known.number))
	}
}

func sameEntry(a, b *raft.Log) bool {
	return a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func entryString(e *raft.Log) string {
	return fmt.Sprintf("%d@%d %v %q", e.Index, e.Term, e.Type, e.Data)
}

// commands returns the committed commands in the order of their indexes.
func (j *journal) commands() []raft.Log {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []raft.Log
	for i := uint64(1); i <= j.last; i++ {
		if e, ok := j.applied[i]; ok && e.Type == raft.LogCommand {
			all = append(all, e.Log)
		}
	}
	return all
}

// number returns how many entries have been applied.
func (j *journal) number() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.applied))
}

// fsmTrouble is what is wrong with an FSM. Its zero value is nothing.
type fsmTrouble struct {
	apply    time.Duration // each call of Apply takes so long
	persist  time.Duration // so long takes a snapshot to be written
	restore  time.Duration
	restores int // so many restores fail
	persists int // so many snapshots fail to be written
}

// simFSM is the user's FSM on one server, from its start to its end. It reports to the
// journal, and does what the troubles say.
//
// Its snapshots are those of the user's FSM behind a header: the index of the last
// entry in it and the number of all of them.
type simFSM struct {
	raft.FSM
	journal *journal
	counts  *eventCounts

	mu      sync.Mutex
	server  raft.ServerID // once it has started
	trouble fsmTrouble

	// Of the goroutine that calls the FSM.
	position
	broken bool
}

// position is how far an FSM has come: the index of the last entry in it, and how many
// entries there are.
type position struct{ last, number uint64 }

func (p position) header() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.last), p.number)
}

func readPosition(r io.Reader) (p position, err error) {
	var header [16]byte
	_, err = io.ReadFull(r, header[:])
	return position{binary.BigEndian.Uint64(header[:8]), binary.BigEndian.Uint64(header[8:])}, err
}

// newSimFSM wraps an FSM so that it has the optional methods that it has.
func newSimFSM(user raft.FSM, j *journal, counts *eventCounts) raft.FSM {
	f := &simFSM{FSM: user, journal: j, counts: counts}
	switch user := user.(type) {
	case raft.BatchingFSM:
		return simBatchingFSM{f, user}
	case raft.ConfigurationStore:
		return simConfigurationStore{f, user}
	}
	return f
}

func (f *simFSM) base() *simFSM { return f }

// is changes the troubles.
func (f *simFSM) is(change func(*fsmTrouble)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.trouble)
}

func (f *simFSM) troubles() fsmTrouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble
}

// fails takes one of a number of failures.
func (f *simFSM) fails(left func(*fsmTrouble) *int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := left(&f.trouble)
	if *n == 0 {
		return false
	}
	*n--
	return true
}

// begin marks the end of the node's start: restores from now on are of snapshots that
// a leader sent.
func (f *simFSM) begin(server raft.ServerID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = server
}

// name is the server's, empty while that starts.
func (f *simFSM) name() raft.ServerID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server
}

// dawdle sleeps for a time that a trouble says, or until it ends.
func (f *simFSM) dawdle(trouble func(*fsmTrouble) time.Duration) {
	const slice = 100 * time.Millisecond
	for slept := time.Duration(0); ; slept += slice {
		t := f.troubles()
		left := trouble(&t) - slept
		if left <= 0 {
			return
		}
		time.Sleep(min(left, slice))
	}
}

func (f *simFSM) Apply(e *raft.Log) interface{} {
	f.take(e)
	return f.FSM.Apply(e)
}

// take is the part of applying an entry that does not depend on the user's FSM.
func (f *simFSM) take(e *raft.Log) {
	f.dawdle(func(t *fsmTrouble) time.Duration { return t.apply })
	if f.broken {
		f.journal.violate(violation(brokenFSMUsed, "%s applies %s", f.name(), entryString(e)))
	}
	if e.Index <= f.last {
		f.journal.violate(violation(appliedAgain, "%s applies %s after %d", f.name(), entryString(e), f.last))
		return
	}
	f.position = position{e.Index, f.number + 1}
	f.journal.note(f, e)
}

func (f *simFSM) Snapshot() (raft.FSMSnapshot, error) {
	user, err := f.FSM.Snapshot()
	if err != nil {
		return nil, err
	}
	return &simSnapshot{user, f, f.position}, nil
}

var errTrouble = errors.New("rafttest: the simulation makes it fail")

// Restore restores what simSnapshot has written.
func (f *simFSM) Restore(r io.ReadCloser) error {
	at, err := readPosition(r)
	if err != nil {
		f.broken = true
		return errors.Join(err, r.Close())
	}
	f.dawdle(func(t *fsmTrouble) time.Duration { return t.restore })
	if at.last < f.last && !f.broken {
		f.journal.violate(violation(appliedAgain, "%s restores a snapshot at %d after it has applied %d", f.name(), at.last, f.last))
	}
	if f.fails(func(t *fsmTrouble) *int { return &t.restores }) {
		f.counts.add(&f.counts.n.FailedRestores)
		f.broken = true
		return errors.Join(errTrouble, r.Close())
	}
	err = f.FSM.Restore(r)
	f.broken = err != nil
	if err == nil {
		f.position = at
		f.countInstall()
	}
	return err
}

func (f *simFSM) countInstall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.server != "" {
		f.counts.add(&f.counts.n.Installs)
	}
}

// simSnapshot puts the header before the user's snapshot.
type simSnapshot struct {
	raft.FSMSnapshot
	fsm *simFSM
	at  position
}

func (s *simSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s.at.header()); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	s.fsm.dawdle(func(t *fsmTrouble) time.Duration { return t.persist })
	if s.fsm.fails(func(t *fsmTrouble) *int { return &t.persists }) {
		s.fsm.counts.add(&s.fsm.counts.n.FailedSnapshots)
		return errors.Join(errTrouble, sink.Cancel())
	}
	err := s.FSMSnapshot.Persist(sink)
	if err == nil {
		s.fsm.counts.add(&s.fsm.counts.n.Snapshots)
	}
	return err
}

// simBatchingFSM is a simFSM around an FSM that takes batches.
type simBatchingFSM struct {
	*simFSM
	user raft.BatchingFSM
}

func (f simBatchingFSM) ApplyBatch(entries []*raft.Log) []interface{} {
	for _, e := range entries {
		f.take(e)
	}
	return f.user.ApplyBatch(entries)
}

// simConfigurationStore is a simFSM around an FSM that wants configurations.
type simConfigurationStore struct {
	*simFSM
	user raft.ConfigurationStore
}

func (f simConfigurationStore) StoreConfiguration(index uint64, c raft.Configuration) {
	f.user.StoreConfiguration(index, c)
}

// stateOf returns the state of an FSM as its snapshot. Nobody else may use the FSM.
func stateOf(fsm raft.FSM) ([]byte, error) {
	snapshot, err := fsm.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	var sink stateSink
	err = snapshot.Persist(&sink)
	return sink.Bytes(), err
}

// stateSink keeps a snapshot in memory.
type stateSink struct{ bytes.Buffer }

func (*stateSink) Close() error  { return nil }
func (*stateSink) Cancel() error { return nil }
func (*stateSink) ID() string    { return "state" }
