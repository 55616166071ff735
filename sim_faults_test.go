package raft

import (
	"errors"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// This file is what goes wrong in a simulated cluster.

var (
	nullLogger = hclog.NewNullLogger()
	errCrashed = errors.New("sim: crashed")
)

// disturb is the next fault.
func (s *sim) disturb() {
	if s.healed {
		return
	}
	s.in(s.around(s.plan.trouble), s.disturb)
	sv := s.servers[s.rng.IntN(len(s.servers))]
	if s.rng.IntN(3) == 0 {
		sv = s.anyLeader()
	}
	if sv.idle {
		return
	}
	switch s.rng.IntN(14) {
	case 0, 1:
		s.crash(sv)
		s.restartIn(sv, s.while())
	case 2, 3, 4:
		sv.crashIn = 1 + s.rng.IntN(6)
	case 5:
		for _, sv := range s.servers {
			if s.rng.IntN(3) > 0 && !sv.idle {
				s.crash(sv)
				s.restartIn(sv, s.while())
			}
		}
	case 6:
		s.isolate(sv)
	case 7:
		s.split()
	case 8:
		s.deafen(sv)
	case 9:
		s.pause(sv)
	case 10:
		s.hang(sv)
	case 11:
		s.fill(sv)
	case 12:
		if s.rng.IntN(3) == 0 {
			sv.errorIn = 1 + s.rng.IntN(6)
		} else {
			sv.badFSM = 1
		}
	case 13:
		s.holdFSM(sv)
	}
}

// while draws how long a trouble lasts: usually about as long as an election takes.
func (s *sim) while() time.Duration {
	d := time.Duration(5+s.rng.IntN(300)) * time.Millisecond
	if s.rng.IntN(6) == 0 {
		d *= 8
	}
	return d
}

// sever cuts links, and repairs them after a while.
func (s *sim) sever(cut func(from, to ServerID) bool) {
	var links []link
	for _, a := range s.servers {
		for _, b := range s.servers {
			if l := (link{a.id, b.id}); a != b && cut(a.id, b.id) && !s.cut[l] {
				s.cut[l] = true
				links = append(links, l)
			}
		}
	}
	s.tracef("# cut %v\n", links)
	s.in(s.while(), func() {
		for _, l := range links {
			delete(s.cut, l)
		}
		s.tracef("# mend %v\n", links)
	})
}

func (s *sim) isolate(sv *simServer) {
	s.count("partition")
	s.sever(func(from, to ServerID) bool { return from == sv.id || to == sv.id })
}

func (s *sim) split() {
	s.count("partition")
	side := map[ServerID]bool{}
	for _, sv := range s.servers {
		side[sv.id] = s.rng.IntN(2) == 0
	}
	s.sever(func(from, to ServerID) bool { return side[from] != side[to] })
}

// deafen cuts one direction, to all or to one.
func (s *sim) deafen(sv *simServer) {
	s.count("one-way partition")
	in := s.rng.IntN(2) == 0
	only := s.servers[s.rng.IntN(len(s.servers))]
	all := s.rng.IntN(2) == 0
	s.sever(func(from, to ServerID) bool {
		if in {
			from, to = to, from
		}
		return from == sv.id && (all || to == only.id)
	})
}

func (s *sim) pause(sv *simServer) {
	if !s.up(sv) {
		return
	}
	s.count("pause")
	s.tracef("# pause %s\n", sv.id)
	resume := func() {
		s.tracef("# resume %s\n", sv.id)
		if sv.peer != nil {
			sv.peer.resume()
		} else {
			sv.node.resume()
		}
	}
	if sv.peer != nil {
		sv.peer.pause()
	} else {
		sv.node.pause()
	}
	s.in(s.while(), resume)
}

func (s *sim) hang(sv *simServer) {
	if sv.peer != nil || !s.up(sv) {
		return
	}
	s.count("hung disk")
	s.tracef("# hang the disk of %s\n", sv.id)
	sv.node.holdDisk = true
	s.in(s.while(), sv.node.release)
}

func (s *sim) holdFSM(sv *simServer) {
	if sv.peer != nil || !s.up(sv) {
		return
	}
	s.count("hung FSM")
	sv.node.holdFSM = true
	s.in(s.while(), sv.node.release)
}

// fill makes a kind of write fail for a while with an error that passes.
func (s *sim) fill(sv *simServer) {
	op := []string{"store", "store", "delete", "create", "close"}[s.rng.IntN(5)]
	s.tracef("# fill the disk of %s for %s\n", sv.id, op)
	sv.full[op] = true
	s.in(s.while(), func() { delete(sv.full, op) })
}

// diskFault is asked before each write to a disk.
func (s *sim) diskFault(sv *simServer, op string) error {
	if sv.node.raft == nil {
		if sv.node.life == 0 {
			return nil // it is being bootstrapped
		}
		return errCrashed // in the middle of a batch
	}
	if sv.crashIn > 0 {
		if sv.crashIn--; sv.crashIn == 0 {
			s.count("crash in a batch")
			s.tracef("# %s crashes at its disk's %s\n", sv.id, op)
			s.crash(sv)
			s.restartIn(sv, s.while())
			return errCrashed
		}
	}
	if sv.errorIn > 0 {
		if sv.errorIn--; sv.errorIn == 0 {
			s.count("I/O error")
			return syscall.EIO
		}
	}
	if sv.full[op] {
		s.count("full disk")
		return syscall.ENOSPC
	}
	return nil
}
