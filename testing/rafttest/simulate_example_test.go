package rafttest_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// A service's FSM, its commands and its reads under everything that can go wrong, for
// two minutes of virtual time. If this fails it names what does not hold, what had been
// done to the cluster, and what clients saw of it; Seed repeats it.
func TestExampleSimulate(t *testing.T) {
	draw := func(rng *rand.Rand) string { return []string{"raft", "log", "term"}[rng.IntN(3)] }
	report := rafttest.Simulate(t, rafttest.SimulateOptions{
		Seed:     1,
		Duration: 2 * time.Minute,
		NewFSM:   newWords,
		Command:  func(rng *rand.Rand, _ int) []byte { return []byte(draw(rng)) },
		Query:    func(rng *rand.Rand, _ int) any { return draw(rng) },
		Read:     func(fsm raft.FSM, query any) any { return fsm.(*words).count(query.(string)) },
		Faults:   rafttest.Faults{Without: []rafttest.Fault{rafttest.FaultReplacement}},
	})
	t.Logf("%v of virtual time\n%v", report.Virtual, &report.SimulateCounts)
}
