package raft

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	simSeeds = flag.Int("sim.seeds", 0, "how many seeds TestSim plays; 0 for as many as take half a minute")
	simFirst = flag.Uint64("sim.first", 1, "the first seed of TestSim")
	simSteps = flag.Int("sim.steps", 2000, "how many steps the nodes take before their troubles end")
	simTrace = flag.Bool("sim.trace", false, "print what happens")
)

// TestSim plays clusters under faults, a different one with each seed: its size, its
// settings, what clients want of it and what goes wrong. After every step a checker
// looks whether a property of Raft has been broken (sim_check_test.go). In the end the
// faults stop; then the cluster must elect, commit and agree within a minute of its
// time.
//
// A seed always plays the same:
//
//	go test -run TestSim/seed=17 -sim.trace .
func TestSim(t *testing.T) {
	first, seeds := *simFirst, *simSeeds
	if seeds == 0 {
		seeds = defaultSeeds()
	}
	one := regexp.MustCompile(`^\^?TestSim\$?/\^?seed=(\d+)`).FindStringSubmatch(flag.Lookup("test.run").Value.String())
	if one != nil {
		first, _ = strconv.ParseUint(one[1], 10, 64)
		seeds = 1
	}
	var mu sync.Mutex
	total := map[string]int{}
	steps := 0
	t.Cleanup(func() {
		t.Logf("%d seeds, %d steps: %s", seeds, steps, countsString(total))
		if seeds >= enoughSeeds && !t.Failed() {
			for _, kind := range simKinds {
				if total[kind] == 0 {
					t.Errorf("no seed had any %s", kind)
				}
			}
		}
	})
	for seed := first; seed < first+uint64(seeds); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			s := newSim(t, seed, *simSteps)
			if *simTrace {
				s.trace = func(format string, args ...interface{}) {
					fmt.Fprintf(os.Stderr, "%8.3f "+format, append([]interface{}{s.elapsed().Seconds()}, args...)...)
				}
			}
			err := s.play()
			if err != nil {
				t.Errorf("%v\n(%d steps, %v; go test -run TestSim/seed=%d -sim.steps=%d -sim.trace .)",
					err, s.steps, s.elapsed(), seed, *simSteps)
			}
			mu.Lock()
			defer mu.Unlock()
			steps += s.steps
			for kind, n := range s.counts {
				total[kind] += n
			}
		})
	}
}

// enoughSeeds are so many that every kind of event occurs.
const enoughSeeds = 30

func defaultSeeds() int {
	n := 300
	if raceEnabled {
		n /= 8
	}
	if testing.Short() {
		n /= 4
	}
	return n
}

// The same seed gives the same history, to the byte.
func TestSimReplays(t *testing.T) {
	for seed := uint64(1); seed <= 12; seed++ {
		var hashes [2]uint64
		for i := range hashes {
			h := fnv.New64a()
			s := newSim(t, seed, 800)
			s.trace = func(format string, args ...interface{}) {
				fmt.Fprintf(h, "%d ", s.elapsed())
				fmt.Fprintf(h, format, args...)
			}
			if err := s.play(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			hashes[i] = h.Sum64()
		}
		if hashes[0] != hashes[1] {
			t.Errorf("seed %d went two ways", seed)
		}
	}
}

// simKinds is what every run over the default seeds has to have had some of.
var simKinds = []string{
	"election", "legacy leader", "truncation", "snapshot", "snapshot install", "torn snapshot",
	"write", "read", "lease read", "unknown outcome", "refused write",
	"change", "removal", "demotion", "wipe", "leader without vote", "transfer",
	"crash", "crash in a batch", "full disk", "probe", "I/O error", "hung disk", "hung FSM", "failed restore",
	"partition", "one-way partition", "pause", "loss", "duplicate", "entries from the store",
}

func countsString(counts map[string]int) string {
	var parts []string
	for _, kind := range simKinds {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// sim is one cluster with its clients and its troubles.
type sim struct {
	*world
	seed    uint64
	limit   int // steps
	steps   int
	begin   time.Time
	plan    simPlan
	check   *checker
	counts  map[string]int
	servers []*simServer
	calls   []*simCall
	healed  bool
	writes  int
	loss    float64 // share of messages that are lost
	slow    float64 // share of messages that take long
}

// simServer is a server of either kind.
type simServer struct {
	id   ServerID
	conf *Config
	node *simNode    // ours
	peer *legacyPeer // or not

	idle    bool     // without state, not started yet
	forgets struct { // what had been on its disk when it was wiped
		term uint64
		last entryID
	}

	// Of the disk.
	crashIn int // at this operation
	errorIn int // an I/O error at this one
	full    map[string]bool
	badFSM  int // so many restores fail

	// What it was before the step.
	last uint64
	led  bool
	sick bool
}

// simCall is what a client waits for.
type simCall struct {
	what   string
	server *simServer
	done   func() bool // looks; true when it is over
}

// simPlan is what a seed is about.
type simPlan struct {
	size      int
	mixed     bool          // some servers are legacyPeers
	pace      time.Duration // between the actions of clients
	trouble   time.Duration // between faults
	odd       bool          // servers have different timeouts
	leases    bool          // leaders read by promises, and clocks differ
	duplicate float64
	latency   time.Duration
	sync      time.Duration // of a disk
	apply     time.Duration
}

func newSim(t testing.TB, seed uint64, steps int) *sim {
	s := &sim{world: newWorld(t, seed), seed: seed, limit: steps, check: newChecker(), counts: map[string]int{}}
	s.begin = s.now
	s.timers = true
	s.drawPlan()
	s.conf = func(id ServerID) *Config { return s.server(id).conf }
	s.delay = s.drawDelay
	s.duplicate = func(to ServerID, _ interface{}) bool {
		if s.rng.Float64() >= s.plan.duplicate || s.healed {
			return false
		}
		s.count("duplicate")
		return true
	}
	s.tear = s.drawTear
	s.diskTime = func(ServerID) time.Duration { return s.around(s.plan.sync) }
	s.fsmTime = func(ServerID) time.Duration { return s.around(s.plan.apply) }
	s.newFSM = s.makeFSM
	s.before = s.beforeStep
	s.after = s.afterStep
	s.ended = s.nodeEnded
	s.sending = s.seeRequest
	s.answered = s.seeAnswer
	s.refuses = s.forgotten
	return s
}

// drawPlan draws the cluster and its troubles.
func (s *sim) drawPlan() {
	r := s.rng
	p := &s.plan
	p.size = []int{1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5}[r.IntN(11)]
	p.mixed = r.IntN(4) == 0
	p.odd = r.IntN(5) == 0
	p.leases = r.IntN(2) == 0
	p.pace = time.Duration(2+r.IntN(20)) * time.Millisecond
	p.trouble = time.Duration(20+r.IntN(200)) * time.Millisecond
	p.latency = []time.Duration{200 * time.Microsecond, time.Millisecond, 4 * time.Millisecond}[r.IntN(3)]
	p.sync = []time.Duration{100 * time.Microsecond, 2 * time.Millisecond, 10 * time.Millisecond}[r.IntN(3)]
	p.apply = []time.Duration{0, time.Millisecond, 10 * time.Millisecond}[r.IntN(3)]
	if r.IntN(2) == 0 {
		p.duplicate = 0.05
	}
	if r.IntN(3) == 0 {
		s.loss = 0.1 * r.Float64()
	}
	if r.IntN(3) == 0 {
		s.slow = 0.1 * r.Float64()
	}
	ordered := r.IntN(2) == 0
	s.ordered = func(a, b ServerID) bool { return ordered || s.peers[a] != nil || s.peers[b] != nil }
	s.patience = time.Duration(100+r.IntN(900)) * time.Millisecond
	s.window = []int{1, 2, 4, 8}[r.IntN(4)]
	preVote, snaps := r.IntN(4), r.IntN(3)
	for i := range p.size + 2 {
		id := ServerID(fmt.Sprintf("n%d", i+1))
		sv := &simServer{id: id, conf: s.drawConfig(id, preVote, snaps), full: map[string]bool{}}
		s.servers = append(s.servers, sv)
		if p.mixed && r.IntN(2) == 0 {
			sv.peer = &legacyPeer{w: s.world, id: id, conf: sv.conf, looked: s.legacyStepped}
			s.peers[id] = sv.peer
			sv.peer.patient = func() bool { return !sv.peer.last().atLeast(sv.forgets.last) }
		}
		sv.idle = i >= p.size
	}
}

func (s *sim) drawConfig(id ServerID, preVote, snaps int) *Config {
	r := s.rng
	c := DefaultConfig()
	c.LocalID = id
	c.Logger = nullLogger
	c.HeartbeatTimeout = 100 * time.Millisecond
	c.ElectionTimeout = time.Duration(100+r.IntN(100)) * time.Millisecond
	c.LeaderLeaseTimeout = time.Duration(30+r.IntN(71)) * time.Millisecond
	c.CommitTimeout = time.Duration(2+r.IntN(20)) * time.Millisecond
	c.MaxAppendEntries = []int{1, 2, 4, 64}[r.IntN(4)]
	c.PreVoteDisabled = preVote == 0 || preVote == 1 && r.IntN(2) == 0
	c.LeaseReads = s.plan.leases && r.IntN(8) > 0
	c.ShutdownOnRemove = r.IntN(2) == 0
	c.SnapshotInterval = time.Duration(50+r.IntN(300)) * time.Millisecond
	c.SnapshotThreshold = []uint64{1, 8, 1000}[snaps] + r.Uint64N(8)
	c.TrailingLogs = []uint64{0, 2, 10, 100}[r.IntN(4)]
	if s.plan.odd {
		n := []time.Duration{1, 2, 4, 10}[r.IntN(4)]
		c.HeartbeatTimeout *= n
		c.ElectionTimeout *= n
		c.LeaderLeaseTimeout *= n
	}
	return c
}

func (s *sim) server(id ServerID) *simServer {
	for _, sv := range s.servers {
		if sv.id == id {
			return sv
		}
	}
	return nil
}

func (s *sim) count(kind string) { s.counts[kind]++ }

func (s *sim) elapsed() time.Duration { return s.now.Sub(s.begin) }

// around draws a time around d, rarely a much longer one.
func (s *sim) around(d time.Duration) time.Duration {
	if d == 0 {
		return 0
	}
	if s.rng.IntN(100) == 0 && !s.healed {
		d *= 20
	}
	return d/2 + time.Duration(s.rng.Int64N(int64(d)))
}

func (s *sim) drawDelay(from, to ServerID) time.Duration {
	switch draw := s.rng.Float64(); {
	case s.healed:
	case draw < s.loss:
		s.count("loss")
		return -1
	case draw > 1-s.slow:
		return s.around(100 * s.plan.latency)
	}
	return s.around(s.plan.latency)
}

func (s *sim) drawTear(payload []byte) []byte {
	if s.healed || s.rng.IntN(8) > 0 {
		return payload
	}
	s.count("torn snapshot")
	return payload[:s.rng.IntN(len(payload))]
}

// play plays the seed and returns what is wrong.
func (s *sim) play() (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case breach:
			err = errors.New(p.text)
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	s.tracef("# %+v\n", s.plan)
	s.boot()
	s.in(s.plan.pace, s.act)
	s.in(s.plan.trouble, s.disturb)
	for s.steps < s.limit && s.elapsed() < time.Minute && s.tick() {
	}
	s.heal()
	return s.converge()
}

// boot starts a cluster of the first servers.
func (s *sim) boot() {
	var c Configuration
	for _, sv := range s.servers[:s.plan.size] {
		c.Servers = append(c.Servers, Server{Voter, sv.id, addrOf(sv.id)})
	}
	for i, sv := range s.servers {
		if sv.peer != nil {
			s.tracef("# %s is a legacyPeer\n", sv.id)
		}
		s.furnish(sv)
		if i >= s.plan.size {
			continue
		}
		disk := s.diskOf(sv)
		n := &simNode{w: s.world, id: sv.id, addr: addrOf(sv.id)}
		if err := BootstrapCluster(sv.conf, disk, disk, disk, simTransport{n}, c); err != nil {
			breakf("bootstrap: %v", err)
		}
		s.start(sv)
	}
}

// furnish gives a server an empty disk.
func (s *sim) furnish(sv *simServer) {
	if sv.peer != nil {
		sv.peer.disk = newSimDisk()
		sv.peer.disk.monotonic = true
		s.check.open(sv.id, sv.peer.disk)
		return
	}
	if sv.node == nil {
		sv.node = s.add(sv.id)
	}
	n := sv.node
	if s.plan.leases {
		n.rate = 0.955 + 0.09*s.rng.Float64()
	}
	n.disk = newSimDisk()
	n.disk.monotonic = s.rng.IntN(2) == 0
	n.disk.fail = func(op string) error { return s.diskFault(sv, op) }
	n.disk.spill = func(k int) int { return s.rng.IntN(k + 1) }
	n.logs, n.stable = n.disk, n.disk
	if s.rng.IntN(2) == 0 {
		n.stable = simBatchStable{n.disk}
	}
	if sv.conf.RestoreCommittedLogs = s.rng.IntN(3) == 0; sv.conf.RestoreCommittedLogs {
		n.logs = &simTracking{simDisk: n.disk}
	}
	s.check.open(sv.id, n.disk)
}

func (s *sim) diskOf(sv *simServer) *simDisk {
	if sv.peer != nil {
		return sv.peer.disk
	}
	return sv.node.disk
}

func (s *sim) up(sv *simServer) bool {
	if sv.peer != nil {
		return sv.peer.up
	}
	return sv.node.raft != nil
}

// start starts a server that is down.
func (s *sim) start(sv *simServer) {
	if s.up(sv) {
		return
	}
	s.tracef("# start %s\n", sv.id)
	sv.idle = false
	if sv.peer != nil {
		sv.peer.start()
		s.check.boot(sv.peer.view())
		return
	}
	if err := sv.node.start(); err != nil {
		breakf("%s does not start: %v", sv.id, err)
	}
	sv.led, sv.last = false, sv.node.raft.log.last.index
	s.check.boot(s.view(sv.node))
}

// crash ends a server without warning.
func (s *sim) crash(sv *simServer) {
	if !s.up(sv) {
		return
	}
	s.count("crash")
	s.tracef("# crash %s\n", sv.id)
	s.forget(sv)
	if sv.peer != nil {
		sv.peer.crash()
	} else {
		sv.node.crash()
	}
}

// restartIn starts a server again after a while.
func (s *sim) restartIn(sv *simServer, d time.Duration) {
	s.in(d, func() {
		if !sv.idle {
			s.start(sv)
		}
	})
}

// forget drops the calls to a server: their clients never learn what became of them.
func (s *sim) forget(sv *simServer) {
	kept := s.calls[:0]
	for _, c := range s.calls {
		if c.server != sv {
			kept = append(kept, c)
		}
	}
	s.calls = kept
}

// view is what the checker sees of one of our nodes.
func (s *sim) view(n *simNode) *view {
	r := n.raft
	v := &view{
		id: n.id, state: r.state, term: r.hard.term, vote: r.hard.vote,
		log: &r.log, last: r.log.last.index, durable: max(r.log.durable, r.log.snap.index), snap: r.log.snap,
		commit: r.commit, applied: r.applied(), sum: stateOf(r.fsm.fsm).sum, config: r.configs.latest(),
	}
	if r.lead != nil {
		v.start = r.lead.start
	}
	return v
}

// beforeStep keeps a server that was wiped from standing before it has again what it
// once had: it may remember a configuration in which it was the only voter.
func (s *sim) beforeStep(n *simNode) {
	s.steps++
	if r := n.raft; r.state == Follower && !r.log.last.atLeast(s.server(n.id).forgets.last) {
		r.electionAt = n.clock().Add(r.patience)
	}
}

// afterStep has the checker look at a node, and counts what it did.
func (s *sim) afterStep(n *simNode) {
	sv, r := s.server(n.id), n.raft
	s.check.step(s.view(n))
	leads := r.lead != nil
	if leads && !sv.led {
		s.count("election")
	}
	sv.led = leads
	if r.log.last.index < sv.last {
		s.count("truncation")
	}
	sv.last = r.log.last.index
	if sv.sick && r.sickness == nil {
		s.count("probe")
	}
	sv.sick = r.sickness != nil
	s.checkLeases(leads, r.hard.term)
	if leads && !r.configs.latest().config.isVoter(n.id) {
		s.count("leader without vote")
	}
	s.pollCalls(sv)
}

// legacyStepped does so for a legacyPeer.
func (s *sim) legacyStepped(p *legacyPeer) {
	s.steps++
	sv := s.server(p.id)
	s.check.step(p.view())
	leads := p.lead != nil
	if leads && !sv.led {
		s.count("legacy leader")
	}
	sv.led = leads
	s.checkLeases(leads, p.term)
	s.pollCalls(sv)
}

// checkLeases looks whether whoever leads by a lease may: it must know everything that is
// committed, and no other server may lead in a later term, whether it has committed
// anything yet or not. The server may have been paused since its last step. term is that
// of the server that has just made a step, and leads says that it leads.
func (s *sim) checkLeases(leads bool, term uint64) {
	if !s.plan.leases {
		return
	}
	for _, sv := range s.servers {
		if sv.peer != nil || sv.node.raft == nil {
			continue
		}
		index, ok := sv.node.raft.leasedIndex(sv.node.clock)
		if !ok {
			continue
		}
		s.count("lease read")
		s.check.read(sv.id, index, s.check.last(), index)
		if leads && sv.node.raft.hard.term < term {
			breakf("%s reads by a lease in term %d after an election in term %d", sv.id, sv.node.raft.hard.term, term)
		}
	}
}

// nodeEnded is told of a node that has shut itself down: it owes nobody anything.
func (s *sim) nodeEnded(n *simNode) {
	sv := s.server(n.id)
	s.pollCalls(sv)
	for _, c := range s.calls {
		if c.server == sv {
			breakf("%s has ended and left %s without an answer", n.id, c.what)
		}
	}
	s.restartIn(sv, s.around(200*time.Millisecond))
}

func (s *sim) seeRequest(from, to ServerID, cmd interface{}) {
	s.check.sends(from, cmd)
	m, ok := cmd.(*InstallSnapshotRequest)
	if n := s.nodes[from]; ok && n != nil && n.raft.lead != nil && s.ordered(from, to) {
		if p := n.raft.lead.peer(to); p != nil && p.progress.match >= m.LastLogIndex {
			breakf("%s sends %s a snapshot at %d, which has the log up to %d", from, to, m.LastLogIndex, p.progress.match)
		}
	}
}

func (s *sim) seeAnswer(from, to ServerID, cmd, resp interface{}) {
	s.check.answers(from, to, cmd, resp)
	if r, ok := resp.(*InstallSnapshotResponse); ok && r.Success {
		s.count("snapshot install")
	}
}

// forgotten keeps requests from a server that was wiped and would contradict what it
// once promised: without its disk it can't know, and no protocol stands that.
func (s *sim) forgotten(to ServerID, cmd interface{}) bool {
	sv := s.server(to)
	had := sv.forgets
	switch m := cmd.(type) {
	case *TimeoutNowRequest:
		return sv.peer != nil && sv.peer.patient() // it obeys anybody at any time (H10)
	case *AppendEntriesRequest:
		return m.Term < had.term
	case *InstallSnapshotRequest:
		return m.Term < had.term
	case *RequestVoteRequest:
		return m.Term <= had.term || !(entryID{m.LastLogIndex, m.LastLogTerm}).atLeast(had.last)
	}
	return false
}

// heal ends all troubles.
func (s *sim) heal() {
	s.tracef("# heal\n")
	s.healed = true
	s.loss, s.slow = 0, 0
	s.patience = time.Second
	clear(s.cut)
	for _, sv := range s.servers {
		sv.crashIn, sv.errorIn, sv.badFSM = 0, 0, 0
		clear(sv.full)
		if s.plan.odd {
			sv.conf.HeartbeatTimeout, sv.conf.ElectionTimeout = 100*time.Millisecond, 150*time.Millisecond
			sv.conf.LeaderLeaseTimeout = 60 * time.Millisecond
		}
		switch {
		case sv.peer != nil:
			sv.peer.resume()
		case sv.node.raft != nil:
			c := *sv.conf
			sv.node.raft.config.Store(&c)
			sv.node.resume()
			sv.node.release()
		}
		if sv.node != nil && sv.node.raft != nil && sv.node.raft.work.broken {
			s.crash(sv) // an operator starts a node again that has reported its FSM broken
		}
		s.start(sv)
	}
}

// converge waits until the cluster has committed a new write, everyone has it and all
// calls are answered.
func (s *sim) converge() error {
	deadline := s.now.Add(time.Minute)
	var probe *simCall
	probed := false
	for s.now.Before(deadline) {
		if !s.tick() {
			break
		}
		if !probed && probe == nil {
			if sv := s.leader(); sv != nil {
				probe = s.write(sv, func(err error) {
					probed, probe = err == nil, nil
				})
			}
		}
		if probed && len(s.calls) == 0 && s.agreed() {
			return nil
		}
		if probe != nil && !s.waits(probe) {
			probe = nil
		}
	}
	if s.stuckByLegacy() {
		s.count("legacy deadlock")
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the cluster did not settle within a minute (written: %v)", probed)
	for _, c := range s.calls {
		fmt.Fprintf(&b, "\nno answer to %s at %s", c.what, c.server.id)
	}
	for _, sv := range s.servers {
		if !s.up(sv) {
			continue
		}
		v := s.viewOf(sv)
		fmt.Fprintf(&b, "\n%s %v term=%d last=%d durable=%d commit=%d applied=%d snap=%v config=%d %v",
			sv.id, v.state, v.term, v.last, v.durable, v.commit, v.applied, v.snap, v.config.index, v.config.config)
		if sv.node != nil && sv.node.raft.lead != nil {
			for _, p := range sv.node.raft.lead.peers {
				fmt.Fprintf(&b, "\n\t%s: %v", p.server.ID, &p.progress)
			}
		}
	}
	return errors.New(b.String())
}

// stuckByLegacy reports whether the cluster may be stuck because a server of
// hashicorp/raft does not know the latest configuration: it refuses candidates that are
// not in its own (L7), and does not stand if an uncommitted one takes its vote away.
func (s *sim) stuckByLegacy() bool {
	best, config := entryID{}, uint64(0)
	for _, sv := range s.servers {
		v := s.viewOf(sv)
		if term, _ := v.log.term(v.last); (entryID{v.last, term}).atLeast(best) {
			best, config = entryID{v.last, term}, v.config.index
		}
	}
	for _, sv := range s.servers {
		if sv.peer == nil {
			continue
		}
		if v := sv.peer.view(); v.config.index != config || v.config.index > v.commit && !v.config.config.isVoter(sv.id) {
			return true
		}
	}
	return false
}

func (s *sim) waits(c *simCall) bool {
	for _, o := range s.calls {
		if o == c {
			return true
		}
	}
	return false
}

func (s *sim) viewOf(sv *simServer) *view {
	if sv.peer != nil {
		return sv.peer.view()
	}
	return s.view(sv.node)
}

// leader returns the leader of the highest term.
func (s *sim) leader() (best *simServer) {
	term := uint64(0)
	for _, sv := range s.servers {
		if !s.up(sv) {
			continue
		}
		if v := s.viewOf(sv); v.state == Leader && v.term > term {
			best, term = sv, v.term
		}
	}
	return best
}

// agreed reports whether all members have the leader's log, and have applied it.
func (s *sim) agreed() bool {
	sv := s.leader()
	if sv == nil {
		return false
	}
	lead := s.viewOf(sv)
	for _, member := range lead.config.config.Servers {
		m := s.server(member.ID)
		if !s.up(m) {
			return false
		}
		v := s.viewOf(m)
		if v.last != lead.last || v.durable != v.last || v.commit != v.last || v.applied != v.last || v.config.index != lead.config.index {
			return false
		}
	}
	return true
}
