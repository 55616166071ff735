package hashi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// The nodes of a cluster in several processes are this program again.
func TestMain(m *testing.M) {
	if load.IsChild() {
		serveRemote(bent)
		return
	}
	os.Exit(m.Run())
}

func TestStoreNames(t *testing.T) {
	lib := Library{Stores: map[string]OpenStore{"own": common["mem"]}}
	for name, cached := range map[string]bool{"own": false, "mem": false, "raft-wal": false, "own+cache": true} {
		n, err := newNode(lib, spec{Store: name, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.openDisk(); err != nil {
			t.Fatal(err)
		}
		if _, is := n.logs.(*raft.LogCache); is != cached {
			t.Errorf("%s: the log store is a %T", name, n.logs)
		}
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "other", "other+cache", "cache"} {
		if _, err := newNode(lib, spec{Store: name, Dir: t.TempDir()}); !errors.Is(err, load.ErrUnsupported) {
			t.Errorf("store %q: %v", name, err)
		}
	}
}

// What cannot be measured is refused before anything is started.
func TestUnsupported(t *testing.T) {
	lib := Library{Stores: map[string]OpenStore{"own": common["mem"]}}
	cluster := load.Flags{Store: "own", Nodes: 3, Processes: 1, Size: 8, Clients: 1, Time: time.Second}
	for _, tt := range []struct {
		name     string
		workload func(Library, load.Flags) (load.Metrics, error)
		change   func(*load.Flags)
	}{
		{"two processes", write, func(f *load.Flags) { f.Processes = 2 }},
		{"no such store", write, func(f *load.Flags) { f.Store = "other" }},
		{"no such method", read, func(f *load.Flags) { f.Method = "guess" }},
		{"memory is lost", restart, func(f *load.Flags) { f.Store = "mem" }},
		{"memory is lost", failover, func(f *load.Flags) { f.Store = "mem" }},
		{"no majority without one", catchup, func(f *load.Flags) { f.Nodes = 2 }},
		{"no majority without one", snapshot, func(f *load.Flags) { f.Nodes = 2 }},
		{"no majority without one", failover, func(f *load.Flags) { f.Nodes = 2 }},
		{"several processes", catchup, func(f *load.Flags) { f.Processes = 3 }},
		{"several processes", failover, func(f *load.Flags) { f.Processes = 3 }},
	} {
		f := cluster
		f.Dir = t.TempDir()
		tt.change(&f)
		if _, err := tt.workload(lib, f); !errors.Is(err, load.ErrUnsupported) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// bentStore loses its entries' last byte on the third node.
type bentStore struct{ memStore }

var bent = Library{Stores: map[string]OpenStore{"bent": openBent}}

func openBent(dir string, _ *Flushes) (Store, error) {
	s := memStore{raft.NewInmemStore()}
	if filepath.Base(dir) == "n3" {
		return bentStore{s}, nil
	}
	return s, nil
}

func (s bentStore) GetLog(index uint64, e *raft.Log) error {
	err := s.memStore.GetLog(index, e)
	if e.Type == raft.LogCommand && len(e.Data) > 0 {
		e.Data = e.Data[:len(e.Data)-1]
	}
	return err
}

// A measurement fails if a node has applied something else than the others.
func TestDisagreement(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for elections, for seconds: not with -short")
	}
	tests := make(map[string]func(*testing.T))
	for _, tt := range []struct {
		name      string
		processes int
		workload  func(Library, load.Flags) (load.Metrics, error)
	}{
		{"write", 1, write}, {"write, three processes", 3, write}, {"catchup", 1, catchup}, {"failover", 1, failover},
	} {
		tests[tt.name] = func(t *testing.T) {
			_, err := tt.workload(bent, load.Flags{
				Store: "bent", Nodes: 3, Processes: tt.processes, Clients: 2,
				Size: 16, Entries: 20, Time: 50 * time.Millisecond, Dir: t.TempDir(),
			})
			if err == nil || !strings.Contains(err.Error(), "not the same") {
				t.Errorf("a node that applies something else is no failure: %v", err)
			}
		}
	}
	together(t, tests)
}
