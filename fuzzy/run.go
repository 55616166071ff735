package fuzzy

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// outcome is what a seed has come to.
type outcome struct {
	Seed     uint64
	Virtual  time.Duration
	Counts   rafttest.SimulateCounts
	Searches searches
	Failures []failure // nothing: all is well
	Story    string    // of a failure
}

// settings are what a seed does not say. Of all but virtual the zero value will do.
type settings struct {
	virtual time.Duration // of troubles
	nodes   int           // 0: five, or now and then three or seven
	trace   io.Writer
	logger  hclog.Logger
}

// run plays one seed.
func run(t *testing.T, seed uint64, set settings) outcome {
	rng := rand.New(rand.NewPCG(seed, 7))
	w, batches, restores := newWatch(), rng.IntN(2) == 0, rng.IntN(4) == 0
	report, err := rafttest.SimulateWithErr(t, rafttest.SimulateOptions{
		Seed:     seed,
		Nodes:    cmp.Or(set.nodes, []int{5, 5, 5, 5, 5, 5, 3, 7}[rng.IntN(8)]),
		Duration: set.virtual,
		Clients:  clients,
		Pace:     time.Duration(100+rng.IntN(400)) * time.Millisecond,
		NewFSM:   func() raft.FSM { return newKV(w) },
		Command:  drawCommand,
		Query:    func(rng *rand.Rand, _ int) any { return drawKey(rng) },
		Read:     func(fsm raft.FSM, query any) any { return fsm.(*kv).get(query.(string)) },
		MakeStores: func(id raft.ServerID) (rafttest.Stores, error) {
			if w.begin.IsZero() {
				w.begin = time.Now() // in the bubble
			}
			return w.makeStores(id, batches), nil
		},
		Configure: func(c *raft.Config) { c.RestoreCommittedLogs = restores },
		Trace:     set.trace,
		Logger:    set.logger,
		Hooks:     rafttest.SimulateHooks{Request: w.request, Started: w.started, Looked: w.looked},
	})
	err = errors.Join(err, w.Found())
	done, unordered := search(report.History)
	o := outcome{
		Seed: seed, Virtual: report.Virtual, Counts: report.SimulateCounts, Searches: done,
		Failures: violations(errors.Join(err, unordered)),
	}
	if len(o.Failures) > 0 {
		o.Story = w.story() + report.Story()
	}
	return o
}

// failure is a property that does not hold.
type failure struct{ Property, Detail string }

// violations takes joined errors apart.
func violations(err error) (all []failure) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, violations(e)...)
		}
		return all
	}
	var v *rafttest.Violation
	switch {
	case err == nil:
	case errors.As(err, &v):
		all = append(all, failure(*v))
	default:
		all = append(all, failure{"error", err.Error()})
	}
	return all
}
