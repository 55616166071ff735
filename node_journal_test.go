package raft_test

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// history is what the FSMs of a cluster have applied, by index: no two of them may
// ever apply different commands at one index (State Machine Safety, Figure 3).
type history struct {
	mu       sync.Mutex
	commands map[uint64]string
	broken   []string
}

func (h *history) record(id raft.ServerID, index uint64, cmd string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.commands[index]; ok && old != cmd {
		h.broken = append(h.broken, fmt.Sprintf("%s applied %q at %d, where %q was applied", id, cmd, index, old))
	}
	h.commands[index] = cmd
}

func (h *history) violation(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = append(h.broken, fmt.Sprintf(format, args...))
}

// journal is an FSM that remembers its commands.
type journal struct {
	id      raft.ServerID
	history *history

	apply      gate          // before each Apply
	restore    gate          // before each Restore
	persist    gate          // before each Persist
	applyTime  time.Duration // of each Apply
	failing    atomic.Bool   // Restore fails
	restored   atomic.Int64  // how many Restores have succeeded
	released   atomic.Int64  // how many snapshots were released
	batches    atomic.Int64  // calls of Apply or ApplyBatch
	inProgress atomic.Int32

	mu       sync.Mutex
	commands []string
	last     uint64 // the last index seen
}

var _ raft.FSM = (*journal)(nil)

// enter checks that calls do not overlap.
func (j *journal) enter() (leave func()) {
	if j.inProgress.Add(1) > 1 {
		j.history.violation("two calls of %s's FSM at once", j.id)
	}
	return func() { j.inProgress.Add(-1) }
}

// Apply returns how many commands there are.
func (j *journal) Apply(e *raft.Log) any {
	defer j.enter()()
	j.batches.Add(1)
	j.apply.pass()
	time.Sleep(j.applyTime)
	return j.add(e)
}

func (j *journal) add(e *raft.Log) int {
	j.history.record(j.id, e.Index, string(e.Data))
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Index <= j.last {
		j.history.violation("%s applied %d after %d", j.id, e.Index, j.last)
	}
	j.last = e.Index
	j.commands = append(j.commands, string(e.Data))
	return len(j.commands)
}

// list returns the commands.
func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.commands)
}

func (j *journal) Snapshot() (raft.FSMSnapshot, error) {
	defer j.enter()()
	return &journalSnapshot{j, j.list()}, nil
}

var errRestore = fmt.Errorf("the FSM does not want to")

func (j *journal) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	defer j.enter()()
	j.restore.pass()
	var commands []string
	if err := json.NewDecoder(rc).Decode(&commands); err != nil {
		return err
	}
	if j.failing.Load() {
		return errRestore
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commands, j.last = commands, 0
	j.restored.Add(1)
	return nil
}

type journalSnapshot struct {
	journal  *journal
	commands []string
}

// encodeJournal returns the snapshot of a journal with these commands.
func encodeJournal(commands ...string) []byte {
	b, _ := json.Marshal(commands) // never fails
	return b
}

func (s *journalSnapshot) Persist(sink raft.SnapshotSink) error {
	s.journal.persist.pass()
	if _, err := sink.Write(encodeJournal(s.commands...)); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (s *journalSnapshot) Release() { s.journal.released.Add(1) }

// batchJournal is a journal that takes batches, and remembers configurations like
// commands.
type batchJournal struct{ *journal }

var _ raft.BatchingFSM = batchJournal{}

func (j batchJournal) ApplyBatch(entries []*raft.Log) []any {
	defer j.enter()()
	j.batches.Add(1)
	j.apply.pass()
	var responses []any
	for _, e := range entries {
		if e.Type == raft.LogConfiguration {
			responses = append(responses, nil)
			continue
		}
		responses = append(responses, j.add(e))
	}
	return responses
}

// configJournal is a journal that is told of configurations.
type configJournal struct {
	*journal
	mu      sync.Mutex
	configs []uint64
}

var _ raft.ConfigurationStore = (*configJournal)(nil)

func (j *configJournal) StoreConfiguration(index uint64, _ raft.Configuration) {
	defer j.enter()()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.configs = append(j.configs, index)
}
