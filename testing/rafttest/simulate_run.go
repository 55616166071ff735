package rafttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// The properties that a cluster is held to after its troubles.
const (
	notServing   = "cluster does not serve"
	notConverged = "servers do not converge"
	differentFSM = "FSMs differ"
	noAnswer     = "calls without an answer"
	noStart      = "node does not start"
	hookFailed   = "hook" // for errors of hooks that are no violations
)

// simulation is one run. The methods run on the goroutine of play unless they say
// otherwise; what that does later is on its agenda.
type simulation struct {
	agenda
	opts    SimulateOptions
	plan    simPlan
	kinds   []faultKind
	rng     *rand.Rand
	cluster *Cluster
	net     *Network
	begin   time.Time
	took    time.Duration

	cuts     map[link]int // how many faults cut each link
	troubles []*trouble
	disks    []*Disk                // all there ever were
	members  map[raft.ServerID]bool // in the end
	changing bool                   // a change of the membership is under way

	// Safe for any goroutine.
	history *History
	journal *journal
	counts  eventCounts
	ctx     context.Context // of reads; ends with the simulation
	cancel  context.CancelFunc
	sent    sentSnapshots
	calls   atomic.Int32 // that have not returned
	healed  atomic.Bool
	all     atomic.Pointer[[]*simServer]

	mu       sync.Mutex
	broken   []error
	schedule []string
}

// simServer is a server and what the operator knows of it.
type simServer struct {
	*Node
	life      atomic.Pointer[life] // nil while the node is down
	last      *simFSM              // of its latest life
	paused    bool
	reloading bool   // a call is under way; another would wait for it
	lost      bool   // it has lost its disk and does not come back
	spare     bool   // it has been removed for certain, and not been added again
	removed   uint64 // at this index
}

// life is a node from one start to the next.
type life struct {
	raft *raft.Raft
	fsm  *simFSM
}

// simPlan is what a seed is about.
type simPlan struct {
	every     time.Duration // between faults
	heartbeat time.Duration
	election  time.Duration
	latency   time.Duration
	sync      time.Duration // of a disk
	preVote   int           // 0: off, 1: on some servers, else on
	leases    bool          // most servers read by promises
	trailing  uint64
	threshold uint64
	interval  time.Duration
	batch     int
}

func newSimulation(t *testing.T, opts SimulateOptions) *simulation {
	s := &simulation{opts: opts, kinds: opts.Faults.kinds(), begin: time.Now(), cuts: map[link]int{}, history: NewHistory()}
	s.rng = s.source(0)
	s.counts.n.Faults = map[Fault]int{}
	s.journal = newJournal(func(v *Violation) { s.fail(v) })
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.net = NewNetwork(opts.Seed)
	s.net.Intercept(s.request)
	s.drawPlan()
	s.boot(t)
	return s
}

// source returns the n-th source of randomness of the seed.
func (s *simulation) source(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.opts.Seed, n)) }

func (s *simulation) drawPlan() {
	r, p := s.rng, &s.plan
	p.heartbeat = pick(r, 200*time.Millisecond, 500*time.Millisecond, time.Second, time.Second)
	p.election = p.heartbeat + around(r, p.heartbeat/2)
	p.latency = pick(r, 500*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond)
	p.sync = pick(r, 200*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond)
	p.every = pick[time.Duration](r, 2, 4, 8) * p.heartbeat
	p.preVote = r.IntN(4)
	p.leases = r.IntN(2) == 0
	p.trailing = pick[uint64](r, 0, 2, 10, 100)
	p.threshold = pick[uint64](r, 1, 8, 50, 500)
	p.interval = pick[time.Duration](r, 2, 5, 20) * p.heartbeat
	p.batch = pick(r, 1, 4, 64)
	if s.opts.Faults.Every != 0 {
		p.every = s.opts.Faults.Every
	}
	s.tracef("plan %+v", *p)
}

// pick draws one of some values.
func pick[T any](rng *rand.Rand, values ...T) T { return values[rng.IntN(len(values))] }

// configure draws what differs between servers, and starts of a server.
func (s *simulation) configure(c *raft.Config) {
	p := &s.plan
	c.Logger = s.opts.Logger.Named(string(c.LocalID))
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = p.heartbeat, p.election, p.heartbeat/2
	c.CommitTimeout = p.heartbeat / 20
	c.TrailingLogs, c.SnapshotThreshold, c.SnapshotInterval = p.trailing, p.threshold, p.interval
	c.MaxAppendEntries = p.batch
	c.PreVoteDisabled = p.preVote == 0 || p.preVote == 1 && s.rng.IntN(2) == 0
	c.ShutdownOnRemove = s.rng.IntN(2) == 0
	c.LeaseReads = p.leases && s.rng.IntN(8) > 0
	if s.opts.Configure != nil {
		s.opts.Configure(c)
	}
}

// play runs it from its start to its end.
func (s *simulation) play() {
	s.in(0, s.look)
	s.in(0, s.tend)
	if s.plan.every > 0 && len(s.kinds) > 0 {
		s.in(s.plan.every, s.disturb)
	}
	for i := range s.opts.Clients {
		go s.newClient(i).work()
	}
	s.until(s.begin.Add(s.opts.Duration), s.failed)
	s.heal()
	if !s.failed() {
		s.settle()
	}
	s.stopAll()
	if !s.failed() {
		s.compare()
	}
}

// fail records that something does not hold. Any goroutine may call it.
func (s *simulation) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.broken) < maxViolations {
		s.broken = append(s.broken, err)
	}
}

// hooked records what a hook has found.
func (s *simulation) hooked(what string, err error) {
	var v *Violation
	if err != nil && !errors.As(err, &v) {
		err = violation(hookFailed, "%s: %v", what, err)
	}
	if err != nil {
		s.fail(err)
	}
}

// check records an error of a call that must succeed.
func (s *simulation) check(err error) { s.hooked("call", err) }

func (s *simulation) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.broken) > 0
}

func (s *simulation) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.broken...)
}

// tracef notes what is done to the cluster.
func (s *simulation) tracef(format string, args ...any) {
	line := fmt.Sprintf("%9.3f ", time.Since(s.begin).Seconds()) + fmt.Sprintf(format, args...)
	s.schedule = append(s.schedule, line)
	if s.opts.Trace != nil {
		fmt.Fprintln(s.opts.Trace, line)
	}
}

// request sees all requests. Any goroutine may call it.
func (s *simulation) request(m Message) error {
	if m.From == ghost {
		return nil
	}
	if install, ok := m.Request.(*raft.InstallSnapshotRequest); ok {
		for _, sv := range s.servers() {
			if sv.Address() == m.From {
				s.sent.keep(sv.Disk(), m.To, install)
			}
		}
	}
	if s.opts.Hooks.Request != nil {
		s.hooked("request", s.opts.Hooks.Request(m))
	}
	return nil
}

// servers returns all there ever were. Any goroutine may call it.
func (s *simulation) servers() []*simServer { return *s.all.Load() }

// leader returns the server that claims to lead in the highest term, nil if none does.
func (s *simulation) leader() (best *simServer) {
	var term uint64
	for _, sv := range s.servers() {
		if life := sv.life.Load(); life != nil && life.raft.State() == raft.Leader && life.raft.CurrentTerm() >= term {
			best, term = sv, life.raft.CurrentTerm()
		}
	}
	return best
}

// anyLeader returns one of those that claim to lead, now and then any server. Any
// goroutine may call it.
func (s *simulation) anyLeader(rng *rand.Rand) *simServer {
	all := s.servers()
	leaders := slices.DeleteFunc(slices.Clone(all), func(sv *simServer) bool {
		life := sv.life.Load()
		return life == nil || life.raft.State() != raft.Leader
	})
	if len(leaders) == 0 || rng.IntN(12) == 0 {
		leaders = all
	}
	return leaders[rng.IntN(len(leaders))]
}

// await makes a call that may block, as any does if its server is paused, and calls
// done on the agenda when it has returned.
func (s *simulation) await(call func() error, done func(error)) {
	result := make(chan error, 1)
	s.calls.Add(1)
	go func() {
		result <- call()
		s.calls.Add(-1)
	}()
	var look func()
	look = func() {
		select {
		case err := <-result:
			done(err)
		default:
			s.in(s.plan.heartbeat/10, look)
		}
	}
	s.in(0, look)
}

// heal ends all troubles.
func (s *simulation) heal() {
	s.tracef("heal")
	s.healed.Store(true)
	for _, t := range s.troubles {
		t.undo()
	}
	s.troubles = nil
	clear(s.cuts)
	s.recut()
	for _, sv := range s.servers() {
		if life := sv.life.Load(); life != nil {
			life.fsm.is(func(t *fsmTrouble) { *t = fsmTrouble{} })
		}
		switch {
		case sv.lost:
		case sv.spare:
			s.stop(sv)
		default:
			s.start(sv)
		}
	}
}

// settle requires that the cluster recovers.
func (s *simulation) settle() {
	deadline := s.begin.Add(s.opts.Duration + s.opts.SettleWithin)
	last := s.newClient(s.opts.Clients)
	for _, goal := range []struct {
		property string
		missing  func() error
	}{
		{notServing, func() error { return s.serves(last) }},
		{noAnswer, s.answered}, // from here on nothing is written
		{notConverged, s.converged},
	} {
		for err := goal.missing(); err != nil; err = goal.missing() {
			if s.failed() || time.Now().After(deadline) {
				s.fail(violation(goal.property, "within %v: %v%s", s.opts.SettleWithin, err, s.states()))
				return
			}
			s.until(time.Now().Add(s.plan.heartbeat/10), s.failed)
		}
	}
}

// serves has the leader commit a command.
func (s *simulation) serves(c *simClient) error {
	if c.pending.Load() > 0 {
		return errors.New("a write is pending")
	}
	if c.wrote.Load() {
		return nil
	}
	leader := s.leader()
	if leader == nil {
		return errors.New("no leader")
	}
	command := c.command()
	c.start(func() { c.wrote.Store(c.write(leader, command) == Done) })
	return errors.New("nothing written")
}

// converged looks whether all members have applied all.
func (s *simulation) converged() error {
	leader := s.leader()
	if leader == nil {
		return errors.New("no leader")
	}
	last := leader.life.Load().raft.LastIndex()
	s.members = map[raft.ServerID]bool{}
	for id := range s.configuration() {
		s.members[id] = true
	}
	for _, sv := range s.servers() {
		if !s.members[sv.ID()] {
			continue
		}
		life := sv.life.Load()
		switch {
		case life == nil:
			return fmt.Errorf("%s is a member and down", sv.ID())
		case life.raft.AppliedIndex() != last:
			return fmt.Errorf("%s has applied %d of %d", sv.ID(), life.raft.AppliedIndex(), last)
		}
	}
	return nil
}

// answered looks whether all calls have returned. Reads at servers that are no
// members any more wait for ever, unless somebody ends it.
func (s *simulation) answered() error {
	s.cancel()
	if n := s.calls.Load(); n > 0 {
		return fmt.Errorf("%d calls", n)
	}
	return nil
}

// states describes the servers.
func (s *simulation) states() string {
	var b bytes.Buffer
	for _, sv := range s.servers() {
		life := sv.life.Load()
		if life == nil {
			fmt.Fprintf(&b, "\n%s is down (lost %v, spare %v)", sv.ID(), sv.lost, sv.spare)
			continue
		}
		st := life.raft.Stats()
		fmt.Fprintf(&b, "\n%s %s term=%s last=%s durable=%s commit=%s applied=%s snapshot=%s %s %s", sv.ID(), st["state"], st["term"],
			st["last_log_index"], st["durable_index"], st["commit_index"], st["applied_index"], st["last_snapshot_index"],
			st["latest_configuration"], st["store_error"])
	}
	return b.String()
}

// stopAll ends the nodes, and waits until what they have left on timers is over.
func (s *simulation) stopAll() {
	s.cancel()
	for _, sv := range s.servers() {
		s.stop(sv)
	}
	s.took = time.Since(s.begin)
	time.Sleep(time.Minute)
}

// compare holds what the nodes have left behind to each other and to the history.
func (s *simulation) compare() {
	committed := s.journal.commands()
	model := Model{NewFSM: s.opts.NewFSM, Read: s.opts.Read, Equal: s.opts.Equal}
	if err := model.Check(s.history.Operations(), committed); err != nil {
		s.fail(err)
		return
	}
	replayed := s.opts.NewFSM()
	for i := range committed {
		e := committed[i]
		applyTo(replayed, &e)
	}
	for _, sv := range s.servers() {
		switch fsm := sv.last; {
		case !s.members[sv.ID()]:
		case fsm.number != s.journal.number():
			s.fail(violation(entriesMissing, "%s has %d entries in its FSM at %d, others %d", sv.ID(), fsm.number, fsm.last, s.journal.number()))
		case !s.opts.SameState(fsm.FSM, replayed):
			s.fail(violation(differentFSM, "that of %s is not what a replay of the log gives: %s", sv.ID(), difference(fsm.FSM, replayed)))
		}
	}
}

// sameSnapshots is the default of SameState.
func sameSnapshots(a, b raft.FSM) bool {
	x, err := stateOf(a)
	y, err2 := stateOf(b)
	return errors.Join(err, err2) == nil && bytes.Equal(x, y)
}

// difference shows where the snapshots of two FSMs begin to differ.
func difference(a, b raft.FSM) string {
	x, err := stateOf(a)
	y, err2 := stateOf(b)
	if err = errors.Join(err, err2); err != nil {
		return err.Error()
	}
	same := 0
	for same < min(len(x), len(y)) && x[same] == y[same] {
		same++
	}
	excerpt := func(state []byte) []byte { return state[max(0, same-40):min(len(state), same+40)] }
	return fmt.Sprintf("%d and %d bytes, from %d on %q and %q", len(x), len(y), same, excerpt(x), excerpt(y))
}
