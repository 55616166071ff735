package load

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a system whose nodes are machines alone.
type fake struct {
	mu       sync.Mutex
	machines []*Machine
	flushes  uint64
	fail     error
	skip     func(node int, n uint64) bool // what a node forgets to apply
	n        uint64
}

func newFake(nodes int) *fake {
	f := &fake{skip: func(int, uint64) bool { return false }}
	for range nodes {
		f.machines = append(f.machines, NewMachine())
	}
	return f
}

func (f *fake) Propose(command []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	for i, m := range f.machines {
		if !f.skip(i, f.n) {
			m.Apply(command)
		}
		f.flushes++
	}
	return f.fail
}

func (f *fake) Machines() []*Machine { return f.machines }

func (f *fake) Flushes() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flushes
}

// remote is a process with a node, as far as the harness sees.
type remote struct{ machine *Machine }

func (r remote) Report() (Report, error) {
	return Report{State: r.machine.State(), Usage: Usage{Flushes: 7, RSS: 1 << 40}}, nil
}

// distributed is a fake all of whose nodes but the first are in other processes.
type distributed struct{ *fake }

func (d distributed) Machines() []*Machine { return d.machines[:1] }

func (d distributed) Remotes() []Remote {
	var all []Remote
	for _, m := range d.machines[1:] {
		all = append(all, remote{m})
	}
	return all
}

var short = Options{Clients: 4, Size: 16, Time: 100 * time.Millisecond}

func TestWrite(t *testing.T) {
	m, err := Write(newFake(3), short)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rate", "p50", "p99", "p999", "max", "cpu", "allocs", "bytes", "rss"} {
		if m[name] <= 0 {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	if !slices.IsSorted([]float64{m["p50"], m["p99"], m["p999"], m["max"]}) {
		t.Errorf("quantiles are not in order: %v", m)
	}
	// Those at the edges of the measured time are counted on one side only.
	if m["flushes"] < 2.9 || m["flushes"] > 3.1 || m["perflush"] < 0.9 || m["perflush"] > 1.1 {
		t.Errorf("%.2f flushes per operation, %.2f entries per flush, want 3 and 1", m["flushes"], m["perflush"])
	}
	// The command, and nothing of the harness.
	if m["allocs"] > 1.5 || m["bytes"] > 20 {
		t.Errorf("%.2f allocations and %.1f bytes per operation, want 1 and 16", m["allocs"], m["bytes"])
	}
}

func TestWriteFailsIf(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*fake)
		want  string
	}{
		{"a proposal fails", func(f *fake) { f.fail = errors.New("no leader") }, "no leader"},
		{"a node applies less", func(f *fake) {
			f.skip = func(node int, n uint64) bool { return node == 2 && n == 1 }
		}, "not all applied"},
		{"all apply less than was acknowledged", func(f *fake) {
			f.skip = func(_ int, n uint64) bool { return n == 1 }
		}, "acknowledged"},
		{"a node applies something else", func(f *fake) { f.machines[1].Restore(State{Digest: 1}) }, "not the same"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func(old time.Duration) { patience = old }(patience)
			patience = 10 * time.Millisecond
			for _, in := range []string{"one process", "three"} {
				f := newFake(3)
				tt.spoil(f)
				var sys System = f
				if in == "three" {
					sys = distributed{f}
				}
				if _, err := Write(sys, short); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("nodes in %s: error %v, want %q", in, err, tt.want)
				}
			}
		})
	}
}

func TestWriteCountsOtherProcesses(t *testing.T) {
	m, err := Write(distributed{newFake(3)}, short)
	if err != nil {
		t.Fatal(err)
	}
	if m["rss"] < 2<<20 {
		t.Errorf("%v MiB, without the two other processes' 2 TiB", m["rss"])
	}
}

func TestLoopRefusesNoLoad(t *testing.T) {
	nothing := func(int) error { return nil }
	for _, o := range []Options{{Clients: 0, Time: time.Second}, {Clients: 1}} {
		if _, err := Loop(o, nothing); err == nil {
			t.Errorf("%+v is taken for a load", o)
		}
	}
	if _, err := Write(newFake(1), Options{Clients: 1, Size: 7, Time: time.Second}); err == nil {
		t.Error("commands of 7 bytes are taken")
	}
}

func TestLoopTellsClientsApart(t *testing.T) {
	var seen [4]bool
	if _, err := Loop(short, func(client int) error { seen[client] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if seen != [4]bool{true, true, true, true} {
		t.Errorf("called by %v", seen)
	}
}

func TestLoopDoesNotCountWarmingUp(t *testing.T) {
	var ops int
	o := Options{Clients: 1, Time: 100 * time.Millisecond}
	m, err := Loop(o, func(int) error { ops++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	counted := m["rate"] * o.Time.Seconds()
	if all := float64(ops); counted <= 0 || counted >= all {
		t.Errorf("%v operations of %v are counted", counted, all)
	}
}

func TestReadWithWriters(t *testing.T) {
	o := short
	o.Writers = 2
	m, err := Read(newFake(3), o, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if m["rate"] <= 0 || m["writes"] <= 0 {
		t.Errorf("rate %v, writes %v", m["rate"], m["writes"])
	}
	f := newFake(3)
	f.skip = func(node int, n uint64) bool { return node == 1 }
	f.machines[1].Restore(State{})
	defer func(old time.Duration) { patience = old }(patience)
	patience = 10 * time.Millisecond
	if _, err := Read(f, o, func(int) error { return nil }); err == nil {
		t.Error("a node that applied nothing was not noticed")
	}
}

func TestWriteRefusesWriters(t *testing.T) {
	o := short
	o.Writers = 2
	if _, err := Write(newFake(3), o); !errors.Is(err, ErrUnsupported) {
		t.Errorf("writers beside writers: %v", err)
	}
}

func TestFill(t *testing.T) {
	f := newFake(3)
	if err := Fill(f, 5000, 8); err != nil {
		t.Fatal(err)
	}
	for i, m := range f.machines {
		if m.Count() != 5000 {
			t.Errorf("node %d applied %d commands, want 5000", i+1, m.Count())
		}
	}
	f.fail = errors.New("no leader")
	if err := Fill(f, 10, 8); !errors.Is(err, f.fail) {
		t.Errorf("error %v, want %v", err, f.fail)
	}
}

func TestTask(t *testing.T) {
	m, err := Task(Options{}, func() error { return nil })
	if err != nil || m["seconds"] <= 0 || m["rss"] <= 0 {
		t.Errorf("metrics %v, error %v", m, err)
	}
	failure := errors.New("failure")
	if _, err := Task(Options{}, func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
}

func TestIdle(t *testing.T) {
	m, err := Idle(newFake(3), Options{Time: 10 * time.Millisecond})
	if err != nil || m["goroutines"] < 1 || m["rss"] <= m["data"] || m["data"] <= 0 || m["cpu"] < 0 {
		t.Errorf("metrics %v, error %v", m, err)
	}
}
