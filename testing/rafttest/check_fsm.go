package rafttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/raft"
)

// CheckFSM checks an implementation of [raft.FSM] and, if it has them, of its
// extensions [raft.BatchingFSM] and [raft.ConfigurationStore]. Each check is a
// subtest of t with FSMs of its own, which newFSM returns and nobody closes.
//
// command returns one command of a random workload. The same numbers from rng must
// lead to the same command. Commands should be such that their order matters, and
// their results too.
//
// Results of Apply are equal if [reflect.DeepEqual] says so; errors, if they have
// the same text. States are equal if their snapshots have the same bytes; see
// [FSMState] for an FSM that may write the same state in several ways.
func CheckFSM(t *testing.T, newFSM func() raft.FSM, command func(rng *rand.Rand) []byte, options ...CheckOption) {
	t.Helper()
	o := newCheckOptions(options)
	fsmSuite(newFSM, command, o).test(t, o)
}

// FSMState says how [CheckFSM] gets at the state of an FSM to compare it with
// another one's, by [reflect.DeepEqual].
func FSMState(state func(raft.FSM) any) CheckOption {
	return func(o *checkOptions) { o.fsmState = state }
}

func fsmSuite(newFSM func() raft.FSM, command func(rng *rand.Rand) []byte, o *checkOptions) suite {
	return bindChecks(fsmChecks, func(p *probe) *fsmProbe {
		return &fsmProbe{p, newFSM, command, o.fsmState}
	})
}

var fsmChecks = []check[*fsmProbe]{
	{
		"Determinism",
		"the same commands in the same order lead to the same results and the same state",
		"the servers' FSMs differ for ever",
		func(m *fsmProbe) {
			a, b := m.newFSM(), m.newFSM()
			log := m.log(1, 500)
			m.same("the result", m.apply(a, log), m.apply(b, log))
			m.same("the state", m.state(a), m.state(b))
		},
	},
	{
		"EntriesAreNotTheFSMs",
		"Apply does not change the entry, and keeps copies of what it needs of it",
		"a follower gets another command than the leader applied, or the state changes by itself",
		(*fsmProbe).checkEntries,
	},
	{
		"SnapshotAndRestore",
		"an FSM that restores another one's snapshot has its state, and gives the same results from then on",
		"a server that was restarted or got a snapshot differs from the others for ever",
		func(m *fsmProbe) {
			for _, size := range []int{0, 1, 300} {
				original, copied := m.newFSM(), m.newFSM()
				m.apply(original, m.log(1, size))
				m.restore(copied, m.snapshot(original))
				m.same(fmt.Sprintf("the state restored from a snapshot after %d commands", size), m.state(copied), m.state(original))
				more := m.log(2, 100)
				m.same("the result of a command after Restore", m.apply(copied, more), m.apply(original, more))
				m.same("the state after Restore and more commands", m.state(copied), m.state(original))
			}
		},
	},
	{
		"RestoreReplacesAll",
		"Restore leaves nothing of the state that was there before",
		"a follower that got a snapshot keeps what the others have deleted",
		func(m *fsmProbe) {
			empty, some, full := m.newFSM(), m.newFSM(), m.newFSM()
			m.apply(some, m.log(1, 50))
			m.apply(full, m.log(2, 300))
			for _, source := range []raft.FSM{some, empty, some} {
				m.restore(full, m.snapshot(source))
				m.same("the state after Restore into an FSM that had another one", m.state(full), m.state(source))
			}
		},
	},
	{
		"SnapshotIsOfItsMoment",
		"what Persist writes is the state at the time of Snapshot, whatever is applied before and meanwhile",
		"a snapshot has commands that come again from the log: they are applied twice",
		(*fsmProbe).checkMoment,
	},
	{
		"SnapshotChangesNothing",
		"Snapshot, Persist and Release leave the state as it was, and Release works without a Persist",
		"a server that takes snapshots differs from those that don't",
		func(m *fsmProbe) {
			with, without := m.newFSM(), m.newFSM()
			for i := range uint64(5) {
				log := m.log(i, 40)
				m.same("the result of a command between snapshots", m.apply(with, log), m.apply(without, log))
				m.snapshot(with)
				m.handle(with).Release()
			}
			m.same("the state", m.state(with), m.state(without))
		},
	},
	{
		"PersistEndsItsSink",
		"Persist closes the sink when it has written all, or cancels it and returns the error; it never closes it after a Write has failed",
		"half a snapshot is taken for a good one and the log is compacted: the state is lost",
		(*fsmProbe).checkPersist,
	},
	{
		"RestoreReadsAndCloses",
		"Restore reads a stream that comes in pieces of any size to its end, and closes it",
		"a snapshot over a network is restored in part, or files stay open",
		(*fsmProbe).checkReaders,
	},
	{
		"DamagedSnapshot",
		"Restore of a snapshot that ends too early, or whose reader fails, returns an error and does not panic; a good one can be restored then",
		"a server goes on with half a state, or dies again and again when it could have taken an older snapshot",
		(*fsmProbe).checkDamaged,
	},
	{
		"ApplyBatch",
		"ApplyBatch returns one result for each entry, those of Apply, however the log is cut into batches and whatever configurations are among the commands",
		"clients get other clients' results, and servers differ by how fast they were",
		(*fsmProbe).checkBatches,
	},
	{
		"StoreConfiguration",
		"configurations do not change what commands lead to",
		"a server with protocol version 3 differs from those with an older one",
		func(m *fsmProbe) {
			told, untold := m.newFSM(), m.newFSM()
			store, ok := told.(raft.ConfigurationStore)
			if !ok {
				m.skipf("the FSM is no ConfigurationStore")
			}
			for i := range uint64(5) {
				store.StoreConfiguration(1000*i, newSnapshotOf(i, 1, 0).config)
				log := m.log(i, 40)
				m.same("the result of a command between configurations", m.apply(told, log), m.apply(untold, log))
			}
		},
	},
}

func (m *fsmProbe) checkEntries() {
	kept, cleared := m.newFSM(), m.newFSM()
	log := m.log(1, 300)
	m.apply(kept, m.log(1, 300))
	for _, e := range log {
		before := *e
		before.Data, before.Extensions = bytes.Clone(e.Data), bytes.Clone(e.Extensions)
		cleared.Apply(e)
		if diff := diffLog(e, &before); diff != "" {
			m.errorf("Apply has changed its entry %d: %s", e.Index, diff)
		}
		clear(e.Data)
	}
	m.same("the state, after the commands' bytes were overwritten,", m.state(cleared), m.state(kept))
}

func (m *fsmProbe) checkMoment() {
	fsm, want := m.newFSM(), m.newFSM()
	m.apply(fsm, m.log(1, 200))
	m.apply(want, m.log(1, 200))
	handle := m.handle(fsm)
	m.apply(fsm, m.log(2, 200))
	persisted := make(chan []byte, 1)
	done := m.spawn(func() { persisted <- m.persist(handle) })
	m.apply(fsm, m.log(3, 500)) // side by side, as a node does
	<-done
	handle.Release()
	if m.failed() {
		return
	}
	restored := m.newFSM()
	m.restore(restored, <-persisted)
	m.same("the state in a snapshot that was persisted after later commands", m.state(restored), m.state(want))
}

func (m *fsmProbe) checkPersist() {
	fsm := m.newFSM()
	m.apply(fsm, m.log(1, 300))
	whole := &memorySink{room: -1}
	handle := m.handle(fsm)
	if err := handle.Persist(whole); err != nil || !whole.closed || whole.cancelled {
		m.errorf("Persist returns error %v and leaves the sink closed: %v, cancelled: %v", err, whole.closed, whole.cancelled)
	}
	handle.Release()
	for _, room := range []int{0, whole.Len() / 2, whole.Len() - 1} {
		if room < 0 || room >= whole.Len() {
			continue
		}
		sink := &memorySink{room: room}
		handle := m.handle(fsm)
		if err := handle.Persist(sink); err == nil || sink.closed {
			m.errorf("Persist to a sink that fails after %d of %d bytes returns error %v and leaves it closed: %v", room, whole.Len(), err, sink.closed)
		}
		handle.Release()
	}
}

func (m *fsmProbe) checkReaders() {
	original := m.newFSM()
	m.apply(original, m.log(1, 300))
	snapshot := m.snapshot(original)
	for _, tt := range []struct {
		pieces string
		r      io.Reader
	}{
		{"all at once", bytes.NewReader(snapshot)},
		{"byte by byte", iotest.OneByteReader(bytes.NewReader(snapshot))},
		{"together with its end", iotest.DataErrReader(bytes.NewReader(snapshot))},
		{"in halves, together with its end", iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(snapshot)))},
	} {
		restored := m.newFSM()
		source := &countedCloser{Reader: tt.r}
		m.must(restored.Restore(source), "Restore of a stream that comes %s", tt.pieces)
		if source.closed == 0 {
			m.errorf("Restore has not closed its reader")
		}
		m.same("the state restored from a stream that comes "+tt.pieces, m.state(restored), m.state(original))
	}
}

func (m *fsmProbe) checkDamaged() {
	original := m.newFSM()
	m.apply(original, m.log(1, 300))
	snapshot, want := m.snapshot(original), m.state(original)
	if len(snapshot) == 0 {
		m.skipf("the snapshot is empty")
	}
	restored := m.newFSM()
	attempt := func(name string, r io.Reader) {
		source := &countedCloser{Reader: r}
		if err := restored.Restore(source); err == nil && !reflect.DeepEqual(m.state(restored), want) {
			m.errorf("Restore of a snapshot that %s returns no error, but another state", name)
		}
		if source.closed == 0 {
			m.errorf("Restore of a snapshot that %s has not closed its reader", name)
		}
	}
	for _, n := range []int{0, 1, len(snapshot) / 2, len(snapshot) - 1} {
		name := fmt.Sprintf("ends after %d of %d bytes", n, len(snapshot))
		attempt(name, bytes.NewReader(snapshot[:n]))
	}
	for _, n := range []int{0, len(snapshot) / 2, len(snapshot) - 1} {
		source := io.MultiReader(bytes.NewReader(snapshot[:n]), failingReader{})
		attempt(fmt.Sprintf("can't be read after %d of %d bytes", n, len(snapshot)), source)
	}
	m.restore(restored, snapshot)
	m.same("the state after failed attempts and a good one", m.state(restored), want)
}

func (m *fsmProbe) checkBatches() {
	single, ok := m.newFSM().(raft.BatchingFSM)
	if !ok {
		m.skipf("the FSM is no BatchingFSM")
	}
	log := m.log(1, 300)
	for i := 10; i < len(log); i += 20 {
		log[i].Type, log[i].Data = raft.LogConfiguration, raft.EncodeConfiguration(newSnapshotOf(uint64(i), 1, 0).config)
	}
	var want []any
	for _, e := range log {
		if e.Type == raft.LogCommand {
			want = append(want, single.Apply(e))
		} else {
			want = append(want, single.ApplyBatch([]*raft.Log{e})[0])
		}
	}
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 0))
		batching := m.newFSM().(raft.BatchingFSM)
		var got []any
		for rest := log; len(rest) > 0; {
			n := min(1+rng.IntN(64), len(rest))
			results := batching.ApplyBatch(slices.Clone(rest[:n]))
			if len(results) != n {
				m.fatalf("ApplyBatch returns %d results for %d entries", len(results), n)
			}
			got = append(got, results...)
			rest = rest[n:]
		}
		m.same("the result of an entry in a batch", got, want)
		m.same("the state after batches", m.state(batching), m.state(single))
	}
}

// fsmProbe is the run of a check on FSMs.
type fsmProbe struct {
	*probe
	newFSM  func() raft.FSM
	command func(rng *rand.Rand) []byte
	stateOf func(raft.FSM) any // nil: by snapshots
}

// log returns commands, the same for the same seed.
func (m *fsmProbe) log(seed uint64, size int) []*raft.Log {
	rng := rand.New(rand.NewPCG(seed, 1))
	var log []*raft.Log
	for i := range uint64(size) {
		e := logEntry(10_000*seed+i+1, 1)
		e.Type, e.Extensions, e.Data = raft.LogCommand, nil, bytes.Clone(m.command(rng))
		log = append(log, e)
	}
	return log
}

func (m *fsmProbe) apply(fsm raft.FSM, log []*raft.Log) (results []any) {
	for _, e := range log {
		results = append(results, fsm.Apply(e))
	}
	return results
}

func (m *fsmProbe) handle(fsm raft.FSM) raft.FSMSnapshot {
	handle, err := fsm.Snapshot()
	m.must(err, "Snapshot")
	return handle
}

func (m *fsmProbe) persist(handle raft.FSMSnapshot) []byte {
	sink := &memorySink{room: -1}
	m.must(handle.Persist(sink), "Persist")
	return sink.Bytes()
}

// snapshot returns a snapshot as it would lie in a store.
func (m *fsmProbe) snapshot(fsm raft.FSM) []byte {
	handle := m.handle(fsm)
	defer handle.Release()
	return m.persist(handle)
}

func (m *fsmProbe) restore(fsm raft.FSM, snapshot []byte) {
	m.must(fsm.Restore(io.NopCloser(bytes.NewReader(snapshot))), "Restore")
}

func (m *fsmProbe) state(fsm raft.FSM) any {
	if m.stateOf != nil {
		return m.stateOf(fsm)
	}
	return m.snapshot(fsm)
}

// same compares two states, or two lists of results up to the first that differs.
func (m *fsmProbe) same(what string, got, want any) {
	gots, ok1 := got.([]any)
	wants, ok2 := want.([]any)
	if !ok1 || !ok2 || len(gots) != len(wants) {
		if !reflect.DeepEqual(got, want) {
			m.errorf("%s is %s, want %s", what, describe(got), describe(want))
		}
		return
	}
	for i := range gots {
		if !sameResult(gots[i], wants[i]) {
			m.errorf("%s number %d is %s, want %s", what, i+1, describe(gots[i]), describe(wants[i]))
			return
		}
	}
}

func sameResult(a, b any) bool {
	errA, ok1 := a.(error)
	errB, ok2 := b.(error)
	if ok1 && ok2 {
		return errA.Error() == errB.Error()
	}
	return reflect.DeepEqual(a, b)
}

func describe(v any) string {
	if b, ok := v.([]byte); ok {
		return shorten(b)
	}
	return fmt.Sprintf("%+v (%T)", v, v)
}

// memorySink is a sink that has room for so many bytes, any number if it is
// negative.
type memorySink struct {
	bytes.Buffer
	room              int
	closed, cancelled bool
}

var errNoRoom = errors.New("no space left on device")

func (s *memorySink) Write(b []byte) (int, error) {
	if s.room >= 0 && s.Len()+len(b) > s.room {
		n, _ := s.Buffer.Write(b[:s.room-s.Len()]) // never fails
		return n, errNoRoom
	}
	return s.Buffer.Write(b)
}

func (s *memorySink) ID() string { return "memory" }

func (s *memorySink) Close() error {
	s.closed = !s.cancelled
	return nil
}

func (s *memorySink) Cancel() error {
	s.cancelled = !s.closed
	return nil
}

// countedCloser counts how often a reader is closed.
type countedCloser struct {
	io.Reader
	closed int
}

func (c *countedCloser) Close() error {
	c.closed++
	return nil
}
