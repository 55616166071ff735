package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hashicorp/raft"
)

// This file: the log and the stable store, and the FSM.
var storage = []scenario{
	{"D4a", "a FSM answers a batch with too few results", shortBatch},
	{"D4b", "reading a committed entry from the store fails for a while", unreadableEntry},
	{"D4c", "the FSM cannot restore the snapshot that a user gave", failedUserRestore},
	{"D5", "a LogCache of 512 entries has seen 512 entries of 1 MiB", cacheOfLargeEntries},
	{"D6a", "RestoreCommittedLogs with 9,000 committed entries", manyCommitted},
	{"D6b", "RestoreCommittedLogs and a restart", committedConfiguration},
	{"D8", "a StableStore wraps its \"not found\"", wrappedNotFound},
	{"D10", "TrailingLogs is 0; a snapshot, a restart, a new follower", noTrailingLogs},
}

// shortFSM loses a result of each batch of more than one.
type shortFSM struct{ *machine }

func (f shortFSM) ApplyBatch(entries []*raft.Log) []any {
	for _, entry := range entries {
		f.machine.Apply(entry)
	}
	return make([]any, len(entries)-1)
}

// D4. That is the FSM's mistake, and no reason to end the process.
func shortBatch(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...)
	n.fsm = shortFSM{n.machine}
	n.start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	if s.mustEnd(n.Apply([]byte("x"), 0).Error, "Apply") == nil {
		s.violated("success without a result")
	}
}

// D4. A follower has the entries on disk, and is told that they are committed.
func unreadableEntry(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "lead", "c"), commandsOf(2, 20, 1, "x")...)...).start()
	lead := s.peer("lead")
	n.disk.logs.before(func(op operation) error {
		if op.name == "get" {
			return errors.New("input buffer too small")
		}
		return nil
	})
	lead.tryAppend(n, 2, 20, 1, 20)
	time.Sleep(settle)
	n.disk.logs.before(nil)
	if !within(prompt, func() bool {
		lead.tryAppend(n, 2, 20, 1, 20)
		return len(n.machine.commands()) == 19
	}) {
		s.violated("the store works again, but the entries are not applied")
	}
}

// D4. The process may have other things to do.
func failedUserRestore(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...).start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	n.settled()
	n.machine.failRestore(errors.New("disk full"))
	state := encodeState("x")
	meta := &raft.SnapshotMeta{Version: 1, Size: int64(len(state))}
	err := s.mustEnd(func() error { return n.Restore(meta, bytes.NewReader(state), patience) }, "Restore")
	if err == nil {
		s.violated("Restore reports success")
	}
}

// forgetful is a log store that keeps nothing, so that only the cache does.
type forgetful struct{ raft.LogStore }

func (forgetful) StoreLogs([]*raft.Log) error { return nil }

// D5. What it keeps must have a limit in bytes.
func cacheOfLargeEntries(s *stage) {
	cache, err := raft.NewLogCache(512, forgetful{raft.NewInmemStore()})
	s.must(err)
	for i := range uint64(512) {
		s.must(cache.StoreLogs([]*raft.Log{{Index: i + 1, Term: 1, Data: make([]byte, 1<<20)}}))
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	runtime.KeepAlive(cache)
	if got := memory.HeapAlloc >> 20; got > 128 {
		s.violated("it holds more than %d MiB", 128*(got/128))
	}
}

// tracking returns a server whose log store knows what is committed.
func (s *stage) tracking() (*server, *raft.InmemCommitTrackingStore) {
	n := s.server("n").timeouts(100 * time.Millisecond)
	store := raft.NewInmemCommitTrackingStore()
	n.tracker = store
	n.conf.RestoreCommittedLogs = true
	return n, store
}

// D6. NewRaft must return, with everything applied.
func manyCommitted(s *stage) {
	const last = 9000
	n, store := s.tracking()
	s.must(store.StoreLogs(logOf(voters("n"), commandsOf(2, last, 1, "x")...)))
	s.must(store.StageCommitIndex(last))
	n.inTerm(1)
	started := make(chan error, 1)
	go func() { started <- n.tryStart() }()
	if !within(prompt, func() bool { return len(started) > 0 }) {
		s.hangs("NewRaft")
	}
	s.must(<-started)
	if got := len(n.machine.commands()); got < last-1 {
		s.violated("fewer than the %d commands are applied when NewRaft returns", last-1)
	}
}

// D6. The configuration is one of the committed entries.
func committedConfiguration(s *stage) {
	n, store := s.tracking()
	s.must(store.StoreLogs(logOf(voters("n"), commandsOf(2, 5, 1, "x")...)))
	s.must(store.StageCommitIndex(5))
	n.inTerm(1).start()
	if !within(prompt, func() bool { return n.State() == raft.Leader }) {
		s.violated("it knows of no configuration any more, and never leads")
	}
}

// D8. A blank node starts on such a store.
func wrappedNotFound(s *stage) {
	n := s.server("n")
	n.disk.stable.missing = fmt.Errorf("key: %w", raft.ErrLogNotFound)
	if err := n.tryStart(); err != nil {
		s.violated("NewRaft fails: %v", err)
	}
}

// D10. All that there is comes from the snapshot.
func noTrailingLogs(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...)
	n.conf.TrailingLogs = 0
	n.start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	for range 5 {
		s.succeed(n.Apply([]byte("x"), 0))
	}
	s.succeed(n.Snapshot())
	s.succeed(n.Shutdown())

	again := n.restarted(n.disk).timeouts(100 * time.Millisecond)
	again.conf.TrailingLogs = 0
	if err := again.tryStart(); err != nil {
		s.violated("NewRaft fails: %v", err)
	}
	if !within(prompt, func() bool { return again.State() == raft.Leader }) {
		s.violated("it never leads again")
	}
	s.succeed(again.Apply([]byte("y"), 0))
	again.shown("x", "x", "x", "x", "x", "y")
	d := s.peer("d")
	d.behave(func(req any) (any, error) { // it is blank
		a, ok := req.(*raft.AppendEntriesRequest)
		if ok && a.PrevLogEntry > 0 && d.seen.count(isSnapshot) == 0 {
			return d.refuse(a, 0), nil
		}
		return nil, nil
	})
	s.succeed(again.AddNonvoter(d.id, d.addr, 0, patience))
	if !within(prompt, func() bool { return d.seen.count(carriesData("y")) > 0 || d.seen.count(isSnapshot) > 0 }) {
		s.violated("the new follower gets nothing")
	}
}
