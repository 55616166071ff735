package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

// store is what both stores are: log and stable store in one, to be closed.
type store interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

var stores = map[string]func(dir string) (store, error){
	"raft-boltdb": func(dir string) (store, error) { return raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db")) },
	"raft-wal":    openWAL,
}

// walStore closes what raft-wal v0.4.0 leaves open: its metadata's database,
// whose file lock would keep the directory from being opened again before the
// process ends.
type walStore struct {
	*wal.WAL
	meta metadb.BoltMetaDB
}

func openWAL(dir string) (_ store, err error) {
	w := &walStore{}
	w.WAL, err = wal.Open(dir, wal.WithMetaStore(&w.meta))
	return w, err
}

func (w *walStore) Close() error {
	return errors.Join(w.WAL.Close(), w.meta.Close())
}

// A service writes, restarts and reads back, alone and as a cluster of three, on
// each of the stores that hashicorp/raft's users have. The entries arrive from the
// log the first time and from a snapshot and the log the second.
func TestStores(t *testing.T) {
	for name, open := range stores {
		for _, size := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/nodes=%d", name, size), func(t *testing.T) {
				svc := newService(t, size, open)
				var want []string
				for restart := range 3 {
					svc.start(t)
					for i := range 20 {
						cmd := fmt.Sprintf("run %d command %d", restart, i)
						want = append(want, cmd)
						svc.write(t, cmd)
					}
					for _, n := range svc.nodes {
						waitFor(t, "the FSM has all commands", func() bool { return slices.Equal(n.fsm.list(), want) })
						if restart == 1 {
							if err := n.raft.Snapshot().Error(); err != nil {
								t.Fatal(err)
							}
						}
					}
					svc.stop(t)
				}
			})
		}
	}
}

// service is a user of the library: some nodes, each with a directory.
type service struct {
	nodes []*node
	open  func(dir string) (store, error)
}

type node struct {
	server raft.Server
	dir    string
	trans  *raft.InmemTransport
	store  store
	fsm    *listFSM
	raft   *raft.Raft
}

func newService(t *testing.T, size int, open func(dir string) (store, error)) *service {
	svc := &service{open: open}
	for i := range size {
		id := fmt.Sprintf("n%d", i)
		svc.nodes = append(svc.nodes, &node{
			server: raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress("addr-" + id)},
			dir:    t.TempDir(),
		})
	}
	return svc
}

// start opens every node's directory, and bootstraps it if it is new.
func (svc *service) start(t *testing.T) {
	var all raft.Configuration
	for _, n := range svc.nodes {
		_, n.trans = raft.NewInmemTransport(n.server.Address)
		all.Servers = append(all.Servers, n.server)
	}
	for _, a := range svc.nodes {
		for _, b := range svc.nodes {
			a.trans.Connect(b.server.Address, b.trans)
		}
	}
	for _, n := range svc.nodes {
		if err := n.start(svc.open, all); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *node) start(open func(dir string) (store, error), all raft.Configuration) (err error) {
	logger := hclog.NewNullLogger()
	if n.store, err = open(n.dir); err != nil {
		return err
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(n.dir, 2, logger)
	if err != nil {
		return err
	}
	conf := raft.DefaultConfig()
	conf.LocalID = n.server.ID
	conf.HeartbeatTimeout = 200 * time.Millisecond
	conf.ElectionTimeout = 200 * time.Millisecond
	conf.LeaderLeaseTimeout = 200 * time.Millisecond
	conf.CommitTimeout = 5 * time.Millisecond
	conf.TrailingLogs = 5
	conf.Logger = logger

	known, err := raft.HasExistingState(n.store, n.store, snaps)
	if err != nil {
		return err
	}
	if !known {
		if err := raft.BootstrapCluster(conf, n.store, n.store, snaps, n.trans, all); err != nil {
			return err
		}
	}
	n.fsm = &listFSM{}
	n.raft, err = raft.NewRaft(conf, n.fsm, n.store, n.store, snaps, n.trans)
	return err
}

func (svc *service) stop(t *testing.T) {
	for _, n := range svc.nodes {
		if err := n.raft.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// write applies a command on the leader. Only a refusal is tried again: the
// commands must arrive once.
func (svc *service) write(t *testing.T, cmd string) {
	t.Helper()
	waitFor(t, "a leader takes the command", func() bool {
		for _, n := range svc.nodes {
			if n.raft.State() != raft.Leader {
				continue
			}
			err := n.raft.Apply([]byte(cmd), 10*time.Second).Error()
			if err != nil && err != raft.ErrNotLeader {
				t.Fatal(err)
			}
			return err == nil
		}
		return false
	})
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// listFSM is the list of all commands.
type listFSM struct {
	mu       sync.Mutex
	commands []string
}

func (f *listFSM) Apply(log *raft.Log) interface{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = append(f.commands, string(log.Data))
	return nil
}

func (f *listFSM) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.commands)
}

func (f *listFSM) Snapshot() (raft.FSMSnapshot, error) { return listSnapshot(f.list()), nil }

func (f *listFSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commands = nil
	return json.NewDecoder(r).Decode(&f.commands)
}

type listSnapshot []string

func (s listSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (s listSnapshot) Release() {}
