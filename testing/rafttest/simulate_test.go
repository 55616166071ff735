package rafttest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// sumFSM is a hash of all commands.
type sumFSM struct {
	mu    sync.Mutex
	state uint64
}

func newSumFSM() raft.FSM { return new(sumFSM) }

func (f *sumFSM) sum() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *sumFSM) Apply(e *raft.Log) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", f.state, e.Data)
	f.state = h.Sum64()
	return f.state
}

func (f *sumFSM) Snapshot() (raft.FSMSnapshot, error) {
	return textSnapshot(fmt.Sprint(f.sum())), nil
}

func (f *sumFSM) Restore(r io.ReadCloser) error {
	defer r.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := fmt.Fscan(r, &f.state)
	return err
}

func sumOptions(seed uint64) SimulateOptions {
	return SimulateOptions{
		Seed:     seed,
		Duration: time.Minute,
		NewFSM:   newSumFSM,
		Command:  func(rng *rand.Rand, client int) []byte { return fmt.Appendf(nil, "%d of %d", rng.Uint32(), client) },
		Query:    func(*rand.Rand, int) any { return "sum" },
		Read:     func(fsm raft.FSM, _ any) any { return fsm.(*sumFSM).sum() },
	}
}

// Clusters of all sizes go through all kinds of faults, and nothing is wrong with them.
func TestSimulate(t *testing.T) {
	var total SimulateCounts
	for i, nodes := range []int{5, 3, 7, 1, 2} {
		opts := sumOptions(uint64(i) + 1)
		opts.Nodes = nodes
		opts.Faults.Every = time.Second
		r := Simulate(t, opts)
		total.Add(&r.SimulateCounts)
	}
	t.Logf("%v", &total)
	if total.Writes.Done < 300 || total.Reads.Done < 100 || total.Elections < 5 || len(total.Faults) < len(AllFaults())/3 {
		t.Error("that is too little")
	}
}

// What is wrong with a service's FSM or its reads is found.
func TestSimulateFinds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault Fault
		wrong func(*SimulateOptions)
		want  []string
	}{
		{"an FSM that draws", FaultRestart, func(o *SimulateOptions) {
			o.NewFSM = func() raft.FSM { return &drawingFSM{draw: rand.Uint64()} }
			o.Query, o.Read = nil, nil
		}, []string{wrongResponse, differentFSM}},
		{"an FSM that forgets when it is restored", FaultRestart, func(o *SimulateOptions) {
			o.NewFSM = func() raft.FSM { return new(forgetfulFSM) }
			o.Query, o.Read = nil, nil
			o.Configure = func(c *raft.Config) { c.SnapshotThreshold, c.SnapshotInterval = 1, time.Second }
		}, []string{wrongResponse, differentFSM}},
		{"an FSM with a state of its own", FaultRestart, func(o *SimulateOptions) {
			o.NewFSM = func() raft.FSM { return &secretFSM{secret: rand.Uint64()} }
			o.Query, o.Read = nil, nil
		}, []string{differentFSM}},
		{"a read of what was", FaultRestart, func(o *SimulateOptions) {
			o.Query, o.Read = cachedRead()
		}, []string{staleRead}},
		{"a disk without room", FaultRestart, func(o *SimulateOptions) {
			o.Nodes = 1
			o.MakeStores = fullStores
		}, []string{notServing}},
		{"a hook's objection", FaultRestart, func(o *SimulateOptions) {
			o.Hooks.Wrote = func(op *Operation, _ *raft.Raft) error { return errors.New("no") }
		}, []string{hookFailed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := sumOptions(1)
			opts.Faults = Faults{Only: []Fault{tt.fault}, Every: 2 * time.Second}
			tt.wrong(&opts)
			r, err := SimulateWithErr(t, opts)
			var v *Violation
			if !errors.As(err, &v) || !slices.Contains(tt.want, v.Property) {
				t.Fatalf("found %v, want one of %q", err, tt.want)
			}
			if tail := r.Tail(); !strings.Contains(tail, "heal") || !strings.Contains(tail, "write") {
				t.Errorf("the tail shows not what happened: %s", tail)
			}
		})
	}
}

// drawingFSM is not deterministic.
type drawingFSM struct {
	sumFSM
	draw uint64
}

func (f *drawingFSM) Apply(*raft.Log) any { return f.draw }

// secretFSM has something in its snapshots that no response shows.
type secretFSM struct {
	sumFSM
	secret uint64
}

func (f *secretFSM) Snapshot() (raft.FSMSnapshot, error) {
	return textSnapshot(fmt.Sprint(f.sum(), " ", f.secret)), nil
}

// forgetfulFSM restores nothing.
type forgetfulFSM struct{ sumFSM }

func (f *forgetfulFSM) Restore(r io.ReadCloser) error { return r.Close() }

// cachedRead answers what it answered the read before.
func cachedRead() (query func(*rand.Rand, int) any, read func(raft.FSM, any) any) {
	var mu sync.Mutex
	var cache uint64
	query = func(*rand.Rand, int) any { return new(bool) } // whether it has been answered
	read = func(fsm raft.FSM, query any) any {
		mu.Lock()
		defer mu.Unlock()
		sum, answered := fsm.(*sumFSM).sum(), query.(*bool)
		if !*answered {
			*answered, sum, cache = true, cache, sum
		}
		return sum
	}
	return query, read
}

// fullStores have room for a few entries.
func fullStores(raft.ServerID) (Stores, error) {
	store := &fullStore{InmemStore: raft.NewInmemStore()}
	return Stores{store, store, raft.NewInmemSnapshotStore()}, nil
}

type fullStore struct{ *raft.InmemStore }

func (s *fullStore) StoreLogs(entries []*raft.Log) error {
	if entries[0].Index > 20 {
		return errors.New("no room")
	}
	return s.InmemStore.StoreLogs(entries)
}

// The faults that are switched off don't happen.
func TestSimulateFaults(t *testing.T) {
	opts := sumOptions(1)
	opts.Faults = Faults{Only: []Fault{FaultCrash, FaultIsolation, FaultTransfer}, Without: []Fault{FaultIsolation}, Every: 2 * time.Second}
	r := Simulate(t, opts)
	if r.Faults[FaultCrash] == 0 || len(r.Faults) != 2 || r.Faults[FaultTransfer] == 0 {
		t.Errorf("faults %v", r.Faults)
	}
	opts.Faults.Every = -1
	if r := Simulate(t, opts); len(r.Faults) != 0 || r.Elections != 1 {
		t.Errorf("faults %v, %d elections", r.Faults, r.Elections)
	}
}

func TestSimulateRefusesOptions(t *testing.T) {
	for _, change := range []func(*SimulateOptions){
		func(o *SimulateOptions) { o.NewFSM = nil },
		func(o *SimulateOptions) { o.Command = nil },
		func(o *SimulateOptions) { o.Read = nil },
	} {
		opts := sumOptions(1)
		change(&opts)
		if _, err := SimulateWithErr(t, opts); err == nil {
			t.Error("options that lack something are accepted")
		}
	}
}

func TestAgenda(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a agenda
		var did []string
		start := time.Now()
		do := func(what string) func() {
			return func() { did = append(did, fmt.Sprint(what, time.Since(start))) }
		}
		a.in(2*time.Second, do("c"))
		a.in(time.Second, do("a"))
		a.in(time.Second, do("b"))
		a.in(time.Minute, do("d"))
		a.until(start.Add(3*time.Second), func() bool { return false })
		if got, want := strings.Join(did, " "), "a1s b1s c2s"; got != want || time.Since(start) != 3*time.Second {
			t.Errorf("did %s by %v, want %s", got, time.Since(start), want)
		}
		a.until(start.Add(time.Hour), func() bool { return len(did) == 4 })
		if time.Since(start) != time.Minute {
			t.Errorf("stopped at %v, want when it was enough", time.Since(start))
		}
	})
}
