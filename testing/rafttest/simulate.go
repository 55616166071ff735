package rafttest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// SimulateOptions says what [Simulate] simulates. NewFSM and Command are required.
type SimulateOptions struct {
	// Seed is what all that is random is drawn from: the settings of the cluster,
	// the faults, the commands. The order of what happens at one instant is not
	// drawn, so the same seed makes runs alike and not equal.
	Seed uint64

	Nodes    int           // voters at the start; 5 if 0
	Duration time.Duration // of the troubles, in virtual time; 2 minutes if 0
	Clients  int           // 5 if 0
	Pace     time.Duration // between the calls of a client, on average; 100 ms if 0

	// NewFSM makes an empty FSM. A snapshot of it must be the same bytes for the same
	// state, or else there must be SameState.
	NewFSM    func() raft.FSM
	SameState func(a, b raft.FSM) bool

	// Command draws a command that a client writes. It is called from many goroutines.
	Command func(rng *rand.Rand, client int) []byte

	// Query draws what a client reads, and Read answers it from an FSM, while
	// commands are applied to that. Without them there are no reads.
	Query func(rng *rand.Rand, client int) any
	Read  func(fsm raft.FSM, query any) any

	// Equal compares responses, and results of reads; [reflect.DeepEqual] if nil.
	Equal func(a, b any) bool

	Faults Faults

	// SettleWithin is how long the cluster may take, after the faults have ended, to
	// elect a leader, commit a write and bring all servers to the same state; a
	// minute if 0.
	SettleWithin time.Duration

	// Configure changes a server's configuration, which has been drawn. It is called
	// for each start of a server. LocalID must stay.
	Configure func(*raft.Config)

	// MakeStores makes the empty stores of a server, once for a new server and again
	// when it is wiped. They must work in a synctest bubble. Nil means stores in
	// memory.
	MakeStores func(id raft.ServerID) (Stores, error)

	// Logger takes the logs of the nodes; nil means none.
	Logger hclog.Logger

	// Trace gets a line for everything that is done to the cluster; nil means none.
	Trace io.Writer

	Hooks SimulateHooks
}

// Stores are what a server keeps on its disk. Logs and Stable may be one object.
type Stores struct {
	Logs      raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// SimulateHooks let a caller watch a simulation for more than [Simulate] does. They are
// called from many goroutines, must not call the cluster, and must not block but on
// locks of their own. Those that are nil are left out.
type SimulateHooks struct {
	// Request sees each request as it is sent.
	Request func(Message) error

	// Started and Looked see a node after each start, and then every few hundred
	// milliseconds.
	Started func(id raft.ServerID, r *raft.Raft) error
	Looked  func(id raft.ServerID, r *raft.Raft) error

	// Wrote sees a write that has just succeeded on a node.
	Wrote func(op *Operation, r *raft.Raft) error
}

// Report is what happened in a simulation.
type Report struct {
	Seed    uint64
	Virtual time.Duration // how long it took, in virtual time
	SimulateCounts

	Schedule  []string    // what was done to the cluster
	History   []Operation // what clients did
	Committed []raft.Log  // the commands that the cluster has committed
}

// Simulate runs the user's FSM and workload on a cluster of whole nodes, in virtual
// time under faults drawn from the seed; see [Fault] for what they are. After that it
// heals everything, and requires that within SettleWithin the cluster has a leader and
// commits, every server of its configuration reaches the same state, and all calls
// have returned. And it requires of the history that all FSMs applied the same entries
// in the same order, each once, and that it is linearizable, see [Model.Check].
//
// It fails t, with the seed, what was done to the cluster and the calls concerned, if
// any of that does not hold, and returns the report in either case. It blocks until
// the simulation is over, which is some seconds for the defaults, and may be called
// from parallel tests, but not from within a synctest bubble.
//
// To run one seed alone, set Seed to what the failure names.
func Simulate(t *testing.T, opts SimulateOptions) *Report {
	t.Helper()
	report, err := SimulateWithErr(t, opts)
	if err != nil {
		t.Errorf("seed %d: %v\n\n%s", opts.Seed, err, report.Tail())
	}
	return report
}

// SimulateWithErr is [Simulate], but returns what does not hold: errors of type
// [Violation], joined, or an error of the options. It fails t only if goroutines are
// left behind.
func SimulateWithErr(t *testing.T, opts SimulateOptions) (*Report, error) {
	t.Helper()
	if opts.NewFSM == nil || opts.Command == nil || (opts.Query == nil) != (opts.Read == nil) {
		return &Report{Seed: opts.Seed}, errors.New("rafttest: NewFSM and Command are required, and Query and Read go together")
	}
	opts.setDefaults()
	var s *simulation
	synctest.Test(t, func(t *testing.T) {
		s = newSimulation(t, opts)
		s.play()
	})
	return s.report(), s.err()
}

func (o *SimulateOptions) setDefaults() {
	orElse(&o.Nodes, 5)
	orElse(&o.Duration, 2*time.Minute)
	orElse(&o.Clients, 5)
	orElse(&o.Pace, 100*time.Millisecond)
	orElse(&o.SettleWithin, time.Minute)
	if o.MakeStores == nil {
		o.MakeStores = memStores
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.SameState == nil {
		o.SameState = sameSnapshots
	}
}

// orElse gives a value that is not set its default.
func orElse[T comparable](value *T, d T) {
	var zero T
	if *value == zero {
		*value = d
	}
}

func memStores(raft.ServerID) (Stores, error) {
	store := raft.NewInmemCommitTrackingStore()
	return Stores{store, store, raft.NewInmemSnapshotStore()}, nil
}

// tailLines is how much of a schedule and a history Tail shows.
const tailLines = 60

// Tail describes the end of the simulation: what was done to the cluster, and what
// clients did, in two lists.
func (r *Report) Tail() string { return r.story(tailLines) }

// Story describes all of the simulation, as Tail does its end.
func (r *Report) Story() string { return r.story(max(len(r.Schedule), len(r.History))) }

func (r *Report) story(lines int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "what was done to the cluster:\n")
	for _, line := range r.Schedule[max(0, len(r.Schedule)-lines):] {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "what clients did:\n")
	for i := max(0, len(r.History)-lines); i < len(r.History); i++ {
		fmt.Fprintf(&b, "  %v\n", &r.History[i])
	}
	return b.String()
}
