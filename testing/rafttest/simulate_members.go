package rafttest

import (
	"time"

	"github.com/hashicorp/raft"
)

// This file is how a simulation changes the membership: one change at a time, as a
// careful operator does it. What that operator must know is in simServer.

// changeTimeout is how long a change waits for its turn.
const changeTimeout = time.Second

// change asks the leader for a change. It returns false if it can't be asked now.
// Whether the change was made is known if done gets no error.
func (s *simulation) change(fault Fault, on *simServer, ask func(*raft.Raft) raft.IndexFuture, done func(index uint64, err error)) bool {
	leader := s.leader()
	if s.changing || leader == nil {
		return false
	}
	s.changing, on.spare = true, false
	r := leader.life.Load().raft
	var f raft.IndexFuture
	s.await(func() error {
		f = ask(r)
		return f.Error()
	}, func(err error) {
		s.changing = false
		s.tracef("%s %s by %s: %v", fault, on.ID(), leader.ID(), err)
		if err != nil {
			done(0, err)
			return
		}
		s.counts.fault(fault)
		s.counts.add(&s.counts.n.Changes)
		done(f.Index(), nil)
	})
	return true
}

func ignore(uint64, error) {}

// configuration is the leader's latest one, nil if there is no leader.
func (s *simulation) configuration() map[raft.ServerID]raft.ServerSuffrage {
	leader := s.leader()
	if leader == nil {
		return nil
	}
	members := map[raft.ServerID]raft.ServerSuffrage{}
	for _, m := range leader.life.Load().raft.GetConfiguration().Configuration().Servers {
		members[m.ID] = m.Suffrage
	}
	return members
}

// spareVoters reports whether the cluster can do with a voter less.
func (s *simulation) spareVoters() bool {
	members, voters := s.configuration(), 0
	for _, sv := range s.servers() {
		if suffrage, ok := members[sv.ID()]; ok && suffrage == raft.Voter && !sv.lost {
			voters++
		}
	}
	return voters > min(3, s.opts.Nodes)
}

// outsider returns a server that can be added: one that is none of the members, or a
// new one. It is running when this returns.
func (s *simulation) outsider() *simServer {
	members, present := s.configuration(), 0
	for _, sv := range s.servers() {
		if sv.lost {
			continue
		}
		present++
		if _, ok := members[sv.ID()]; !ok && members != nil {
			s.start(sv)
			return sv
		}
	}
	if members == nil || present >= s.opts.Nodes+2 || len(s.servers()) >= 2*s.opts.Nodes+8 {
		return nil
	}
	return s.newServer()
}

func addVoter(s *simulation, on *simServer) (func(), bool) {
	if suffrage, ok := s.configuration()[on.ID()]; !ok || suffrage == raft.Voter || on.lost {
		on = s.outsider()
	}
	return nil, on != nil && s.addVoter(on)
}

func (s *simulation) addVoter(on *simServer) bool {
	return s.change(FaultAddVoter, on, func(r *raft.Raft) raft.IndexFuture {
		return r.AddVoter(on.ID(), on.Address(), 0, changeTimeout)
	}, ignore)
}

func addNonvoter(s *simulation, _ *simServer) (func(), bool) {
	on := s.outsider()
	return nil, on != nil && s.change(FaultAddNonvoter, on, func(r *raft.Raft) raft.IndexFuture {
		return r.AddNonvoter(on.ID(), on.Address(), 0, changeTimeout)
	}, ignore)
}

func demote(s *simulation, on *simServer) (func(), bool) {
	if suffrage, ok := s.configuration()[on.ID()]; !ok || suffrage != raft.Voter || !s.spareVoters() {
		return nil, false
	}
	return nil, s.change(FaultDemotion, on, func(r *raft.Raft) raft.IndexFuture {
		return r.DemoteVoter(on.ID(), 0, changeTimeout)
	}, ignore)
}

func remove(s *simulation, on *simServer) (func(), bool) {
	if _, ok := s.configuration()[on.ID()]; !ok || !s.spareVoters() {
		return nil, false
	}
	return nil, s.remove(FaultRemoval, on, func() {
		s.in(s.while(), func() {
			if on.spare {
				s.stop(on)
			}
		})
	})
}

// remove removes a server, and calls done when that is committed.
func (s *simulation) remove(fault Fault, on *simServer, done func()) bool {
	return s.change(fault, on, func(r *raft.Raft) raft.IndexFuture {
		return r.RemoveServer(on.ID(), 0, changeTimeout)
	}, func(index uint64, err error) {
		if err == nil {
			on.spare, on.removed = true, index
			done()
		}
	})
}

// wipe takes the disk from a server that was removed. It may be added again, under the
// same name.
func wipe(s *simulation, on *simServer) (func(), bool) {
	for _, sv := range s.servers() {
		if sv.spare && !sv.lost && s.forgottenByAll(sv) {
			s.tracef("wipe %s", sv.ID())
			s.wipe(sv)
			s.counts.fault(FaultWipe)
			s.start(sv)
			return nil, true
		}
	}
	return remove(s, on)
}

// forgottenByAll reports whether all servers know that the removal is committed. One
// that may still come to a configuration in which this server is a member could ask it,
// which has forgotten its vote and its log, to vote it into office.
func (s *simulation) forgottenByAll(sv *simServer) bool {
	for _, other := range s.servers() {
		if other == sv || other.lost {
			continue
		}
		life := other.life.Load()
		if life == nil {
			return false // who knows
		}
		if f := life.raft.GetConfiguration(); len(f.Configuration().Servers) > 0 && life.raft.CommitIndex() < sv.removed {
			return false
		}
	}
	return true
}

// replace loses a server's disk for ever. The server is removed, and a new one added.
func replace(s *simulation, on *simServer) (func(), bool) {
	suffrage, ok := s.configuration()[on.ID()]
	if !ok || suffrage != raft.Voter || s.lostMember() != nil || !s.spareVoters() || s.changing {
		return nil, false
	}
	s.tracef("the disk of %s is lost", on.ID())
	s.crash(on)
	s.wipe(on)
	on.lost = true
	return nil, true
}

// lostMember returns a member without a disk; there is one at most.
func (s *simulation) lostMember() *simServer {
	members := s.configuration()
	for _, sv := range s.servers() {
		if _, ok := members[sv.ID()]; ok && sv.lost {
			return sv
		}
	}
	return nil
}

// tend replaces what has been lost.
func (s *simulation) tend() {
	s.in(s.plan.heartbeat, s.tend)
	if sv := s.lostMember(); sv != nil && !s.changing {
		s.remove(FaultReplacement, sv, func() {
			if on := s.outsider(); on != nil {
				s.addVoter(on)
			}
		})
	}
}
