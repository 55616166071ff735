package rafttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// Fault is a kind of thing that a simulation does to a cluster, or, from FaultAddVoter
// on, asks of it.
type Fault string

const (
	FaultCut          Fault = "cut"           // between two servers, for a while, as are all that last
	FaultOneWayCut    Fault = "one-way cut"   // from or to a server, of another or of all
	FaultIsolation    Fault = "isolation"     // of one server
	FaultDeposition   Fault = "deposition"    // isolation of a leader that then gets many writes
	FaultPartition    Fault = "partition"     // in two
	FaultLoss         Fault = "loss"          // of a share of all messages
	FaultDuplication  Fault = "duplication"   // of a share of all requests, late
	FaultSlowNetwork  Fault = "slow network"  // for all
	FaultLateSnapshot Fault = "late snapshot" // one that was sent before arrives again

	FaultSlowDisk    Fault = "slow disk"
	FaultHungDisk    Fault = "hung disk"
	FaultFullDisk    Fault = "full disk"    // the error passes
	FaultBrokenDisk  Fault = "broken disk"  // EIO: the node stops, and is started again
	FaultBrokenState Fault = "broken state" // the same of the stable store

	FaultCrash        Fault = "crash"         // and restart; a write under way is torn or lost
	FaultWriteCrash   Fault = "write crash"   // a crash in the middle of a write
	FaultPowerFailure Fault = "power failure" // most servers crash at once
	FaultRestart      Fault = "restart"       // an orderly one
	FaultPause        Fault = "pause"         // of the process

	FaultSlowFSM         Fault = "slow FSM"
	FaultSlowSnapshot    Fault = "slow snapshot" // to be written, and to be restored
	FaultFailingSnapshot Fault = "failing snapshot"
	FaultFailingRestore  Fault = "failing restore"

	FaultAddVoter    Fault = "add voter" // a new server, one that was removed, or a nonvoter
	FaultAddNonvoter Fault = "add nonvoter"
	FaultDemotion    Fault = "demotion"
	FaultRemoval     Fault = "removal"
	FaultWipe        Fault = "wipe"        // of a server that has been removed, before it is added again
	FaultReplacement Fault = "replacement" // a disk is lost; a new server takes the place of that one

	FaultTransfer     Fault = "transfer"
	FaultTransferTo   Fault = "transfer to a server"
	FaultUserSnapshot Fault = "user snapshot"
	FaultReload       Fault = "reload" // of other timeouts and limits
)

// Faults says which faults there are. The zero value is all of them, at a pace that is
// drawn from the seed.
type Faults struct {
	Only    []Fault // nil means all
	Without []Fault

	// Every is the time between faults, on average. Those that last do so for a
	// fraction of a second or some seconds, so a few may overlap. A value below 0
	// means that there are none.
	Every time.Duration
}

// kinds returns those that are switched on, in the order of faultKinds.
func (f *Faults) kinds() []faultKind {
	return slices.DeleteFunc(slices.Clone(faultKinds), func(k faultKind) bool {
		return f.Only != nil && !slices.Contains(f.Only, k.fault) || slices.Contains(f.Without, k.fault)
	})
}

// AllFaults returns all kinds of faults.
func AllFaults() []Fault {
	var all []Fault
	for _, k := range faultKinds {
		all = append(all, k.fault)
	}
	return all
}

// faultKind makes one kind of fault happen.
type faultKind struct {
	fault  Fault
	weight int

	// begin does it to a server, or about it, and returns what undoes it, nil if
	// nothing does, and whether it could be done now. Kinds that take effect later
	// are counted then.
	begin func(s *simulation, on *simServer) (undo func(), done bool)
	later bool
}

// faultKinds is filled by init: the functions refer to it.
var faultKinds []faultKind

func init() {
	faultKinds = []faultKind{
		{fault: FaultCut, weight: 2, begin: cutTwo},
		{fault: FaultOneWayCut, weight: 3, begin: cutOneWay},
		{fault: FaultIsolation, weight: 4, begin: isolate},
		{fault: FaultDeposition, weight: 2, begin: depose},
		{fault: FaultPartition, weight: 4, begin: partition},
		{fault: FaultLoss, weight: 1, begin: lose},
		{fault: FaultDuplication, weight: 2, begin: duplicate},
		{fault: FaultSlowNetwork, weight: 1, begin: slowNetwork},
		{fault: FaultLateSnapshot, weight: 3, begin: repeatSnapshot, later: true},
		{fault: FaultSlowDisk, weight: 3, begin: slowDisk},
		{fault: FaultHungDisk, weight: 2, begin: hangDisk},
		{fault: FaultFullDisk, weight: 2, begin: fillDisk},
		{fault: FaultBrokenDisk, weight: 1, begin: breakDisk},
		{fault: FaultBrokenState, weight: 1, begin: breakState},
		{fault: FaultCrash, weight: 3, begin: crashOne},
		{fault: FaultWriteCrash, weight: 4, begin: crashInWrite, later: true},
		{fault: FaultPowerFailure, weight: 2, begin: powerFailure},
		{fault: FaultRestart, weight: 1, begin: restart},
		{fault: FaultPause, weight: 3, begin: pause},
		{fault: FaultSlowFSM, weight: 1, begin: slowFSM},
		{fault: FaultSlowSnapshot, weight: 1, begin: slowSnapshot},
		{fault: FaultFailingSnapshot, weight: 1, begin: failSnapshot},
		{fault: FaultFailingRestore, weight: 1, begin: failRestore},
		{fault: FaultAddVoter, weight: 3, begin: addVoter, later: true},
		{fault: FaultAddNonvoter, weight: 2, begin: addNonvoter, later: true},
		{fault: FaultDemotion, weight: 2, begin: demote, later: true},
		{fault: FaultRemoval, weight: 2, begin: remove, later: true},
		{fault: FaultWipe, weight: 2, begin: wipe, later: true},
		{fault: FaultReplacement, weight: 1, begin: replace, later: true},
		{fault: FaultTransfer, weight: 2, begin: transfer, later: true},
		{fault: FaultTransferTo, weight: 2, begin: transferTo, later: true},
		{fault: FaultUserSnapshot, weight: 2, begin: snapshot, later: true},
		{fault: FaultReload, weight: 1, begin: reload},
	}
}

// trouble is a fault that lasts.
type trouble struct{ undo func() }

// disturb makes one fault happen, and plans the next.
func (s *simulation) disturb() {
	if s.healed.Load() {
		return
	}
	s.in(around(s.rng, s.plan.every), s.disturb)
	k := s.drawKind()
	undo, done := k.begin(s, s.target())
	if !done {
		return
	}
	if !k.later {
		s.counts.fault(k.fault)
	}
	if undo != nil {
		s.undoLater(undo)
	}
}

func (s *simulation) drawKind() faultKind {
	sum := 0
	for _, k := range s.kinds {
		sum += k.weight
	}
	n := s.rng.IntN(sum)
	for _, k := range s.kinds {
		if n -= k.weight; n < 0 {
			return k
		}
	}
	panic("unreachable")
}

// undoLater undoes a fault after a while, or when everything is healed.
func (s *simulation) undoLater(undo func()) {
	t := &trouble{undo}
	s.troubles = append(s.troubles, t)
	s.in(s.while(), func() { s.end(t) })
}

func (s *simulation) end(t *trouble) {
	i := slices.Index(s.troubles, t)
	if i < 0 {
		return // healed
	}
	s.troubles = slices.Delete(s.troubles, i, i+1)
	t.undo()
}

// target draws a server, rather often the leader.
func (s *simulation) target() *simServer {
	if s.rng.IntN(3) == 0 {
		if leader := s.leader(); leader != nil {
			return leader
		}
	}
	return s.any()
}

func (s *simulation) any() *simServer {
	all := s.servers()
	return all[s.rng.IntN(len(all))]
}

// while draws how long a fault lasts: often about as long as an election takes, and
// now and then much longer.
func (s *simulation) while() time.Duration {
	d := around(s.rng, 2*s.plan.heartbeat)
	if s.rng.IntN(4) == 0 {
		d *= 8
	}
	return d
}

// around draws a time with the average d.
func around(rng *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(2*d) + 1))
}

// Of the network.

func cutTwo(s *simulation, on *simServer) (func(), bool) {
	other := s.any()
	if other == on {
		return nil, false
	}
	return s.sever("cut", func(from, to *simServer) bool {
		return from == on && to == other || from == other && to == on
	})
}

func cutOneWay(s *simulation, on *simServer) (func(), bool) {
	in, all, other := s.rng.IntN(2) == 0, s.rng.IntN(2) == 0, s.any()
	return s.sever("cut one way", func(from, to *simServer) bool {
		if in {
			from, to = to, from
		}
		return from == on && (all || to == other)
	})
}

func isolate(s *simulation, on *simServer) (func(), bool) {
	return s.sever("isolate", func(from, to *simServer) bool { return from == on || to == on })
}

// depose isolates the leader and gives it many writes, none of which can be committed:
// they have to leave its log again.
func depose(s *simulation, _ *simServer) (func(), bool) {
	leader := s.leader()
	if leader == nil {
		return nil, false
	}
	undo, done := isolate(s, leader)
	c := s.newClient(s.opts.Clients)
	for range 1 + s.rng.IntN(50) {
		command := s.opts.Command(s.rng, s.opts.Clients)
		c.start(func() { c.write(leader, command) })
	}
	return undo, done
}

func partition(s *simulation, on *simServer) (func(), bool) {
	side := map[*simServer]bool{on: true}
	for _, sv := range s.servers() {
		side[sv] = side[sv] || s.rng.IntN(2) == 0
	}
	return s.sever("partition", func(from, to *simServer) bool { return side[from] != side[to] })
}

// sever cuts links; undoing that mends those that no other fault has cut.
func (s *simulation) sever(what string, cut func(from, to *simServer) bool) (func(), bool) {
	var links []link
	for _, a := range s.servers() {
		for _, b := range s.servers() {
			if a != b && cut(a, b) {
				links = append(links, link{a.Address(), b.Address()})
			}
		}
	}
	for _, l := range links {
		s.cuts[l]++
		s.net.Cut(l.from, l.to)
	}
	s.tracef("%s: %s", what, linksString(links))
	return func() {
		for _, l := range links {
			s.cuts[l]--
		}
		s.recut()
		s.tracef("mend %s: %s", what, linksString(links))
	}, len(links) > 0
}

// recut brings the network to what s.cuts says.
func (s *simulation) recut() {
	s.net.Heal()
	for l, n := range s.cuts {
		if n > 0 {
			s.net.Cut(l.from, l.to)
		}
	}
}

func linksString(links []link) string {
	var parts []string
	for _, l := range links {
		parts = append(parts, fmt.Sprintf("%s>%s", l.from, l.to))
	}
	return strings.Join(parts, " ")
}

func lose(s *simulation, _ *simServer) (func(), bool) {
	p := 0.3 * s.rng.Float64()
	s.tracef("lose %.0f%% of the messages", 100*p)
	s.net.SetLoss(p)
	return func() { s.net.SetLoss(0) }, true
}

func duplicate(s *simulation, _ *simServer) (func(), bool) {
	p := 0.3 * s.rng.Float64()
	s.tracef("repeat %.0f%% of the requests", 100*p)
	s.net.SetDuplication(p)
	return func() { s.net.SetDuplication(0) }, true
}

func slowNetwork(s *simulation, _ *simServer) (func(), bool) {
	d := around(s.rng, s.plan.heartbeat/4)
	s.tracef("messages take up to %v", d)
	s.net.SetLatency(0, d)
	return func() { s.net.SetLatency(s.plan.latency/2, s.plan.latency) }, true
}

// Of disks.

func slowDisk(s *simulation, on *simServer) (func(), bool) {
	disk, d := on.Disk(), around(s.rng, s.plan.heartbeat/2)
	s.tracef("writes of %s take up to %v", on.ID(), d)
	disk.SetLatency(d/2, d)
	return func() { disk.SetLatency(s.plan.sync/2, s.plan.sync) }, true
}

func hangDisk(s *simulation, on *simServer) (func(), bool) {
	disk := on.Disk()
	s.tracef("the disk of %s hangs", on.ID())
	disk.Hang()
	return func() {
		s.tracef("the disk of %s goes on", on.ID())
		disk.Release()
	}, true
}

func fillDisk(s *simulation, on *simServer) (func(), bool) {
	disk := on.Disk()
	s.tracef("the disk of %s is full", on.ID())
	disk.Fail(syscall.ENOSPC)
	return func() {
		s.tracef("the disk of %s has room again", on.ID())
		disk.Fail(nil)
	}, true
}

func breakDisk(s *simulation, on *simServer) (func(), bool) {
	disk := on.Disk()
	s.tracef("the disk of %s returns I/O errors", on.ID())
	disk.Fail(syscall.EIO)
	return func() { disk.Fail(nil) }, true
}

func breakState(s *simulation, on *simServer) (func(), bool) {
	disk := on.Disk()
	s.tracef("the stable store of %s returns I/O errors", on.ID())
	disk.FailStable(syscall.EIO)
	return func() { disk.FailStable(nil) }, true
}

// Of processes.

func crashOne(s *simulation, on *simServer) (func(), bool) {
	if on.life.Load() == nil {
		return nil, false
	}
	s.crash(on)
	s.startIn(on, s.while())
	return nil, true
}

// crashInWrite slows the disk down, and crashes the server when a write is under way.
func crashInWrite(s *simulation, on *simServer) (func(), bool) {
	life := on.life.Load()
	if life == nil {
		return nil, false
	}
	disk, before := on.Disk(), on.Disk().Counts()
	disk.SetLatency(s.plan.heartbeat/4, s.plan.heartbeat/2)
	deadline := time.Now().Add(4 * s.plan.heartbeat)
	var look func()
	look = func() {
		switch now := disk.Counts(); {
		case on.life.Load() != life || s.healed.Load() || time.Now().After(deadline):
			disk.SetLatency(s.plan.sync/2, s.plan.sync)
		case now.LogWrites+now.StableWrites+now.SnapshotWrites == before.LogWrites+before.StableWrites+before.SnapshotWrites:
			s.in(s.plan.heartbeat/20, look)
		default:
			s.counts.fault(FaultWriteCrash)
			s.crash(on)
			disk.SetLatency(s.plan.sync/2, s.plan.sync)
			s.startIn(on, s.while())
		}
	}
	look()
	return nil, true
}

// powerFailure crashes most servers at one instant, in the middle of what they do.
func powerFailure(s *simulation, _ *simServer) (func(), bool) {
	spared := s.rng.IntN(4)
	for _, sv := range s.servers() {
		if s.rng.IntN(8) >= spared && sv.life.Load() != nil {
			s.crash(sv)
			s.startIn(sv, s.while())
		}
	}
	return nil, true
}

func restart(s *simulation, on *simServer) (func(), bool) {
	if on.life.Load() == nil || on.paused {
		return nil, false
	}
	s.stop(on)
	s.startIn(on, around(s.rng, s.plan.heartbeat))
	return nil, true
}

func pause(s *simulation, on *simServer) (func(), bool) {
	if on.life.Load() == nil || on.paused {
		return nil, false
	}
	s.tracef("pause %s", on.ID())
	on.Pause()
	on.paused = true
	return func() {
		if on.paused {
			s.tracef("resume %s", on.ID())
			on.Resume()
			on.paused = false
		}
	}, true
}

// Of FSMs.

// troubleFSM changes the troubles of a server's FSM, and changes them back.
func (s *simulation) troubleFSM(on *simServer, what string, begin, end func(*fsmTrouble)) (func(), bool) {
	life := on.life.Load()
	if life == nil {
		return nil, false
	}
	s.tracef("%s of %s", what, on.ID())
	life.fsm.is(begin)
	return func() { life.fsm.is(end) }, true
}

func slowFSM(s *simulation, on *simServer) (func(), bool) {
	d := around(s.rng, s.plan.heartbeat/4)
	return s.troubleFSM(on, "slow FSM", func(t *fsmTrouble) { t.apply = d }, func(t *fsmTrouble) { t.apply = 0 })
}

func slowSnapshot(s *simulation, on *simServer) (func(), bool) {
	d := around(s.rng, 4*s.plan.heartbeat)
	return s.troubleFSM(on, "slow snapshots", func(t *fsmTrouble) { t.persist, t.restore = d, d },
		func(t *fsmTrouble) { t.persist, t.restore = 0, 0 })
}

// The next snapshot of a server fails, and the next restore of one that a leader sends.
// That may be long after.

func failSnapshot(s *simulation, on *simServer) (func(), bool) {
	_, done := s.troubleFSM(on, "failing snapshot", func(t *fsmTrouble) { t.persists = 1 }, nil)
	return nil, done
}

func failRestore(s *simulation, on *simServer) (func(), bool) {
	_, done := s.troubleFSM(on, "failing restore", func(t *fsmTrouble) { t.restores = 1 }, nil)
	return nil, done
}

// Of what users ask for.

func snapshot(s *simulation, on *simServer) (func(), bool) {
	life := on.life.Load()
	if life == nil {
		return nil, false
	}
	s.await(func() error { return life.raft.Snapshot().Error() }, func(err error) {
		s.tracef("snapshot of %s: %v", on.ID(), err)
		if err == nil {
			s.counts.fault(FaultUserSnapshot)
		}
	})
	return nil, true
}

// reload gives a server other timeouts and limits, for good.
func reload(s *simulation, on *simServer) (func(), bool) {
	life := on.life.Load()
	if life == nil || on.reloading {
		return nil, false
	}
	var rc raft.ReloadableConfig
	rc.HeartbeatTimeout = s.plan.heartbeat + around(s.rng, s.plan.heartbeat/4)
	rc.ElectionTimeout = rc.HeartbeatTimeout + around(s.rng, s.plan.heartbeat/4)
	rc.TrailingLogs = s.rng.Uint64N(100)
	rc.SnapshotInterval = s.plan.heartbeat + around(s.rng, 4*s.plan.heartbeat)
	rc.SnapshotThreshold = 1 + s.rng.Uint64N(200)
	on.reloading = true
	s.await(func() error { return life.raft.ReloadConfig(rc) }, func(err error) {
		on.reloading = false
		s.tracef("reload of %s with %+v: %v", on.ID(), rc, err)
		s.check(err)
	})
	return nil, true
}

func transfer(s *simulation, on *simServer) (func(), bool) {
	life := on.life.Load()
	if life == nil || life.raft.State() != raft.Leader {
		return nil, false
	}
	s.await(func() error { return life.raft.LeadershipTransfer().Error() }, func(err error) {
		s.tracef("transfer from %s: %v", on.ID(), err)
		if err == nil {
			s.counts.fault(FaultTransfer)
		}
	})
	return nil, true
}

func transferTo(s *simulation, on *simServer) (func(), bool) {
	life, to := on.life.Load(), s.any()
	if life == nil || life.raft.State() != raft.Leader || to == on {
		return nil, false
	}
	s.await(func() error {
		return life.raft.LeadershipTransferToServer(to.ID(), to.Address()).Error()
	}, func(err error) {
		s.tracef("transfer from %s to %s: %v", on.ID(), to.ID(), err)
		if err == nil {
			s.counts.fault(FaultTransferTo)
		}
	})
	return nil, true
}
