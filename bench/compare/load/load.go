package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"runtime"
	"sync/atomic"
	"time"
)

// A System is a running cluster that has a leader and can be put under load.
type System interface {
	// Propose has a command applied, and returns when the leader has applied it. It
	// is called by many goroutines. The command is the System's from then on.
	Propose(command []byte) error

	// Machines returns the machines of all nodes in this process.
	Machines() []*Machine

	// Flushes returns how often the stores of all nodes in this process have waited
	// for a disk so far.
	Flushes() uint64
}

// A Distributed system has nodes in other processes as well.
type Distributed interface {
	System

	// Remotes returns the other processes.
	Remotes() []Remote
}

// A Remote is a process with one node of the cluster, other than the process that
// measures.
type Remote interface {
	// Report asks the process how far it is.
	Report() (Report, error)
}

// A Report is what a [Remote] says of itself: its machine's state, and [Self] with the
// flushes of its stores. It may be sent as JSON.
type Report struct {
	State State
	Usage Usage
}

// Options say what load is put on a system, and how long.
type Options struct {
	Clients int           // that call at the same time
	Writers int           // that write beside the clients, in Read only
	Size    int           // of a command, in bytes; at least 8
	Time    time.Duration // that is measured; a fifth of it precedes it unmeasured

	// Files to which profiles of the measured time are written, if they are named.
	CPUProfile, MemProfile string
}

// Metrics are results by name. Those of a loop are
//
//	rate        operations per second
//	p50, p99, p999, max   latency, in µs
//	cpu         µs per operation, of all processes, clients included
//	allocs, bytes         allocated per operation, likewise
//	rss         peak resident memory of all processes together, in MiB
//	flushes     per operation, of all nodes
//	perflush    commands per flush of one node
//	writes      by the writers beside, per second
//
// that of a task is seconds (and rss); idle has cpu in µs per second, goroutines, rss, and
// in data what is resident at the end and not pages of a file, in MiB.
type Metrics map[string]float64

// Write measures the writing of commands, each different from all others, and then
// checks that every node has applied each of them exactly once, in the same order.
func Write(sys System, o Options) (Metrics, error) {
	p, err := newProposals(sys, o.Size)
	if err != nil {
		return nil, err
	}
	l := loop{options: o, usage: usageOf(sys), op: p.propose}
	m, err := l.run()
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if m["flushes"] > 0 {
		m["perflush"] = float64(len(p.before)) / m["flushes"]
	}
	return m, nil
}

// Read measures read, called by the clients, beside o.Writers goroutines that write as
// the clients of [Write] do. It checks what they wrote likewise.
func Read(sys System, o Options, read func(client int) error) (Metrics, error) {
	p, err := newProposals(sys, o.Size)
	if err != nil {
		return nil, err
	}
	l := loop{options: o, usage: usageOf(sys), op: read, beside: p.propose}
	m, err := l.run()
	if err != nil {
		return nil, err
	}
	return m, p.check()
}

// Loop measures an operation of any kind in this process. Client says which of the
// clients calls, from 0.
func Loop(o Options, op func(client int) error) (Metrics, error) {
	l := loop{options: o, usage: Self, op: op}
	return l.run()
}

// Fill writes so many commands of so many bytes as fast as a closed loop can, to make a
// log that is long before something is measured.
func Fill(sys System, entries, size int) error {
	p, err := newProposals(sys, size)
	if err != nil {
		return err
	}
	const clients = 1024
	var left atomic.Int64
	left.Store(int64(entries))
	failed := make(chan error, clients)
	for i := range clients {
		go func() {
			var err error
			for err == nil && left.Add(-1) >= 0 {
				err = p.propose(i)
			}
			failed <- err
		}()
	}
	for range clients {
		err = errors.Join(err, <-failed)
	}
	if err != nil {
		return fmt.Errorf("filling the log: %w", err)
	}
	return p.check()
}

// Task measures how long a task takes that is done once. The peak of memory is that
// since the process began.
func Task(o Options, task func() error) (Metrics, error) {
	stop, err := startProfiles(o)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	err = task()
	seconds := time.Since(start).Seconds()
	if err := errors.Join(err, stop()); err != nil {
		return nil, err
	}
	u, err := Self()
	if err != nil {
		return nil, err
	}
	return Metrics{"seconds": seconds, "rss": mebibytes(u.RSS)}, nil
}

// Idle measures what a system uses while nobody calls it.
func Idle(sys System, o Options) (Metrics, error) {
	time.Sleep(o.Time / 5)
	span, err := measure(o, usageOf(sys), func() error {
		time.Sleep(o.Time)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return Metrics{
		"cpu":        float64(span.after.CPU-span.before.CPU) / float64(time.Microsecond) / span.time.Seconds(),
		"goroutines": float64(runtime.NumGoroutine()),
		"rss":        mebibytes(span.after.RSS),
		"data":       mebibytes(span.after.Data),
	}, nil
}

// proposals are the commands that are written to a system. No two are the same, so
// that no two orders of them have the same digest.
type proposals struct {
	sys      System
	template []byte
	next     atomic.Uint64 // number of commands made
	before   []State       // of the nodes, before the first of them
}

func newProposals(sys System, size int) (*proposals, error) {
	const number = 8
	if size < number {
		return nil, fmt.Errorf("commands of %d bytes cannot all differ", size)
	}
	before, err := statesOf(sys)()
	if err != nil {
		return nil, err
	}
	p := &proposals{sys: sys, template: make([]byte, size), before: before}
	rand.New(rand.NewSource(1)).Read(p.template) // a disk or file system may compress
	return p, nil
}

// propose writes the next command.
func (p *proposals) propose(int) error {
	command := bytes.Clone(p.template)
	binary.LittleEndian.PutUint64(command, p.next.Add(1))
	return p.sys.Propose(command)
}

// check checks that all nodes have applied the same commands, and as many as were
// proposed. No proposal may be under way.
func (p *proposals) check() error {
	now, err := agree(time.Now().Add(patience), statesOf(p.sys))
	if err != nil {
		return err
	}
	// Followers may have been behind, but not the leader: it had applied all that came
	// before.
	old := uint64(0)
	for _, s := range p.before {
		old = max(old, s.Count)
	}
	if applied, made := now.Count-old, p.next.Load(); applied != made {
		return fmt.Errorf("%d commands were acknowledged, but %d applied", made, applied)
	}
	return nil
}

// statesOf returns a function that reads the states of all nodes of a system.
func statesOf(sys System) func() ([]State, error) {
	here := states(sys.Machines())
	d, distributed := sys.(Distributed)
	if !distributed {
		return here
	}
	return func() ([]State, error) {
		all, err := here()
		for _, remote := range d.Remotes() {
			r, failed := remote.Report()
			all, err = append(all, r.State), errors.Join(err, failed)
		}
		return all, err
	}
}

// usageOf returns a function that reads the usage of all processes of a system.
func usageOf(sys System) func() (Usage, error) {
	d, distributed := sys.(Distributed)
	return func() (Usage, error) {
		u, err := Self()
		u.Flushes = sys.Flushes()
		if !distributed {
			return u, err
		}
		for _, remote := range d.Remotes() {
			r, failed := remote.Report()
			u, err = u.add(r.Usage), errors.Join(err, failed)
		}
		return u, err
	}
}
