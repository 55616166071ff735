package rafttest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/raft"
)

// CheckSnapshotStore checks an implementation of [raft.SnapshotStore]. Each check is
// a subtest of t with a store of its own. How many older snapshots it keeps is its
// own affair.
//
// open opens the store in a directory, which is empty at first. It is called again
// for the same directory after the store was closed, by Close if it is an
// [io.Closer], to see what it has kept; see [Volatile] for a store in memory. The
// suite looks for the bytes of a snapshot in the files of the directory, to damage
// them.
func CheckSnapshotStore(t *testing.T, open func(dir string) (raft.SnapshotStore, error), options ...CheckOption) {
	t.Helper()
	o := newCheckOptions(options)
	snapshotStoreSuite(open, o).test(t, o)
}

func snapshotStoreSuite(open func(dir string) (raft.SnapshotStore, error), o *checkOptions) suite {
	return bindChecks(snapshotStoreChecks, func(p *probe) *snapshotProbe {
		return &snapshotProbe{newOpenStore(p, open, o)}
	})
}

var snapshotStoreChecks = []check[*snapshotProbe]{
	{
		"EmptyStore",
		"a store without snapshots lists none and opens none, whatever the ID",
		"NewRaft fails on a new server, or restores a snapshot that does not exist",
		func(s *snapshotProbe) {
			for range 2 {
				s.verifyList()
				for _, id := range []string{"1-1-1", "", "..", "no such"} {
					if meta, r, err := s.store.Open(id); err == nil {
						s.errorf("Open(%q) of an empty store returns no error, but %v and %v", id, meta, r)
					}
				}
				s.reopen()
			}
		},
	},
	{
		"ContentAndMeta",
		"Open returns exactly the bytes written, and the ID, Index, Term, Configuration, ConfigurationIndex, Size and Version of the snapshot; List returns the same metadata",
		"a server restores another state, or another cluster, than the one in the snapshot",
		func(s *snapshotProbe) {
			for i, size := range []int{0, 1, 4095, 4096, 4097, 100_000, 1 << 20} {
				snap := newSnapshotOf(uint64(10*i+3), uint64(i+2), size)
				s.write(snap)
				s.verifyOpen(snap)
				s.verifyNewest(snap)
				s.reopen()
				s.verifyOpen(snap)
				s.verifyNewest(snap)
			}
		},
	},
	{
		"Order",
		"List returns the newest snapshot first: by term, then by index",
		"a server restores an older state than it has, below the end of its compacted log",
		func(s *snapshotProbe) {
			for _, id := range [][2]uint64{{9, 2}, {10, 2}, {100, 2}, {50, 3}, {101, 3}, {102, 10}, {1000, 10}} {
				snap := newSnapshotOf(id[0], id[1], 100)
				s.write(snap)
				s.verifyNewest(snap)
				s.verifyOrder()
			}
			s.reopen()
			s.verifyOrder()
		},
	},
	{
		"TwoOfOneEntry",
		"two snapshots at the same index and term are two snapshots, with an ID each",
		"a snapshot that is being sent turns into another one halfway",
		func(s *snapshotProbe) {
			first, second := newSnapshotOf(5, 2, 100), newSnapshotOf(5, 2, 200)
			a, b := s.create(first), s.create(second)
			if a.ID() == b.ID() {
				s.errorf("both snapshots have the ID %q", a.ID())
			}
			s.fill(a, first)
			s.must(a.Close(), "Close")
			s.fill(b, second)
			s.must(b.Close(), "Close")
			s.verifyOpen(second)
			s.verifyOrder()
		},
	},
	{
		"Unfinished",
		"a snapshot becomes visible when its sink is closed, not before, also if the process ends before; the last one stays until then",
		"a server restores half a state",
		func(s *snapshotProbe) {
			before, after := newSnapshotOf(5, 2, 100), newSnapshotOf(9, 2, 50_000)
			sink := s.create(after)
			s.verifyList()
			s.write(before)
			s.fill(sink, after)
			s.verifyList(before)
			if meta, _, err := s.store.Open(sink.ID()); err == nil {
				s.errorf("Open of a snapshot that is not finished returns %+v", meta)
			}
			s.reopen()
			s.verifyList(before)
			s.verifyOpen(before)
		},
	},
	{
		"Cancel",
		"Cancel leaves nothing of a snapshot; a second one is no error, and a Close after it fails",
		"a failed snapshot is taken for a good one and the log is compacted: the entries are lost",
		func(s *snapshotProbe) {
			before, cancelled := newSnapshotOf(5, 2, 100), newSnapshotOf(9, 2, 50_000)
			s.write(before)
			sink := s.create(cancelled)
			s.fill(sink, cancelled)
			s.must(sink.Cancel(), "Cancel")
			s.must(sink.Cancel(), "a second Cancel")
			if err := sink.Close(); err == nil {
				s.errorf("Close after Cancel returns nil, as if there were a snapshot")
			}
			for range 2 {
				s.verifyList(before)
				if _, _, err := s.store.Open(sink.ID()); err == nil {
					s.errorf("Open of a cancelled snapshot returns no error")
				}
				s.reopen()
			}
			s.verifyOpen(before)
		},
	},
	{
		"CloseTwice",
		"a second Close returns nil like the first, a Cancel after Close does nothing, and neither does a Write",
		"raft, which closes the sink after the FSM has, takes a good snapshot for a failed one or throws it away",
		func(s *snapshotProbe) {
			snap := newSnapshotOf(5, 2, 10_000)
			sink := s.create(snap)
			s.fill(sink, snap)
			for _, end := range []string{"the first", "a second"} {
				s.must(sink.Close(), "%s Close", end)
			}
			s.must(sink.Cancel(), "Cancel after Close")
			_, _ = sink.Write([]byte("more")) // may be an error
			s.verifyOpen(snap)
			s.reopen()
			s.verifyOpen(snap)
			s.verifyNewest(snap)
		},
	},
	{
		"Retention",
		"however many snapshots there were, the newest is kept, and what is listed can be opened",
		"a server has compacted its log and has no snapshot to start from",
		func(s *snapshotProbe) {
			kept := map[uint64]*snapshotOf{}
			for i := range uint64(10) {
				snap := newSnapshotOf(i+1, 1+i/3, 1000+int(i))
				kept[snap.index] = snap
				s.write(snap)
				s.verifyNewest(snap)
				s.verifyOrder()
				for _, meta := range s.list() {
					s.verifyOpen(kept[meta.Index])
				}
			}
			s.reopen()
			s.verifyNewest(kept[10])
			s.verifyOpen(kept[10])
		},
	},
	{
		"SeveralSinks",
		"several snapshots may be written at once",
		"a snapshot that a leader sends is mixed with one that this server takes",
		func(s *snapshotProbe) {
			a, b := newSnapshotOf(5, 2, 70_000), newSnapshotOf(9, 2, 90_000)
			sinkA, sinkB := s.create(a), s.create(b)
			for i := range 10 {
				s.writeTo(sinkA, a.data[i*7000:][:7000])
				s.writeTo(sinkB, b.data[i*9000:][:9000])
			}
			a.id, b.id = sinkA.ID(), sinkB.ID()
			s.must(sinkA.Close(), "Close")
			s.verifyOpen(a)
			s.must(sinkB.Close(), "Close")
			s.verifyOpen(b)
			s.verifyNewest(b)
		},
	},
	{
		"CallersMemory",
		"bytes, configuration and metadata are the caller's again when a call returns",
		"a snapshot changes after it was stored",
		func(s *snapshotProbe) {
			snap := newSnapshotOf(5, 2, 1000)
			config := snap.config.Clone()
			sink, err := s.store.Create(1, snap.index, snap.term, config, snap.configIndex, checkTransport())
			s.must(err, "Create")
			config.Servers[0].ID = "changed"
			buf := bytes.Clone(snap.data)
			s.writeTo(sink, buf)
			clear(buf)
			snap.id = sink.ID()
			s.must(sink.Close(), "Close")
			meta := s.list()[0]
			meta.Index, meta.Configuration.Servers[0].ID = 99, "changed"
			s.verifyOpen(snap)
			s.verifyNewest(snap)
		},
	},
	{
		"ReaderOutlivesItsSnapshot",
		"a snapshot that is being read stays whole, whatever snapshots are stored meanwhile",
		"a follower gets one half of one snapshot and the other of another, or the transfer fails again and again",
		func(s *snapshotProbe) {
			old := newSnapshotOf(1, 1, 300_000)
			s.write(old)
			_, r, err := s.store.Open(old.id)
			s.must(err, "Open")
			head := make([]byte, 100)
			_, err = io.ReadFull(r, head)
			s.must(err, "read")
			for i := range uint64(8) {
				s.write(newSnapshotOf(i+2, 1, 300_000))
			}
			tail, err := io.ReadAll(r)
			s.must(err, "read of a snapshot that is not the newest any more")
			if !bytes.Equal(append(head, tail...), old.data) {
				s.errorf("the bytes of an open snapshot have changed")
			}
			s.must(r.Close(), "close the reader")
		},
	},
	{
		"ReadersBesideAWriter",
		"List and Open may be called while snapshots are written; what they return is whole, and the newest one is there",
		"a follower gets a torn snapshot",
		(*snapshotProbe).checkConcurrency,
	},
	{
		"Damage",
		"the bytes of a snapshot that were changed or lost on disk give an error, from Open or the reader, never other bytes; the snapshots before it are as they were",
		"an FSM is restored to a state that never was, on one server only",
		(*snapshotProbe).checkDamage,
	},
}

func (s *snapshotProbe) checkConcurrency() {
	const snapshots = 20
	var stored atomic.Uint64
	var stop atomic.Bool
	look := func() {
		least := stored.Load()
		metas, err := s.store.List()
		if err != nil {
			s.errorf("List beside a writer: %v", err)
			return
		}
		if len(metas) == 0 {
			if least > 0 {
				s.errorf("List beside a writer returns nothing, but %d snapshots are stored", least)
			}
			return
		}
		if metas[0].Index < least {
			s.errorf("List beside a writer returns %d as the newest, but %d is stored", metas[0].Index, least)
		}
		_, r, err := s.store.Open(metas[0].ID)
		if err != nil {
			if stored.Load() == metas[0].Index {
				s.errorf("Open of the newest snapshot beside a writer: %v", err)
			}
			return // another has taken its place
		}
		defer r.Close()
		want := newSnapshotOf(metas[0].Index, 1, 20_000).data
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			s.errorf("beside a writer: read %d bytes, error %v, which are not those of snapshot %d", len(got), err, metas[0].Index)
		}
	}
	var readers []<-chan struct{}
	for range 3 {
		readers = append(readers, s.spawn(func() {
			for last := false; !last; { // the last time when all is written
				last = stop.Load() || s.failed()
				look()
			}
		}))
	}
	defer func() {
		stop.Store(true)
		for _, done := range readers {
			<-done
		}
	}()
	for i := uint64(1); i <= snapshots && !s.failed(); i++ {
		s.write(newSnapshotOf(i, 1, 20_000))
		stored.Store(i)
	}
}

func (s *snapshotProbe) checkDamage() {
	if s.volatile {
		s.skipf("the store is in memory")
	}
	for i, damage := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return nil },
	} {
		before := newSnapshotOf(uint64(100*i+1), 1, 3000)
		snap := newSnapshotOf(uint64(100*i+2), 1, 20_000)
		s.write(before)
		s.write(snap)
		s.close()
		path, content := s.fileWith(snap.data)
		if path == "" {
			s.skipf("no file has the bytes of a snapshot, or only beside others")
		}
		s.must(os.WriteFile(path, damage(content), 0o600), "damage the snapshot")
		s.openNow()
		if err := s.read(snap); err == nil {
			s.errorf("damage %d of %s: neither Open nor the reader returned an error", i+1, filepath.Base(path))
		}
		for _, meta := range s.list() {
			if meta.Index == before.index {
				s.verifyOpen(before)
			}
		}
	}
}

// fileWith returns the file that has exactly these bytes, and its content.
func (s *snapshotProbe) fileWith(data []byte) (path string, content []byte) {
	err := filepath.WalkDir(s.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		if bytes.Equal(b, data) {
			path, content = name, b
		}
		return err
	})
	s.must(err, "read the store's directory")
	return path, content
}

// snapshotProbe is the run of a check on a snapshot store.
type snapshotProbe struct {
	*openStore[raft.SnapshotStore]
}

// snapshotOf is a snapshot to be stored, and the ID that it got.
type snapshotOf struct {
	id          string
	index, term uint64
	config      raft.Configuration
	configIndex uint64
	data        []byte
}

// newSnapshotOf returns a snapshot whose content follows from the parameters.
func newSnapshotOf(index, term uint64, size int) *snapshotOf {
	return &snapshotOf{
		index: index, term: term, configIndex: index / 2,
		config: raft.Configuration{Servers: []raft.Server{
			{Suffrage: raft.Voter, ID: raft.ServerID(fmt.Sprint("a", index)), Address: "10.0.0.1:8300"},
			{Suffrage: raft.Nonvoter, ID: "b", Address: "10.0.0.2:8300"},
		}},
		data: pattern(size, index),
	}
}

// checkTransport is for Create, which wants one to encode addresses with.
func checkTransport() raft.Transport {
	_, trans := raft.NewInmemTransport("10.0.0.1:8300")
	return trans
}

func (s *snapshotProbe) create(snap *snapshotOf) raft.SnapshotSink {
	sink, err := s.store.Create(1, snap.index, snap.term, snap.config.Clone(), snap.configIndex, checkTransport())
	s.must(err, "Create")
	snap.id = sink.ID()
	return sink
}

// fill writes a snapshot in pieces of all sizes.
func (s *snapshotProbe) fill(sink raft.SnapshotSink, snap *snapshotOf) {
	for rest, n := snap.data, 1; len(rest) > 0; n = 3*n + 1 {
		n = min(n, len(rest))
		s.writeTo(sink, rest[:n])
		rest = rest[n:]
	}
}

func (s *snapshotProbe) writeTo(sink raft.SnapshotSink, b []byte) {
	if n, err := sink.Write(b); n != len(b) || err != nil {
		s.fatalf("Write of %d bytes returns %d, error %v", len(b), n, err)
	}
}

func (s *snapshotProbe) write(snap *snapshotOf) {
	sink := s.create(snap)
	s.fill(sink, snap)
	s.must(sink.Close(), "Close")
}

func (s *snapshotProbe) list() []*raft.SnapshotMeta {
	metas, err := s.store.List()
	s.must(err, "List")
	return metas
}

// verifyList checks that exactly these snapshots are listed.
func (s *snapshotProbe) verifyList(want ...*snapshotOf) {
	var ids, wantIDs []string
	for _, meta := range s.list() {
		ids = append(ids, meta.ID)
	}
	for _, snap := range want {
		wantIDs = append(wantIDs, snap.id)
	}
	if !slices.Equal(ids, wantIDs) {
		s.errorf("List returns the snapshots %q, want %q", ids, wantIDs)
	}
}

// verifyNewest checks that a snapshot is the first of the list.
func (s *snapshotProbe) verifyNewest(want *snapshotOf) {
	metas := s.list()
	if len(metas) == 0 {
		s.errorf("List returns nothing, but snapshot %s is stored", want.id)
		return
	}
	s.verifyMeta("List", metas[0], want)
}

// verifyOrder checks that the list is sorted and names nothing twice.
func (s *snapshotProbe) verifyOrder() {
	metas := s.list()
	seen := map[string]bool{}
	for i, meta := range metas {
		if seen[meta.ID] {
			s.errorf("List returns snapshot %s twice", meta.ID)
		}
		seen[meta.ID] = true
		if i == 0 {
			continue
		}
		newer := metas[i-1]
		if c := cmp.Or(cmp.Compare(newer.Term, meta.Term), cmp.Compare(newer.Index, meta.Index)); c < 0 {
			s.errorf("List returns index %d of term %d before %d of %d", newer.Index, newer.Term, meta.Index, meta.Term)
		}
	}
}

func (s *snapshotProbe) verifyMeta(call string, got *raft.SnapshotMeta, snap *snapshotOf) {
	want := &raft.SnapshotMeta{
		Version: 1, ID: snap.id, Index: snap.index, Term: snap.term, Peers: got.Peers,
		Configuration: snap.config, ConfigurationIndex: snap.configIndex, Size: int64(len(snap.data)),
	}
	if !reflect.DeepEqual(got, want) {
		s.errorf("%s returns the metadata %+v, want %+v", call, got, want)
	}
}

// verifyOpen checks that a snapshot is there as it was written.
func (s *snapshotProbe) verifyOpen(snap *snapshotOf) {
	if err := s.read(snap); err != nil {
		s.errorf("snapshot %s: %v", snap.id, err)
	}
}

// read reads a snapshot and compares its bytes and metadata.
func (s *snapshotProbe) read(snap *snapshotOf) error {
	meta, r, err := s.store.Open(snap.id)
	if err != nil {
		return fmt.Errorf("can't be opened: %w", err)
	}
	got, err := io.ReadAll(iotest.HalfReader(r))
	if err != nil {
		return errors.Join(fmt.Errorf("can't be read: %w", err), r.Close())
	}
	s.must(r.Close(), "close the reader")
	s.verifyMeta("Open", meta, snap)
	if !bytes.Equal(got, snap.data) {
		s.errorf("snapshot %s has %d other bytes than the %d that were written", snap.id, len(got), len(snap.data))
	}
	return nil
}
