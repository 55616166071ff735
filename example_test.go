package raft_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/raftboltdb"
)

// kv is a small replicated map. Commands are "key=value".
type kv struct {
	mu sync.RWMutex
	m  map[string]string
}

func (s *kv) Get(key string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[key]
}

// Apply must do the same on every server: no clock, no randomness, no outside.
func (s *kv) Apply(l *raft.Log) interface{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, value, ok := strings.Cut(string(l.Data), "=")
	if !ok {
		return fmt.Errorf("no = in command %d", l.Index)
	}
	if s.m == nil {
		s.m = map[string]string{}
	}
	s.m[key] = value
	return len(s.m)
}

// Snapshot takes a copy, which is written to the sink while commands go on.
func (s *kv) Snapshot() (raft.FSMSnapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return kvSnapshot(maps.Clone(s.m)), nil
}

func (s *kv) Restore(source io.ReadCloser) error {
	defer source.Close()
	var m map[string]string
	if err := json.NewDecoder(source).Decode(&m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m = m
	return nil
}

type kvSnapshot map[string]string

func (s kvSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		return err // the caller cancels the sink
	}
	return sink.Close()
}

func (kvSnapshot) Release() {}

// start starts a server that keeps its state in dir and listens on addr.
func start(dir, addr string, id raft.ServerID, fsm raft.FSM) (*raft.Raft, raft.Transport, error) {
	logger := hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Error})
	conf := raft.DefaultConfig()
	conf.LocalID = id
	conf.Logger = logger

	store, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	if err != nil {
		return nil, nil, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, logger)
	if err != nil {
		return nil, nil, err
	}
	trans, err := raft.NewTCPTransportWithLogger(addr, nil, 3, 10*time.Second, logger)
	if err != nil {
		return nil, nil, err
	}
	// Only on the very first start of a cluster: it is without effect later.
	first := raft.Configuration{Servers: []raft.Server{{ID: id, Address: trans.LocalAddr()}}}
	if err := raft.BootstrapCluster(conf, store, store, snapshots, trans, first); err != nil && err != raft.ErrCantBootstrap {
		return nil, nil, err
	}
	r, err := raft.NewRaft(conf, fsm, store, store, snapshots, trans)
	return r, trans, err
}

// A cluster of one server, durable, reachable over TCP. More join it with AddVoter.
func Example() {
	dir, err := os.MkdirTemp("", "raft-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	state := &kv{}
	r, _, err := start(dir, "127.0.0.1:0", "server-1", state)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = r.Shutdown().Error() }()
	<-r.LeaderCh()

	future := r.Apply([]byte("color=green"), 5*time.Second)
	if err := future.Error(); err != nil {
		log.Fatal(err) // see Apply for what each error means for the command
	}
	fmt.Println("keys:", future.Response())

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := r.ReadIndex(ctx); err != nil { // from here the local state is fresh
		log.Fatal(err)
	}
	fmt.Println("color:", state.Get("color"))
	// Output:
	// keys: 1
	// color: green
}

// The leader changes the membership, one server at a time. A server that is to vote
// gets the log first, without a vote.
func ExampleRaft_AddVoter() {
	join := func(leader *raft.Raft, id raft.ServerID, addr raft.ServerAddress) error {
		if err := leader.AddNonvoter(id, addr, 0, 10*time.Second).Error(); err != nil {
			return err
		}
		// ... wait until the new server's AppliedIndex is close to the leader's ...
		conf := leader.GetConfiguration()
		if err := conf.Error(); err != nil {
			return err
		}
		// Only if nobody has changed the membership meanwhile.
		return leader.AddVoter(id, addr, conf.Index(), 10*time.Second).Error()
	}
	_ = join
}

// A service that does something on the leader only watches NotifyCh, which gets every
// change, in order.
func ExampleConfig_notifyCh() {
	changes := make(chan bool, 1)
	conf := raft.DefaultConfig()
	conf.NotifyCh = changes
	go func() {
		for leads := range changes {
			if leads {
				fmt.Println("start what only the leader does")
			} else {
				fmt.Println("stop it")
			}
		}
	}()
}

// counter applies a whole batch of commands at once, for instance in one transaction.
type counter struct {
	kv
	total int
}

func (c *counter) ApplyBatch(entries []*raft.Log) []interface{} {
	results := make([]interface{}, len(entries))
	for i, e := range entries {
		if e.Type == raft.LogCommand { // the others are LogConfiguration
			c.total += len(e.Data)
			results[i] = c.total
		}
	}
	return results
}

// A BatchingFSM returns one result for each entry that it is given.
func ExampleBatchingFSM() {
	var fsm raft.BatchingFSM = &counter{}
	fmt.Println(fsm.ApplyBatch([]*raft.Log{{Data: []byte("ab")}, {Data: []byte("cde")}}))
	// Output: [2 5]
}

// A snapshot can be read back, for a backup for instance.
func ExampleRaft_Snapshot() {
	backup := func(r *raft.Raft, to io.Writer) error {
		future := r.Snapshot()
		if err := future.Error(); err != nil && err != raft.ErrNothingNewToSnapshot {
			return err
		}
		_, source, err := future.Open()
		if err != nil {
			return err
		}
		defer source.Close()
		_, err = io.Copy(to, source)
		return err
	}
	_ = backup
}

// tracedLog is a log store that sees what is read from another. Without ReadsLogsOf it
// would be read by GetLog only.
type tracedLog struct {
	raft.LogStore
	read func(index uint64)
}

func (t *tracedLog) GetLog(index uint64, log *raft.Log) error {
	t.read(index)
	return t.LogStore.GetLog(index, log)
}

func (t *tracedLog) ReadLogs(first, last uint64, visit func(*raft.Log) bool) error {
	return raft.ReadLogs(t.LogStore, first, last, func(log *raft.Log) bool {
		t.read(log.Index)
		return visit(log)
	})
}

func (t *tracedLog) ReadsLogsOf() raft.LogStore { return t }

// A store that wraps another can read ranges whether the other can or not.
func ExampleReadLogs() {
	store := &tracedLog{raft.NewInmemStore(), func(index uint64) { fmt.Print(index, " ") }}
	_ = store.StoreLogs([]*raft.Log{{Index: 1}, {Index: 2, Data: []byte("x=1")}, {Index: 3, Data: []byte("y=22")}})

	size := 0
	err := raft.ReadLogs(store, 2, 3, func(log *raft.Log) bool {
		size += len(log.Data) // the entry is not ours: only what is copied can be kept
		return true
	})
	fmt.Println(size, err)
	// Output: 2 3 7 <nil>
}
