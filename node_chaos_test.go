package raft_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// What a cluster goes through in a few bad minutes: cuts in one or both directions, disks
// that hang or fill up, FSMs that hang, restarts, snapshots, transfers, changes of the
// membership. Whatever was acknowledged is there at the end, once and in order, on every
// server; and the cluster recovers by itself as soon as it is let.
func TestNodeChaos(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			config := func(conf *raft.Config) {
				conf.SnapshotThreshold, conf.SnapshotInterval, conf.TrailingLogs = 50, 5*time.Second, 20
				conf.PreVoteDisabled = seed%3 == 2
				conf.LeaseReads = seed%2 == 1
			}
			bubble(t, options{size: 5, latency: 2 * time.Millisecond, sync: 3 * time.Millisecond, config: config, prepare: shelves}, func(t *testing.T, c *cluster) {
				m := &mischief{c: c, rng: rand.New(rand.NewPCG(seed, 0))}
				m.run(2 * time.Minute)
				time.Sleep(10 * time.Second) // whoever has stood in vain may depose one leader more
				c.leader().apply("end")
				m.check(c.converge())
			})
		})
	}
}

// mischief draws what happens to a cluster, and writes to it. The order of events within
// one instant is not under its control, so a seed is a hint and not a replay.
type mischief struct {
	c      *cluster
	rng    *rand.Rand
	writes []write
}

type write struct {
	cmd    string
	future raft.ApplyFuture
}

// run lets things happen for a while and then repairs everything.
func (m *mischief) run(d time.Duration) {
	next := time.Now()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		m.write()
		if time.Now().After(next) {
			m.happen()
			next = time.Now().Add(time.Duration(m.rng.IntN(2000)) * time.Millisecond)
		}
	}
	m.repair()
}

// write offers a command to everybody who claims to lead.
func (m *mischief) write() {
	for _, n := range m.c.nodes {
		if n.State() == raft.Leader {
			cmd := fmt.Sprint(len(m.writes))
			m.writes = append(m.writes, write{cmd, n.Apply([]byte(cmd), 0)})
		}
	}
}

// check compares what was acknowledged with what was applied.
func (m *mischief) check(applied []string) {
	t := m.c.t
	acked := slices.DeleteFunc(m.writes, func(w write) bool { return outcome(w.future) != nil })
	slices.SortFunc(acked, func(a, b write) int { return cmp.Compare(a.future.Index(), b.future.Index()) })
	if len(acked) < 100 {
		t.Errorf("only %d writes were acknowledged", len(acked))
	}
	i := 0
	for _, cmd := range applied {
		if i < len(acked) && cmd == acked[i].cmd {
			i++
		}
	}
	if i < len(acked) {
		t.Errorf("%s was acknowledged at %d, and is not there or not in order", acked[i].cmd, acked[i].future.Index())
	}
	slices.Sort(applied)
	if n := len(slices.Compact(slices.Clone(applied))); n != len(applied) {
		t.Errorf("%d commands were applied twice", len(applied)-n)
	}
}

func (m *mischief) any() *node { return m.c.nodes[m.rng.IntN(len(m.c.nodes))] }

func (m *mischief) happen() {
	a, b := m.any(), m.any()
	switch m.rng.IntN(14) {
	case 0, 1:
		m.c.isolate(a)
	case 2:
		m.c.net.Cut(a.addr, b.addr)
	case 3:
		a.disk.gate.hold()
	case 4:
		a.disk.fail(errFull)
	case 5:
		a.fsm.apply.hold()
	case 6:
		a.fsm.persist.hold()
	case 7:
		a.Snapshot()
	case 8:
		a.LeadershipTransfer()
	case 9:
		a.DemoteVoter(b.id, 0, time.Second)
	case 10:
		a.AddVoter(b.id, b.addr, 0, time.Second)
	default:
		m.repair()
	}
}

// repair undoes what was done to the cluster, but for its membership, and restarts a
// server now and then.
func (m *mischief) repair() {
	m.c.net.Heal()
	for _, n := range m.c.nodes {
		n.disk.gate.release()
		n.disk.fail(nil)
		n.fsm.apply.release()
		n.fsm.persist.release()
	}
	if n := m.any(); m.rng.IntN(2) == 0 {
		n.restart()
	}
}
