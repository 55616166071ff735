package rafttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

// tableFSM is a good FSM, a table of strings, but for what its functions do instead.
// It is a BatchingFSM and a ConfigurationStore, and more careful with locks than an
// FSM needs to be, so that a fault is no data race.
type tableFSM struct {
	mu    sync.Mutex
	table map[string]string

	apply     func(f *tableFSM, log *raft.Log, key, value string) any
	batch     func(f *tableFSM, logs []*raft.Log) []any
	snapshot  func(f *tableFSM) (raft.FSMSnapshot, error)
	restore   func(f *tableFSM, r io.ReadCloser) error
	configure func(f *tableFSM)
}

// tableCommand is "key=value" of few keys; an empty value deletes.
func tableCommand(rng *rand.Rand) []byte {
	key, value := fmt.Sprint("key ", rng.IntN(30)), fmt.Sprint(rng.Uint64())
	if rng.IntN(4) == 0 {
		value = ""
	}
	return []byte(key + "=" + value)
}

// Apply returns the key's former value.
func (f *tableFSM) Apply(log *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, value, _ := strings.Cut(string(log.Data), "=")
	if f.apply != nil {
		return f.apply(f, log, key, value)
	}
	return f.set(key, value)
}

func (f *tableFSM) set(key, value string) any {
	old := f.table[key]
	if value == "" {
		delete(f.table, key)
	} else {
		f.table[key] = value
	}
	return old
}

func (f *tableFSM) ApplyBatch(logs []*raft.Log) []any {
	if f.batch != nil {
		return f.batch(f, logs)
	}
	return f.goodBatch(logs)
}

func (f *tableFSM) goodBatch(logs []*raft.Log) []any {
	var results []any
	for _, log := range logs {
		if log.Type == raft.LogCommand {
			results = append(results, f.Apply(log))
		} else {
			results = append(results, nil)
		}
	}
	return results
}

func (f *tableFSM) StoreConfiguration(uint64, raft.Configuration) {
	if f.configure != nil {
		f.configure(f)
	}
}

func (f *tableFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.snapshot != nil {
		return f.snapshot(f)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &tableSnapshot{table: maps.Clone(f.table)}, nil
}

func (f *tableFSM) Restore(r io.ReadCloser) error {
	if f.restore != nil {
		return f.restore(f, r)
	}
	return f.goodRestore(r)
}

func (f *tableFSM) goodRestore(r io.ReadCloser) error {
	defer r.Close()
	var table map[string]string
	if err := json.NewDecoder(r).Decode(&table); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table = table
	return nil
}

// tableSnapshot is a good handle but for what its function does instead.
type tableSnapshot struct {
	table   map[string]string
	persist func(s *tableSnapshot, sink raft.SnapshotSink) error
	release func()
}

func (s *tableSnapshot) Persist(sink raft.SnapshotSink) error {
	if s.persist != nil {
		return s.persist(s, sink)
	}
	if err := json.NewEncoder(sink).Encode(s.table); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (s *tableSnapshot) Release() {
	if s.release != nil {
		s.release()
	}
}

// snapshots is an FSM whose handles have something wrong.
func snapshots(change func(f *tableFSM, s *tableSnapshot)) func() tableFSM {
	return func() tableFSM {
		return tableFSM{snapshot: func(f *tableFSM) (raft.FSMSnapshot, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			s := &tableSnapshot{table: maps.Clone(f.table)}
			change(f, s)
			return s, nil
		}}
	}
}

func newTable(f *tableFSM) raft.FSM {
	f.table = map[string]string{}
	return f
}

func TestCheckFSMFindsFaults(t *testing.T) {
	var faults []fault
	add := func(name string, make func() tableFSM, found map[string]string) {
		faults = append(faults, fault{name: name, found: found, suite: fsmSuite(func() raft.FSM {
			f := make()
			return newTable(&f)
		}, tableCommand, &checkOptions{})})
	}
	applies := func(apply func(f *tableFSM, log *raft.Log, key, value string) any) func() tableFSM {
		return func() tableFSM { return tableFSM{apply: apply} }
	}
	restores := func(restore func(f *tableFSM, r io.ReadCloser) error) func() tableFSM {
		return func() tableFSM { return tableFSM{restore: restore} }
	}
	batches := func(batch func(f *tableFSM, logs []*raft.Log) []any) func() tableFSM {
		return func() tableFSM { return tableFSM{batch: batch} }
	}

	add("a value is drawn by lot", applies(func(f *tableFSM, _ *raft.Log, key, value string) any {
		return f.set(key, value+fmt.Sprint(rand.Uint64()))
	}), map[string]string{"Determinism": "the state is"})
	add("a result is drawn by lot", applies(func(f *tableFSM, _ *raft.Log, key, value string) any {
		f.set(key, value)
		return rand.Uint64()
	}), map[string]string{"Determinism": "the result number 1 is"})
	add("Apply changes its entry", applies(func(f *tableFSM, log *raft.Log, key, value string) any {
		clear(log.Data)
		return f.set(key, value)
	}), map[string]string{"EntriesAreNotTheFSMs": "Apply has changed its entry 10001: Data is"})
	add("a value is forgotten by snapshots", snapshots(func(_ *tableFSM, s *tableSnapshot) {
		for _, key := range slices.Sorted(maps.Keys(s.table))[:min(len(s.table), 1)] {
			delete(s.table, key)
		}
	}), map[string]string{"SnapshotAndRestore": "the result of a command after Restore"})
	add("Restore adds to what is there", restores(func(f *tableFSM, r io.ReadCloser) error {
		defer r.Close()
		return json.NewDecoder(r).Decode(&f.table)
	}), map[string]string{"RestoreReplacesAll": "the state after Restore into an FSM that had another one"})
	add("Restore fails", restores(func(*tableFSM, io.ReadCloser) error { return errFault }), map[string]string{"SnapshotAndRestore": "Restore: no, thanks"})
	add("a handle is on the live table", snapshots(func(f *tableFSM, s *tableSnapshot) {
		s.persist = func(s *tableSnapshot, sink raft.SnapshotSink) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			s.table = maps.Clone(f.table)
			s.persist = nil
			return s.Persist(sink)
		}
	}), map[string]string{"SnapshotIsOfItsMoment": "persisted after later commands"})
	add("Snapshot empties the table", snapshots(func(f *tableFSM, _ *tableSnapshot) { clear(f.table) }), map[string]string{"SnapshotChangesNothing": "the result of a command between snapshots"})
	add("Release needs a Persist", snapshots(func(_ *tableFSM, s *tableSnapshot) {
		var done chan struct{}
		s.persist = func(s *tableSnapshot, sink raft.SnapshotSink) error {
			done, s.persist = make(chan struct{}), nil
			return s.Persist(sink)
		}
		s.release = func() { close(done) }
	}), map[string]string{"SnapshotChangesNothing": "panic: close of nil channel"})
	add("Persist closes in any case", snapshots(func(_ *tableFSM, s *tableSnapshot) {
		s.persist = func(s *tableSnapshot, sink raft.SnapshotSink) error {
			err := json.NewEncoder(sink).Encode(s.table)
			_ = sink.Close()
			return err
		}
	}), map[string]string{"PersistEndsItsSink": "leaves it closed: true"})
	add("Persist swallows errors", snapshots(func(_ *tableFSM, s *tableSnapshot) {
		s.persist = func(s *tableSnapshot, sink raft.SnapshotSink) error {
			if json.NewEncoder(sink).Encode(s.table) != nil {
				return sink.Cancel()
			}
			return sink.Close()
		}
	}), map[string]string{"PersistEndsItsSink": "returns error <nil>"})
	add("Persist leaves the sink open", snapshots(func(_ *tableFSM, s *tableSnapshot) {
		s.persist = func(s *tableSnapshot, sink raft.SnapshotSink) error { return json.NewEncoder(sink).Encode(s.table) }
	}), map[string]string{"PersistEndsItsSink": "leaves the sink closed: false"})
	add("Restore reads once", restores(func(f *tableFSM, r io.ReadCloser) error {
		b := make([]byte, 1<<20)
		n, err := r.Read(b)
		if err != nil {
			return err
		}
		return f.goodRestore(struct {
			io.Reader
			io.Closer
		}{bytes.NewReader(b[:n]), r})
	}), map[string]string{"RestoreReadsAndCloses": "byte by byte"})
	add("Restore leaves the reader open", restores(func(f *tableFSM, r io.ReadCloser) error {
		return f.goodRestore(io.NopCloser(r))
	}), map[string]string{"RestoreReadsAndCloses": "has not closed its reader", "DamagedSnapshot": "has not closed its reader"})
	add("Restore panics on a damaged snapshot", restores(func(f *tableFSM, r io.ReadCloser) error {
		if err := f.goodRestore(r); err != nil {
			panic(err)
		}
		return nil
	}), map[string]string{"DamagedSnapshot": "panic: EOF"})
	add("Restore ignores damage", restores(func(f *tableFSM, r io.ReadCloser) error {
		_ = f.goodRestore(r)
		return nil
	}), map[string]string{"DamagedSnapshot": "ends after 0 of"})
	add("Restore never works again", func() tableFSM {
		broken := false
		return tableFSM{restore: func(f *tableFSM, r io.ReadCloser) error {
			err := f.goodRestore(r)
			broken = broken || err != nil
			if broken {
				return errFault
			}
			return nil
		}}
	}, map[string]string{"DamagedSnapshot": "Restore: no, thanks"})
	add("ApplyBatch returns results for commands only", batches(func(f *tableFSM, logs []*raft.Log) []any {
		results := f.goodBatch(logs)
		if len(logs) > 1 {
			results = slices.DeleteFunc(results, func(r any) bool { return r == nil })
		}
		return results
	}), map[string]string{"ApplyBatch": "results for"})
	add("ApplyBatch returns its results in another order", batches(func(f *tableFSM, logs []*raft.Log) []any {
		results := f.goodBatch(logs)
		slices.Reverse(results)
		return results
	}), map[string]string{"ApplyBatch": "the result of an entry in a batch"})
	add("ApplyBatch applies the last entry only", batches(func(f *tableFSM, logs []*raft.Log) []any {
		results := make([]any, len(logs))
		for i, log := range logs {
			if log.Type == raft.LogCommand && i == len(logs)-1 {
				results[i] = f.Apply(log)
			}
		}
		return results
	}), map[string]string{"ApplyBatch": "the state after batches is"})
	add("a configuration empties the table", func() tableFSM {
		return tableFSM{configure: func(f *tableFSM) { clear(f.table) }}
	}, map[string]string{"StoreConfiguration": "the result of a command between configurations"})
	testFaults(t, faults)
}

// The commands' bytes are kept by an FSM that is all bytes.
type keptBytes struct{ MockFSM }

func (k *keptBytes) Apply(log *raft.Log) any {
	k.Lock()
	defer k.Unlock()
	k.logs = append(k.logs, log.Data)
	return len(k.logs)
}

func TestCheckFSMFindsKeptBytes(t *testing.T) {
	testFaults(t, []fault{{
		name:  "an entry's bytes are kept",
		suite: fsmSuite(func() raft.FSM { return &keptBytes{} }, tableCommand, &checkOptions{}),
		found: map[string]string{"EntriesAreNotTheFSMs": "after the commands' bytes were overwritten"},
	}})
}

func TestCheckFSMOfATable(t *testing.T) {
	CheckFSM(t, func() raft.FSM { return newTable(&tableFSM{}) }, tableCommand,
		FSMState(func(fsm raft.FSM) any { return maps.Clone(fsm.(*tableFSM).table) }))
}
