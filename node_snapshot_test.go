package raft_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file tests taking snapshots, compacting the log, and starting on both.

// rarely keeps nodes from taking snapshots by themselves.
func rarely(conf *raft.Config) { conf.SnapshotThreshold = 1 << 40 }

// trailing keeps so many entries behind a snapshot.
func trailing(n uint64) func(*raft.Config) {
	return func(conf *raft.Config) {
		rarely(conf)
		conf.TrailingLogs = n
	}
}

// firstIndex is the first entry in a node's store.
func (n *node) firstIndex() uint64 {
	first, _ := n.disk.FirstIndex() // never fails
	return first
}

// snapshotIndex is the index of a node's newest snapshot, 0 if it has none.
func (n *node) snapshotIndex() uint64 {
	list, _ := n.snaps.List()
	if len(list) == 0 {
		return 0
	}
	return list[0].Index
}

// A snapshot is taken when there are SnapshotThreshold entries, at the next look after
// SnapshotInterval, and lets go of the log but for TrailingLogs entries.
func TestNodeAutomaticSnapshot(t *testing.T) {
	config := func(conf *raft.Config) {
		conf.SnapshotThreshold, conf.SnapshotInterval, conf.TrailingLogs = 100, 10*time.Second, 20
	}
	bubble(t, options{config: config}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.fill(90)
		time.Sleep(time.Minute)
		for _, n := range c.nodes {
			if n.snapshotIndex() != 0 {
				t.Errorf("%s took a snapshot at %d", n.id, n.snapshotIndex())
			}
		}
		lead.fill(20)
		time.Sleep(20*time.Second + time.Millisecond)
		last := lead.LastIndex()
		for _, n := range c.nodes {
			if n.snapshotIndex() != last || n.firstIndex() != last-20+1 {
				t.Errorf("%s: snapshot %d, log from %d, want %d and %d", n.id, n.snapshotIndex(), n.firstIndex(), last, last-20+1)
			}
			if n.fsm.released.Load() != 1 {
				t.Errorf("%s: %d snapshots released", n.id, n.fsm.released.Load())
			}
		}
	})
}

func TestNodeUserSnapshot(t *testing.T) {
	bubble(t, options{config: trailing(5)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		for _, n := range append(followers, lead) {
			lead.apply(string(n.id))
			c.converge()
			f := n.Snapshot()
			c.must(f)
			meta, rc, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			state, err := io.ReadAll(rc)
			if err != nil {
				t.Fatal(err)
			}
			if want := encodeJournal(n.fsm.list()...); string(state) != string(want) || meta.Index != n.AppliedIndex() {
				t.Errorf("%s: snapshot %s at %d, want %s at %d", n.id, state, meta.Index, want, n.AppliedIndex())
			}
			if meta.Term != n.CurrentTerm() || meta.ConfigurationIndex != 1 || !slices.Equal(meta.Configuration.Servers, c.configuration().Servers) {
				t.Errorf("%s: %+v", n.id, meta)
			}
			if _, _, err := f.Open(); err == nil {
				t.Error("Open worked twice")
			}
		}
	})
}

// A node that has applied nothing has nothing to snapshot, also after it has started on a
// snapshot.
func TestNodeNothingNewToSnapshot(t *testing.T) {
	bubble(t, options{size: 1, config: rarely}, func(t *testing.T, c *cluster) {
		n := c.add()
		n.start()
		f := n.Snapshot()
		c.want(f, raft.ErrNothingNewToSnapshot)
		if _, _, err := f.Open(); err == nil {
			t.Error("Open returned a snapshot")
		}
		lead := c.leader()
		lead.apply("a")
		c.must(lead.Snapshot())
		lead.stop()
		lead.start()
		c.want(lead.Snapshot(), raft.ErrNothingNewToSnapshot)
	})
}

// A snapshot can be taken after a change of the configuration, without other traffic: the
// applied index counts every type of entry (L20). It carries that configuration.
func TestNodeSnapshotAfterChange(t *testing.T) {
	bubble(t, options{config: rarely}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		change := lead.AddNonvoter("x", "x", 0, 0)
		c.must(change)
		f := lead.Snapshot()
		c.must(f)
		meta, _, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if meta.Index != change.Index() || meta.ConfigurationIndex != change.Index() || len(meta.Configuration.Servers) != 4 {
			t.Errorf("%+v, want the configuration at %d", meta, change.Index())
		}
	})
}

// A snapshot carries the configuration in force at its index, not a later one.
func TestNodeSnapshotBeforeChange(t *testing.T) {
	bubble(t, options{config: trailing(0)}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		lead.apply("a")
		for _, f := range followers {
			f.disk.gate.hold()
		}
		change := lead.AddNonvoter("x", "x", 0, 0)
		c.wait("the change to be in force", func() bool { return lead.suffrage("x") != "" })
		f := lead.Snapshot()
		c.must(f)
		meta, _, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if len(meta.Configuration.Servers) != 3 || meta.ConfigurationIndex != 1 {
			t.Errorf("%+v has a configuration that is not committed", meta)
		}
		for _, f := range followers {
			f.disk.gate.release()
		}
		c.must(change)
	})
}

// Writes go on while a snapshot is being stored, and calls of Snapshot that come
// meanwhile get one of their own.
func TestNodeSlowPersist(t *testing.T) {
	bubble(t, options{config: rarely}, func(t *testing.T, c *cluster) {
		lead := c.leader()
		lead.apply("a")
		lead.fsm.persist.hold()
		first := lead.Snapshot()
		time.Sleep(time.Second)
		lead.apply("b")
		second := lead.Snapshot()
		time.Sleep(10 * time.Second)
		lead.apply("c")
		lead.fsm.persist.release()
		c.must(first)
		c.must(second)
		meta, _, err := second.Open()
		if err != nil {
			t.Fatal(err)
		}
		if meta.Index <= lead.LastIndex()-2 {
			t.Errorf("the second snapshot has index %d, without what was applied before the call", meta.Index)
		}
	})
}

// Restarts find the state again, whatever TrailingLogs is: also with none, so that the
// log is empty behind the snapshot (D10).
func TestNodeRestartOnSnapshot(t *testing.T) {
	for _, keep := range []uint64{0, 1, 3, 1000} {
		for _, after := range []int{0, 2} {
			t.Run(fmt.Sprintf("trailing=%d,after=%d", keep, after), func(t *testing.T) {
				bubble(t, options{config: trailing(keep)}, func(t *testing.T, c *cluster) {
					lead := c.leader()
					lead.fill(10)
					change := lead.AddNonvoter("x", "x", 0, 0)
					c.must(change)
					c.converge()
					for _, n := range c.nodes {
						c.must(n.Snapshot())
					}
					lead.fill(after)
					want := c.converge()
					for _, n := range c.nodes {
						n.stop()
					}
					for _, n := range c.nodes {
						n.start()
						if n.fsm.restored.Load() != 1 || n.AppliedIndex() != change.Index() {
							t.Errorf("%s: %d restores, applied %d, want %d", n.id, n.fsm.restored.Load(), n.AppliedIndex(), change.Index())
						}
						if got := n.GetConfiguration(); got.Index() != change.Index() || n.suffrage("x") != "Nonvoter" {
							t.Errorf("%s: configuration %d: %v", n.id, got.Index(), got.Configuration())
						}
					}
					c.leader().apply("z")
					c.expect(append(want, "z")...)
				})
			})
		}
	}
}

// NoSnapshotRestoreOnStart starts from the snapshot's index and leaves the FSM alone.
func TestNodeNoRestoreOnStart(t *testing.T) {
	config := func(conf *raft.Config) {
		rarely(conf)
		conf.NoSnapshotRestoreOnStart = true
	}
	bubble(t, options{size: 1, config: config}, func(t *testing.T, c *cluster) {
		n := c.leader()
		n.apply("a")
		c.must(n.Snapshot())
		n.apply("b")
		applied := n.snapshotIndex()
		n.stop()
		n.start()
		if n.fsm.restored.Load() != 0 || n.AppliedIndex() != applied {
			t.Errorf("%d restores, applied %d, want %d", n.fsm.restored.Load(), n.AppliedIndex(), applied)
		}
		c.leader()
		c.expect("b") // the FSM would have the rest itself
	})
}

// shelf is a SnapshotStore that keeps all snapshots, in the order of a FileSnapshotStore,
// and can't read some.
type shelf struct {
	mu      sync.Mutex
	stores  []*raft.InmemSnapshotStore // one snapshot each, in the order of Close
	corrupt map[string]bool
}

type shelfSink struct {
	raft.SnapshotSink
	shelf *shelf
	store *raft.InmemSnapshotStore
	once  sync.Once
}

func (s *shelf) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	store := raft.NewInmemSnapshotStore()
	sink, err := store.Create(v, index, term, c, ci, trans)
	return &shelfSink{SnapshotSink: sink, shelf: s, store: store}, err
}

func (s *shelfSink) Close() error {
	err := s.SnapshotSink.Close()
	s.once.Do(func() {
		s.shelf.mu.Lock()
		defer s.shelf.mu.Unlock()
		s.shelf.stores = append(s.shelf.stores, s.store)
	})
	return err
}

func (s *shelfSink) Cancel() error {
	s.once.Do(func() {})
	return s.SnapshotSink.Cancel()
}

func (s *shelf) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*raft.SnapshotMeta
	for _, store := range slices.Backward(s.stores) {
		list, _ := store.List()
		all = append(all, list...)
	}
	slices.SortStableFunc(all, func(a, b *raft.SnapshotMeta) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index))
	})
	return all, nil
}

var errCorrupt = errors.New("checksum mismatch")

func (s *shelf) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.corrupt[id] {
		return nil, nil, errCorrupt
	}
	for _, store := range s.stores {
		if meta, rc, err := store.Open(id); err == nil {
			return meta, rc, nil
		}
	}
	return nil, nil, errors.New("no such snapshot")
}

// damage makes the newest good snapshot unreadable.
func (s *shelf) damage() {
	list, _ := s.List()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, meta := range list {
		if !s.corrupt[meta.ID] {
			s.corrupt[meta.ID] = true
			return
		}
	}
}

func shelves(n *node) { n.snaps = &shelf{corrupt: map[string]bool{}} }

// A corrupt newest snapshot is skipped at the start, as long as the log joins an older
// one (P5); a node does not start if none is good, or if there is a gap behind the one
// that is.
func TestNodeCorruptSnapshot(t *testing.T) {
	bubble(t, options{size: 1, config: trailing(100), prepare: shelves}, func(t *testing.T, c *cluster) {
		n := c.leader()
		for _, cmd := range []string{"a", "b"} {
			n.apply(cmd)
			c.must(n.Snapshot())
		}
		n.apply("c")
		n.stop()
		n.snaps.(*shelf).damage()
		n.start()
		c.leader()
		c.expect("a", "b", "c")
		n.stop()
		n.snaps.(*shelf).damage()
		if err := n.tryStart(); err == nil || !strings.Contains(err.Error(), "failed to load any existing snapshots") {
			t.Errorf("started without any good snapshot: %v", err)
		}
	})
	bubble(t, options{size: 1, config: trailing(0), prepare: shelves}, func(t *testing.T, c *cluster) {
		n := c.leader()
		for _, cmd := range []string{"a", "b"} {
			n.apply(cmd)
			c.must(n.Snapshot())
		}
		n.apply("c")
		time.Sleep(time.Second) // compaction
		n.stop()
		n.snaps.(*shelf).damage()
		if err := n.tryStart(); err == nil {
			t.Error("started on a log that does not join the snapshot")
		}
	})
}

// A corrupt newest snapshot is not sent, an older one is (P5).
func TestNodeCorruptSnapshotIsNotSent(t *testing.T) {
	bubble(t, options{config: trailing(2), prepare: shelves}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		away.stop()
		lead.fill(10)
		c.must(lead.Snapshot())
		lead.fill(2)
		c.must(lead.Snapshot())
		lead.snaps.(*shelf).damage()
		away.start()
		lead.apply("z")
		c.converge()
	})
}

// files gives a node a FileSnapshotStore in memory. opening is told of each state that is
// opened, and may change it.
func files(opening func(n *node, fs *raft.CrashFS, path string)) func(*node) {
	return func(n *node) {
		var fs *raft.CrashFS
		fs = raft.NewCrashFS(func(op, path string, _ func(int, uint64) []*raft.CrashFS) bool {
			if op == "open" && strings.HasSuffix(path, "state.bin") {
				opening(n, fs, path)
			}
			return true
		})
		store, err := fs.OpenSnapshots()
		if err != nil {
			n.c.t.Fatal(err)
		}
		n.snaps = store
	}
}

// A leader that finds out only while it sends a snapshot that it is corrupt sends an older
// one then (P5).
func TestNodeCorruptSnapshotIsFoundOnTheWay(t *testing.T) {
	var newest atomic.Value // its directory
	newest.Store("none")
	opened := map[raft.ServerID]int{}
	prepare := files(func(n *node, fs *raft.CrashFS, path string) {
		if strings.Contains(path, newest.Load().(string)) {
			opened[n.id]++
			fs.DamageInBefore(path)
			newest.Store("none")
		}
	})
	bubble(t, options{config: trailing(2), prepare: prepare}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		away.stop()
		lead.apply(strings.Repeat("large", 100<<10))
		lead.fill(10)
		c.must(lead.Snapshot())
		older := lead.snapshotIndex()
		lead.fill(2)
		c.must(lead.Snapshot())
		newest.Store(fmt.Sprintf("-%d-", lead.snapshotIndex()))
		away.start()
		lead.apply("z")
		c.converge()
		if opened[lead.id] != 1 || away.fsm.restored.Load() != 1 || away.snapshotIndex() != older {
			t.Errorf("damaged %v; the follower has restored %d snapshots, the last at %d, want one at %d",
				opened, away.fsm.restored.Load(), away.snapshotIndex(), older)
		}
	})
}

// A snapshot that is damaged between the time it was received and the time the FSM gets
// it fails in the middle of Restore. The FSM applies nothing until another one has come.
func TestNodeReceivedSnapshotIsDamaged(t *testing.T) {
	var victim atomic.Value
	victim.Store(raft.ServerID(""))
	prepare := files(func(n *node, fs *raft.CrashFS, path string) {
		if victim.CompareAndSwap(n.id, raft.ServerID("")) {
			fs.DamageInBefore(path)
		}
	})
	bubble(t, options{config: trailing(2), prepare: prepare}, func(t *testing.T, c *cluster) {
		lead, followers := c.split()
		away := followers[0]
		lead.apply(strings.Repeat("large", 100<<10))
		c.lag(lead, away)
		var read []int64 // by each Restore
		away.user = func(j *journal) raft.FSM {
			return &restoreCounter{j, func(n int64) { read = append(read, n) }}
		}
		victim.Store(away.id)
		away.start()
		lead.apply("z")
		c.converge()
		if victim.Load() != raft.ServerID("") || len(read) < 2 || read[0] == 0 || read[0] >= read[1] || away.fsm.restored.Load() != 1 {
			t.Errorf("%d Restores succeeded; they read %d bytes", away.fsm.restored.Load(), read)
		}
	})
}

// restoreCounter tells how much each Restore has read.
type restoreCounter struct {
	*journal
	read func(int64)
}

func (f *restoreCounter) Restore(rc io.ReadCloser) error {
	defer func() { f.read(rc.(raft.CountingReader).Count()) }()
	return f.journal.Restore(rc)
}
