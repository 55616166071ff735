package rafttest

import (
	"cmp"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// This file starts, watches and ends the servers of a simulation.

// boot starts the cluster.
func (s *simulation) boot(t *testing.T) {
	s.cluster = MakeClusterCustom(t, &MakeClusterOpts{
		Peers:           s.opts.Nodes,
		Bootstrap:       true,
		Conf:            raft.DefaultConfig(),
		Seed:            cmp.Or(s.opts.Seed, 1), // with a seed, servers have names that can be compared
		Network:         s.net,
		MakeDisk:        s.makeDisk,
		MakeFSMFunc:     s.makeFSM,
		Configure:       s.configure,
		LongstopTimeout: time.Minute,
	})
	var all []*simServer
	s.all.Store(&all)
	for _, n := range s.cluster.Nodes() {
		s.adopt(n).spare = false
	}
}

// adopt takes a server in that has just been started for the first time.
func (s *simulation) adopt(n *Node) *simServer {
	sv := &simServer{Node: n, spare: true}
	all := append(s.servers()[:len(s.servers()):len(s.servers())], sv)
	s.all.Store(&all)
	s.begun(sv)
	return sv
}

func (s *simulation) newServer() *simServer {
	sv := s.adopt(s.cluster.AddNode())
	s.tracef("new server %s", sv.ID())
	return sv
}

func (s *simulation) makeDisk(id raft.ServerID) (*Disk, error) {
	stores, err := s.opts.MakeStores(id)
	if err != nil {
		return nil, err
	}
	logs := countTruncations(stores.Logs, func() { s.counts.add(&s.counts.n.Truncations) })
	disk := NewDisk(logs, stores.Stable, stores.Snapshots, s.rng.Uint64())
	disk.SetLatency(s.plan.sync/2, s.plan.sync)
	s.disks = append(s.disks, disk)
	return disk, nil
}

func (s *simulation) makeFSM() raft.FSM {
	return newSimFSM(s.opts.NewFSM(), s.journal, &s.counts)
}

// begun notes that a node has started.
func (s *simulation) begun(sv *simServer) {
	life := &life{sv.Raft(), sv.FSM().(interface{ base() *simFSM }).base()}
	life.fsm.begin(sv.ID())
	life.raft.RegisterObserver(raft.NewObserver(nil, false, s.observe))
	sv.life.Store(life)
	sv.last = life.fsm
	s.counts.add(&s.counts.n.Starts)
	if s.opts.Hooks.Started != nil {
		s.hooked("start", s.opts.Hooks.Started(sv.ID(), life.raft))
	}
}

// observe counts elections.
func (s *simulation) observe(o *raft.Observation) bool {
	if o.Data == raft.Leader {
		s.counts.add(&s.counts.n.Elections)
	}
	return false
}

// start starts a server that is down, or tries to do so again later.
func (s *simulation) start(sv *simServer) {
	if sv.life.Load() != nil || sv.lost {
		return
	}
	err := sv.Start()
	s.tracef("start %s: %v", sv.ID(), err)
	if err != nil {
		s.startIn(sv, s.plan.heartbeat)
		return
	}
	s.begun(sv)
}

func (s *simulation) startIn(sv *simServer, d time.Duration) { s.in(d, func() { s.start(sv) }) }

// stop shuts a server down.
func (s *simulation) stop(sv *simServer) {
	if s.over(sv) {
		s.tracef("stop %s: %v", sv.ID(), sv.Stop())
	}
}

// crash ends a server without warning.
func (s *simulation) crash(sv *simServer) {
	if s.over(sv) {
		s.tracef("crash %s", sv.ID())
		sv.Crash()
	}
}

// over ends the life of a server, so that nobody calls it any more, and reports whether
// there was one.
func (s *simulation) over(sv *simServer) bool {
	life := sv.life.Swap(nil)
	if life == nil {
		return false
	}
	life.fsm.is(func(t *fsmTrouble) { *t = fsmTrouble{} })
	sv.paused = false
	return true
}

// wipe takes the disk from a server.
func (s *simulation) wipe(sv *simServer) {
	s.stop(sv)
	sv.Wipe()
}

// look looks at all servers, again and again, and starts those that have stopped by
// themselves, as a supervisor does.
func (s *simulation) look() {
	s.in(s.plan.heartbeat/4, s.look)
	for _, sv := range s.servers() {
		life := sv.life.Load()
		if life == nil {
			continue
		}
		if s.opts.Hooks.Looked != nil {
			s.hooked("look", s.opts.Hooks.Looked(sv.ID(), life.raft))
		}
		if life.raft.State() == raft.Shutdown {
			s.stopped(sv, life)
		}
	}
}

func (s *simulation) stopped(sv *simServer, life *life) {
	reason := life.raft.Stats()["store_error"]
	s.tracef("%s has stopped by itself: %s", sv.ID(), cmp.Or(reason, "it was removed"))
	if reason != "" {
		s.counts.add(&s.counts.n.Stops)
	}
	s.stop(sv)
	if !sv.spare {
		s.startIn(sv, s.while())
	}
}

// report describes the run when it is over.
func (s *simulation) report() *Report {
	r := &Report{Seed: s.opts.Seed, Virtual: s.took, SimulateCounts: s.counts.n, Schedule: s.schedule}
	r.History, r.Committed = s.history.Operations(), s.journal.commands()
	r.Network = s.net.Counts()
	for _, d := range s.disks {
		r.Disk.add(d.Counts())
	}
	r.Via = map[string]int{}
	for i := range r.History {
		op := &r.History[i]
		if op.Kind == Write {
			r.Writes.count(op.Outcome)
			continue
		}
		r.Reads.count(op.Outcome)
		if op.Outcome == Done {
			r.Via[op.Via]++
		}
	}
	return r
}
