package raft_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/internal/crashtest"
	"github.com/hashicorp/raft/raftboltdb"
	"github.com/hashicorp/raft/testing/rafttest"
)

// This file tests crashes of the machine that a node runs on, whose log is in a bolt file
// and whose snapshots are files: whenever it stops, NewRaft takes what both disks hold,
// in any combination, and nothing is missing that was acknowledged.

// watched is a node whose crashes are collected: at each write to its log, and before
// each operation on its snapshots.
type watched struct {
	*raft.Raft
	t    *testing.T
	net  *rafttest.Network
	conf *raft.Config
	path string
	bolt *raftboltdb.BoltStore
	fs   *raft.CrashFS
	fsm  *journal
	left func(op, path string) bool // operations on snapshots that are left out: a fault

	mu      sync.Mutex
	rng     *rand.Rand
	image   crashtest.Image // of the log
	tally   crashtest.Tally
	crashes []nodeCrash
	owed
}

// owed is what must be there after a crash.
type owed struct {
	doing      string
	configured bool       // it was bootstrapped
	term       uint64     // at least
	acked      [][]string // one of these begins what its FSM will have
}

// nodeCrash is what a crash leaves of a node.
type nodeCrash struct {
	owed
	kind  string
	log   crashtest.Image
	snaps *raft.CrashFS
}

func newWatched(t *testing.T, net *rafttest.Network, id raft.ServerID, left func(op, path string) bool) *watched {
	w := &watched{t: t, net: net, conf: crashConfig(id), path: filepath.Join(t.TempDir(), "raft.db"), left: left,
		rng: rand.New(rand.NewPCG(1, 1)), tally: crashtest.Tally{}}
	w.acked = [][]string{nil}
	var err error
	if w.bolt, err = openBolt(w.path); err != nil {
		t.Fatal(err)
	}
	w.image = w.read()
	w.fs = raft.NewCrashFS(w.beforeFileOp)
	return w
}

func crashConfig(id raft.ServerID) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = id
	conf.Logger = hclog.NewNullLogger()
	conf.TrailingLogs = 1
	conf.SnapshotInterval = time.Hour // only on demand
	return conf
}

func (w *watched) read() crashtest.Image {
	image, err := crashtest.ReadImage(w.path)
	if err != nil {
		w.t.Error(err)
	}
	return image
}

// owe says what the node owes from now on.
func (w *watched) owe(f func(*owed)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.owed)
}

// beforeFileOp collects crashes before an operation on the snapshots.
func (w *watched) beforeFileOp(op, path string, crashes func(limit int, seed uint64) []*raft.CrashFS) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, snaps := range crashes(crashtest.Limit(4), w.rng.Uint64()) {
		w.crashes = append(w.crashes, nodeCrash{w.owed, "snapshots", w.image, snaps})
	}
	return w.left == nil || !w.left(op, path)
}

// wrote collects crashes during a write to the log.
func (w *watched) wrote() {
	image := w.read()
	snaps := w.fs.Crashes(crashtest.Limit(4), uint64(image.Size))
	w.mu.Lock()
	defer w.mu.Unlock()
	logs := crashtest.BoltCrashes(w.image, image, crashtest.Limit(4), w.rng.Uint64())
	few := []crashtest.Crash{logs[0], logs[len(logs)-2], logs[len(logs)-1]}
	for range crashtest.Limit(4) {
		few = append(few, logs[w.rng.IntN(len(logs))])
	}
	for _, log := range few {
		w.crashes = append(w.crashes, nodeCrash{w.owed, "log: " + log.Kind, log.Image, snaps[w.rng.IntN(len(snaps))]})
	}
	w.image = image
}

// watchedLog is the log and stable store of a watched node.
type watchedLog struct {
	*raftboltdb.BoltStore
	w *watched
}

func (s watchedLog) StoreLog(e *raft.Log) error { return s.StoreLogs([]*raft.Log{e}) }

func (s watchedLog) StoreLogs(entries []*raft.Log) error {
	defer s.w.wrote()
	return s.BoltStore.StoreLogs(entries)
}

func (s watchedLog) DeleteRange(lo, hi uint64) error {
	defer s.w.wrote()
	return s.BoltStore.DeleteRange(lo, hi)
}

func (s watchedLog) SetAll(values []raft.StableValue) error {
	defer s.w.wrote()
	return s.BoltStore.SetAll(values)
}

// start bootstraps the node, if it is new, and runs it.
func (w *watched) start(config raft.Configuration) {
	w.t.Helper()
	snaps, err := w.fs.OpenSnapshots()
	if err != nil {
		w.t.Fatal(err)
	}
	trans, log := w.net.Join("addr-"+raft.ServerAddress(w.conf.LocalID)), watchedLog{w.bolt, w}
	if err := raft.BootstrapCluster(w.conf, log, log, snaps, trans, config); err != nil && err != raft.ErrCantBootstrap {
		w.t.Fatal(err)
	}
	w.owe(func(o *owed) { o.configured = true })
	w.fsm = newJournal(w.conf.LocalID)
	if w.Raft, err = raft.NewRaft(w.conf, w.fsm, log, log, snaps, trans); err != nil {
		w.t.Fatal(err)
	}
}

func newJournal(id raft.ServerID) *journal {
	return &journal{id: id, history: &history{commands: map[uint64]string{}}}
}

// during says what is being done.
func (w *watched) during(what string) { w.owe(func(o *owed) { o.doing = what }) }

// applied waits until the node has applied what another has, which it owes then.
func (w *watched) applied(leader *raft.Raft) {
	w.t.Helper()
	await(w.t, "the node to catch up", func() bool { return w.AppliedIndex() >= leader.AppliedIndex() })
	w.owe(func(o *owed) { o.acked, o.term = [][]string{w.fsm.list()}, w.CurrentTerm() })
}

// await waits for a condition, in a bubble.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range int(patience / time.Millisecond) {
		if condition() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// mustDo fails a test unless a future succeeds.
func mustDo(t *testing.T, f raft.Future) {
	t.Helper()
	if err := outcome(f); err != nil {
		t.Fatal(err)
	}
}

// end stops the node and opens all that crashes would have left. It returns the first
// thing that is wrong.
func (w *watched) end(config raft.Configuration) error {
	w.t.Helper()
	mustDo(w.t, w.Shutdown())
	if err := w.bolt.Close(); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.crashes {
		w.tally[c.doing]++
		if err := w.reopen(c, config); err != nil {
			return fmt.Errorf("crash during %s, %s: %w", c.doing, c.kind, err)
		}
	}
	w.t.Log("crashes:", w.tally)
	return nil
}

// reopen starts a node on what a crash left, bootstrapping it again if that was under
// way.
func (w *watched) reopen(c nodeCrash, config raft.Configuration) error {
	path := filepath.Join(filepath.Dir(w.path), "crashed.db")
	if err := c.log.WriteFile(path); err != nil {
		return err
	}
	bolt, err := openBolt(path)
	if err != nil {
		return err
	}
	defer bolt.Close()
	snaps, err := c.snaps.OpenSnapshots()
	if err != nil {
		return err
	}
	trans := rafttest.NewNetwork(1).Join("addr-" + raft.ServerAddress(w.conf.LocalID))
	if !c.configured {
		if err := raft.BootstrapCluster(w.conf, bolt, bolt, snaps, trans, config); err != nil && err != raft.ErrCantBootstrap {
			return err
		}
	}
	// The node's own view would be mended by the terms in its log.
	term, err := bolt.GetUint64([]byte("CurrentTerm"))
	if term < c.term {
		return errors.Join(fmt.Errorf("the stable store has term %d, it was in term %d", term, c.term), err)
	}
	conf := *w.conf
	conf.LocalID = "reader" // not a voter: what is there must not grow before it is read
	fsm := newJournal(conf.LocalID)
	r, err := raft.NewRaft(&conf, fsm, bolt, bolt, snaps, trans)
	if err != nil {
		return err
	}
	restored, last, snapshot := fsm.list(), r.LastIndex(), r.Stats()["last_snapshot_index"]
	err = c.check(r, func() ([]string, error) { return withLog(restored, bolt, snapshot, last) })
	return errors.Join(err, r.Shutdown().Error())
}

// withLog returns what an FSM has that was restored from a snapshot, and what a log has
// for it above.
func withLog(restored []string, log raft.LogStore, snapshot string, last uint64) ([]string, error) {
	base, err := strconv.ParseUint(snapshot, 10, 64)
	if err != nil {
		return nil, err
	}
	for i := base + 1; i <= last; i++ {
		var e raft.Log
		if err := log.GetLog(i, &e); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if e.Type == raft.LogCommand {
			restored = append(restored, string(e.Data))
		}
	}
	return restored, nil
}

// check checks that a node has what it owes.
func (o owed) check(r *raft.Raft, commands func() ([]string, error)) error {
	if n := len(r.GetConfiguration().Configuration().Servers); n == 0 {
		return errors.New("it has no configuration")
	}
	got, err := commands()
	if err != nil {
		return err
	}
	for _, acked := range o.acked {
		if len(got) >= len(acked) && slices.Equal(got[:len(acked)], acked) {
			return nil
		}
	}
	return fmt.Errorf("it has %q, acknowledged was %q", got, o.acked)
}

// crashAlone is a life of a node by itself: it is bootstrapped, takes snapshots and
// compacts its log, is restored by its user, and starts again. It returns the first
// thing that a crash does wrong.
func crashAlone(t *testing.T, left func(op, path string) bool) (err error) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t, rafttest.NewNetwork(1), "x", left)
		config := raft.Configuration{Servers: []raft.Server{{ID: "x", Address: "addr-x"}}}
		w.during("bootstrap")
		w.start(config)
		await(t, "a leader", func() bool { return w.State() == raft.Leader })
		n := 0
		apply := func(count int) {
			for range count {
				n++
				mustDo(t, w.Apply(fmt.Appendf(nil, "command %d", n), 0))
				w.applied(w.Raft)
			}
		}
		w.during("writes")
		apply(4)
		for range 3 {
			w.during("snapshot")
			mustDo(t, w.Snapshot())
			synctest.Wait() // for the compaction
			w.during("writes after a snapshot")
			apply(3)
		}
		w.during("restore")
		w.owe(func(o *owed) { o.acked = append(o.acked, []string{"x", "y"}) })
		if err := (&node{Raft: w.Raft}).restoreTo("x", "y"); err != nil {
			t.Fatal(err)
		}
		w.applied(w.Raft)
		w.during("writes after a restore")
		apply(2)
		w.during("restart")
		mustDo(t, w.Shutdown())
		w.start(config)
		await(t, "a leader", func() bool { return w.State() == raft.Leader })
		w.during("writes after a restart")
		mustDo(t, w.Barrier(0))
		apply(2)
		err = w.end(config)
	})
	return err
}

func TestNodeCrashAlone(t *testing.T) {
	if err := crashAlone(t, nil); err != nil {
		t.Error(err)
	}
}

// A log that is compacted before its snapshot is durable is missed.
func TestNodeCrashFindsEarlyCompaction(t *testing.T) {
	err := crashAlone(t, func(op, path string) bool { return op == "syncdir" && filepath.Base(path) == "snapshots" })
	if err == nil {
		t.Error("the missing sync was not found")
	}
	t.Log(err)
}

// A follower that has led, and has entries that nobody else has, gets a snapshot and
// begins its log anew.
func TestNodeCrashInInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := rafttest.NewNetwork(1)
		net.SetLatency(time.Millisecond, time.Millisecond)
		var config raft.Configuration
		for _, id := range []raft.ServerID{"x", "p", "q"} {
			config.Servers = append(config.Servers, raft.Server{ID: id, Address: "addr-" + raft.ServerAddress(id)})
		}
		w := newWatched(t, net, "x", nil)
		w.during("bootstrap")
		w.start(config)
		p, q := newPeer(t, net, "p", config), newPeer(t, net, "q", config)
		leader := func(among ...*raft.Raft) (leader *raft.Raft) {
			await(t, "a leader", func() bool {
				for _, r := range among {
					if r.State() == raft.Leader && outcome(r.VerifyLeader()) == nil {
						leader = r
					}
				}
				return leader != nil
			})
			return leader
		}
		w.during("writes as a follower or leader")
		lead := leader(w.Raft, p, q)
		for i := range 3 {
			mustDo(t, lead.Apply(fmt.Appendf(nil, "common %d", i), 0))
			w.applied(lead)
		}
		if lead != w.Raft {
			mustDo(t, lead.LeadershipTransferToServer("x", "addr-x"))
			leader(w.Raft)
		}
		w.applied(w.Raft)
		w.during("writes that are lost")
		for _, peer := range []raft.ServerAddress{"addr-p", "addr-q"} {
			net.Cut("addr-x", peer)
			net.Cut(peer, "addr-x")
		}
		for i := range 20 { // more than the new history will have
			w.Apply(fmt.Appendf(nil, "lost %d", i), 0)
			synctest.Wait()
		}
		lead = leader(p, q)
		for i := range 4 {
			mustDo(t, lead.Apply(fmt.Appendf(nil, "new %d", i), 0))
		}
		mustDo(t, lead.Snapshot())
		synctest.Wait()
		w.during("install")
		net.Heal()
		await(t, "the snapshot", func() bool { return w.Stats()["last_snapshot_index"] != "0" })
		lead = leader(w.Raft, p, q)
		w.applied(lead)
		w.during("writes after an install")
		for i := range 3 {
			mustDo(t, lead.Apply(fmt.Appendf(nil, "after %d", i), 0))
			w.applied(lead)
		}
		mustDo(t, p.Shutdown())
		mustDo(t, q.Shutdown())
		if err := w.end(config); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // for what still waits for an answer
	})
}

// newPeer is a server in memory.
func newPeer(t *testing.T, net *rafttest.Network, id raft.ServerID, config raft.Configuration) *raft.Raft {
	store, snaps, trans := raft.NewInmemStore(), raft.NewInmemSnapshotStore(), net.Join("addr-"+raft.ServerAddress(id))
	conf := crashConfig(id)
	if err := raft.BootstrapCluster(conf, store, store, snaps, trans, config); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, newJournal(id), store, store, snaps, trans)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
