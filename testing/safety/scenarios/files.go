package scenarios

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// This file: snapshots in files, and on their way.
var snapshotFiles = []scenario{
	{"P3", "a peer takes nothing of a large snapshot", stalledReceiver},
	{"P5a", "the newest snapshot is corrupt; a follower needs one", corruptIsSent},
	{"P5b", "the newest snapshot is corrupt, the older one does not reach to the log; a restart", corruptIsSkipped},
	{"P6", "a crash has left an unfinished snapshot; the next one is taken", leftovers},
	{"H27", "a copied snapshot directory names another one; old snapshots are deleted", foreignName},
}

// countingSnapshots counts the snapshots that are begun.
type countingSnapshots struct {
	raft.SnapshotStore
	created atomic.Int64
}

func (c *countingSnapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	c.created.Add(1)
	return c.SnapshotStore.Create(version, index, term, conf, confIndex, trans)
}

// files returns a snapshot store in a new directory.
func (s *stage) files() (*raft.FileSnapshotStore, string) {
	dir := s.dir()
	store, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	s.must(err)
	return store, filepath.Join(dir, "snapshots")
}

// snapshotOf puts a snapshot of a machine with these commands into a store.
func (s *stage) snapshotOf(store raft.SnapshotStore, index, term uint64, conf raft.Configuration, commands ...string) (id string) {
	sink, err := store.Create(1, index, term, conf, 1, s.net.join("writer", "writer"))
	s.must(err)
	_, err = sink.Write(encodeState(commands...))
	s.must(err)
	s.must(sink.Close())
	return sink.ID()
}

// damage changes a byte of a snapshot.
func (s *stage) damage(dir, id string) {
	name := filepath.Join(dir, id, "state.bin")
	b, err := os.ReadFile(name)
	s.must(err)
	b[len(b)-3] ^= 1
	s.must(os.WriteFile(name, b, 0o644))
}

// P3. The peer is dead; the deadline may not be in hours because the snapshot is large.
func stalledReceiver(s *stage) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	go func() {
		for {
			if _, err := listener.Accept(); err != nil {
				return
			}
		}
	}()
	const timeout = 200 * time.Millisecond
	t, err := raft.NewTCPTransport("127.0.0.1:0", nil, 3, timeout, io.Discard)
	s.must(err)
	req := &raft.InstallSnapshotRequest{RPCHeader: headerOf(t, "n"), SnapshotVersion: 1, Term: 2, Size: 100 << 30}
	sent := make(chan error, 1)
	go func() {
		sent <- t.InstallSnapshot("b", raft.ServerAddress(listener.Addr().String()), req, new(raft.InstallSnapshotResponse), endless{})
	}()
	if !within(prompt, func() bool { return len(sent) > 0 }) {
		s.hangs("the transport's timeout is %v; after %v it still waits", timeout, prompt)
	}
}

// endless is a large file.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// P5. Of two snapshots the newer one is damaged. With the older one and the log the
// follower can have everything.
func corruptIsSent(s *stage) {
	conf := voters("n", "b", "c")
	n := s.server("n")
	store, dir := s.files()
	n.disk.snaps = store
	s.snapshotOf(store, 10, 1, conf, "older")
	newest := s.snapshotOf(store, 50, 1, conf, "newest")
	n.holds(commandsOf(5, 60, 1, "x")...).start()
	s.damage(dir, newest)
	b, c := s.peer("b"), s.peer("c")
	var reached atomic.Bool
	c.behave(func(req any) (any, error) {
		a, ok := req.(*raft.AppendEntriesRequest)
		if isSnapshot(req) {
			reached.Store(true)
		}
		if ok && !isHeartbeat(req) && !reached.Load() && a.PrevLogEntry > 0 {
			return c.refuse(a, 0), nil
		}
		return nil, nil
	})
	n.leads(b)
	if !within(prompt, reached.Load) {
		s.violated("the follower gets no snapshot at all")
	}
}

// P5. Without the newest snapshot, entries 11 to 50 are missing: nothing may be applied
// on top of the older one.
func corruptIsSkipped(s *stage) {
	conf := voters("n")
	n := s.server("n").timeouts(100 * time.Millisecond)
	store, dir := s.files()
	n.disk.snaps = store
	s.snapshotOf(store, 10, 1, conf, "older")
	newest := s.snapshotOf(store, 50, 1, conf, "newest")
	s.damage(dir, newest)
	n.holds(commandsOf(51, 60, 1, "x")...)
	if err := n.tryStart(); err != nil {
		return // it says so, and leaves the rest to the operator
	}
	if within(5*settle, func() bool { return len(n.machine.everApplied()) > 0 || n.State() == raft.Leader }) {
		s.violated("it starts, leads, and has lost entries 11 to 50")
	}
}

// P6. A directory of an unfinished snapshot stays for ever, and another one each time.
func leftovers(s *stage) {
	conf := voters("n")
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(conf)...)
	_, dir := s.files()
	left := filepath.Join(dir, "1-1-1600000000000.tmp")
	s.must(os.Mkdir(left, 0o755))
	s.must(os.WriteFile(filepath.Join(left, "state.bin"), []byte("half"), 0o644))
	past := time.Now().Add(-time.Hour)
	s.must(os.Chtimes(left, past, past))
	store, err := raft.NewFileSnapshotStore(filepath.Dir(dir), 2, io.Discard)
	s.must(err)
	n.disk.snaps = store
	n.start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	s.succeed(n.Apply([]byte("x"), 0))
	s.succeed(n.Snapshot())
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		s.violated("the unfinished snapshot of before the crash stays")
	}
}

// H27. Someone kept a copy of a snapshot beside it, under another name. Making room must
// not remove the original because of what the copy's meta.json says.
func foreignName(s *stage) {
	conf := voters("n")
	store, dir := s.files()
	other := s.snapshotOf(store, 10, 1, conf, "precious")
	copied := "1-1-1" // sorts last: the first to go
	s.must(os.Mkdir(filepath.Join(dir, copied), 0o755))
	for _, name := range []string{"meta.json", "state.bin"} {
		b, err := os.ReadFile(filepath.Join(dir, other, name))
		s.must(err)
		if name == "meta.json" {
			b = bytes.Replace(b, []byte(`"Index":10`), []byte(`"Index":1`), 1)
		}
		s.must(os.WriteFile(filepath.Join(dir, copied, name), b, 0o644))
	}
	last := s.snapshotOf(store, 20, 1, conf, "newest")
	if _, err := os.Stat(filepath.Join(dir, last)); err != nil {
		s.violated("the snapshot just taken is gone")
	}
	if _, err := os.Stat(filepath.Join(dir, other, "state.bin")); err != nil {
		s.violated("it deleted a snapshot that was to be kept")
	}
}
