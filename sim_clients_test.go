package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// This file is what clients do with a simulated cluster, and the FSM that they talk to.

// simFSM is an FSM whose state is a hash of all commands.
type simFSM struct {
	sum  uint64
	fail func() bool // whether a restore is to fail
}

func (f *simFSM) Apply(e *Log) interface{} {
	f.sum = chainHash(f.sum, e.Data)
	return f.sum
}

func (f *simFSM) Snapshot() (FSMSnapshot, error) { return simState(f.sum), nil }

func (f *simFSM) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err == nil && len(b) != 8 {
		err = fmt.Errorf("sim: %d bytes of state", len(b))
	}
	if err == nil && f.fail != nil && f.fail() {
		f.sum = 1 // of no use
		err = errors.New("sim: restore failed")
	}
	if err == nil {
		f.sum = binary.BigEndian.Uint64(b)
	}
	return err
}

type simState uint64

func (s simState) Persist(sink SnapshotSink) error {
	if _, err := sink.Write(binary.BigEndian.AppendUint64(nil, uint64(s))); err != nil {
		return err
	}
	return sink.Close()
}

func (simState) Release() {}

// simBatchFSM takes entries in batches.
type simBatchFSM struct{ *simFSM }

func (f simBatchFSM) ApplyBatch(entries []*Log) []interface{} {
	responses := make([]interface{}, len(entries))
	for i, e := range entries {
		if e.Type == LogCommand {
			responses[i] = f.Apply(e)
		}
	}
	return responses
}

func stateOf(f FSM) *simFSM {
	if b, ok := f.(simBatchFSM); ok {
		return b.simFSM
	}
	return f.(*simFSM)
}

func (s *sim) makeFSM(n *simNode) FSM {
	sv := s.server(n.id)
	f := &simFSM{fail: func() bool {
		if n.raft == nil || sv.badFSM == 0 { // it must come up
			return false
		}
		sv.badFSM--
		s.count("failed restore")
		return true
	}}
	if s.rng.IntN(2) == 0 {
		return simBatchFSM{f}
	}
	return f
}

// act is the next action of a client.
func (s *sim) act() {
	if s.healed {
		return
	}
	s.in(s.around(s.plan.pace), s.act)
	if len(s.calls) > 50 {
		return
	}
	sv := s.anyLeader()
	if sv == nil || !s.up(sv) {
		return
	}
	if s.pauses[sv.id] {
		s.write(sv, func(error) {}) // other calls would not reach it
		return
	}
	switch draw := s.rng.IntN(100); {
	case draw < 60:
		s.write(sv, func(error) {})
	case draw < 65:
		for range 2 + s.rng.IntN(6) {
			s.write(sv, func(error) {})
		}
	case draw < 80:
		s.read(sv)
	case draw < 90:
		s.change(sv)
	case draw < 94:
		s.transfer(sv)
	case draw < 97:
		s.snapshot(sv)
	default:
		s.forgetTail(sv)
	}
}

// anyLeader returns a server that takes itself for the leader, or just any.
func (s *sim) anyLeader() *simServer {
	var leaders []*simServer
	for _, sv := range s.servers {
		if s.up(sv) && s.viewOf(sv).state == Leader {
			leaders = append(leaders, sv)
		}
	}
	if len(leaders) == 0 || s.rng.IntN(12) == 0 {
		return s.servers[s.rng.IntN(len(s.servers))]
	}
	return leaders[s.rng.IntN(len(leaders))]
}

// call keeps what a client waits for.
func (s *sim) call(sv *simServer, what string, done func() bool) *simCall {
	c := &simCall{what: what, server: sv, done: done}
	s.calls = append(s.calls, c)
	return c
}

// pollCalls looks which calls to a server are over.
func (s *sim) pollCalls(sv *simServer) {
	for i := 0; i < len(s.calls); {
		c := s.calls[i]
		if c.server != sv || !c.done() {
			i++
			continue
		}
		// done may have changed the list
		for j, o := range s.calls {
			if o == c {
				s.calls = append(s.calls[:j], s.calls[j+1:]...)
				break
			}
		}
		i = 0
	}
}

// write has a client write a command that nobody else writes.
func (s *sim) write(sv *simServer, then func(error)) *simCall {
	if !s.up(sv) {
		return nil
	}
	s.writes++
	cmd := fmt.Sprintf("w%d", s.writes)
	s.tracef("# %s: write %s\n", sv.id, cmd)
	over := func(id entryID, err error) bool {
		s.tracef("# %s: wrote %s: %v %v\n", sv.id, cmd, id, err)
		s.check.done(cmd, id, err)
		switch {
		case err == nil:
			s.count("write")
		case s.check.refused[cmd]:
			s.count("refused write")
		default:
			s.count("unknown outcome")
		}
		then(err)
		return true
	}
	if sv.peer != nil {
		var end func() bool
		c := s.call(sv, "write "+cmd, func() bool { return end != nil && end() })
		sv.peer.apply(cmd, func(id entryID, err error) {
			end = func() bool { return over(id, err) }
		})
		return c
	}
	f := newLogFuture(Log{Data: []byte(cmd)})
	c := s.call(sv, "write "+cmd, func() bool {
		done, err := f.completed()
		return done && over(idOf(f.log), err)
	})
	r := sv.node.raft
	r.proposals.put(f, time.Nanosecond)
	if s.rng.IntN(4) > 0 || s.healed { // else it waits for the next one
		select {
		case <-r.proposals.wake:
			sv.node.step(proposed{})
		default:
		}
	} else {
		s.in(time.Millisecond, func() {
			if len(r.proposals.wake) > 0 && sv.node.raft == r {
				<-r.proposals.wake
				sv.node.step(proposed{})
			}
		})
	}
	return c
}

// read has a client read.
func (s *sim) read(sv *simServer) {
	if sv.peer != nil {
		return // its reads are not linearizable
	}
	n, since, over := sv.node, s.check.last(), false
	r := n.raft
	s.call(sv, "a read", func() bool { return over })
	n.read(func(index uint64, err error) {
		over = true
		if err == nil {
			s.count("read")
			s.check.read(sv.id, index, since, r.applied())
		}
	})
}

// change asks for a change of the membership.
func (s *sim) change(sv *simServer) {
	v := s.viewOf(sv)
	c, ok := s.drawChange(v)
	if !ok {
		return
	}
	target := s.server(c.server)
	if c.command == AddVoter || c.command == AddNonvoter {
		s.start(target)
	}
	s.tracef("# %s: %v %s prev=%d\n", sv.id, c.command, c.server, c.prevIndex)
	over := func(id entryID, err error) bool {
		s.tracef("# %s: %v %s: %v %v\n", sv.id, c.command, c.server, id, err)
		if err == nil {
			s.changed(c, id)
		}
		return true
	}
	what := fmt.Sprintf("%v %s", c.command, c.server)
	if sv.peer != nil {
		var end func() bool
		s.call(sv, what, func() bool { return end != nil && end() })
		sv.peer.change(c, func(id entryID, err error) { end = func() bool { return over(id, err) } })
		return
	}
	f := newLogFuture(Log{})
	s.call(sv, what, func() bool {
		done, err := f.completed()
		return done && over(idOf(f.log), err)
	})
	sv.node.step(&membershipCall{change: c, future: f, timeout: s.around(200 * time.Millisecond)})
}

// drawChange draws a change that leaves some voters.
func (s *sim) drawChange(v *view) (membershipChange, bool) {
	target := s.servers[s.rng.IntN(len(s.servers))]
	c := membershipChange{server: target.id, address: addrOf(target.id)}
	_, member := v.config.config.find(target.id)
	voters := len(v.config.config.voters())
	switch draw := s.rng.IntN(10); {
	case !member || draw < 3:
		c.command = AddVoter
		if draw == 0 {
			c.command = AddNonvoter
		}
		if voters >= 5 {
			return c, false
		}
	case voters <= 1:
		return c, false
	case draw < 5:
		c.command = DemoteVoter
	default:
		c.command = RemoveServer
	}
	switch s.rng.IntN(10) {
	case 0:
		c.prevIndex = v.config.index
	case 1:
		c.prevIndex = 1
	}
	return c, true
}

// changed sees to what follows a change. A server that was removed may lose its disk.
func (s *sim) changed(c membershipChange, id entryID) {
	s.count("change")
	switch c.command {
	case DemoteVoter:
		s.count("demotion")
	case RemoveServer:
		s.count("removal")
		if sv := s.server(c.server); s.rng.IntN(2) == 0 && !s.memberAgain(sv, id.index) {
			s.wipe(sv)
		}
	}
}

// memberAgain reports whether some log adds a server that was removed at an index.
func (s *sim) memberAgain(sv *simServer, since uint64) bool {
	for _, o := range s.servers {
		var latest configEntry
		switch {
		case o.peer != nil:
			latest = o.peer.newest
		case o.node.raft != nil:
			latest = o.node.raft.configs.latest()
		default:
			return true // nobody knows
		}
		if _, ok := latest.config.find(sv.id); ok && latest.index > since {
			return true
		}
	}
	return false
}

// wipe takes a server's disk from it, and may start it again at once.
func (s *sim) wipe(sv *simServer) {
	s.count("wipe")
	s.tracef("# wipe %s\n", sv.id)
	s.crash(sv)
	had, disk := &sv.forgets, s.diskOf(sv)
	had.term = max(had.term, s.check.books[sv.id].term)
	if last := disk.lastID(); last.atLeast(had.last) {
		had.last = last
	}
	promise := disk.numbers[string(keyLeasePromise)]
	s.furnish(sv)
	if promise > 0 { // whoever wipes a server waits as long
		s.diskOf(sv).numbers[string(keyLeasePromise)] = promise
	}
	sv.idle = true
	s.in(s.while(), func() { s.start(sv) })
}

// transfer asks a leader to hand over.
func (s *sim) transfer(sv *simServer) {
	to := s.servers[s.rng.IntN(len(s.servers))]
	if to == sv {
		return
	}
	s.tracef("# %s: transfer to %s\n", sv.id, to.id)
	over := func(err error) bool {
		s.tracef("# %s: transfer to %s: %v\n", sv.id, to.id, err)
		if err == nil {
			s.count("transfer")
		}
		return true
	}
	if sv.peer != nil {
		var end func() bool
		s.call(sv, "a transfer", func() bool { return end != nil && end() })
		sv.peer.transferTo(to.id, func(err error) { end = func() bool { return over(err) } })
		return
	}
	f := newFuture()
	s.call(sv, "a transfer", func() bool {
		done, err := f.completed()
		return done && over(err)
	})
	sv.node.step(transferCall{&to.id, addrOf(to.id), f})
}

// snapshot asks a server to take one.
func (s *sim) snapshot(sv *simServer) {
	if sv.peer != nil {
		sv.peer.main(sv.peer.takeSnapshot)
		return
	}
	if sv.node.raft == nil {
		return
	}
	f := new(snapshotFuture)
	f.init()
	s.call(sv, "a snapshot", func() bool {
		done, err := f.completed()
		if done && err == nil {
			s.count("snapshot")
		}
		return done
	})
	sv.node.step(&snapshotCall{f})
}

// forgetTail has a node forget the entries that it keeps in memory, as it would if
// they were large.
func (s *sim) forgetTail(sv *simServer) {
	if sv.peer != nil {
		return
	}
	sv.node.raft.log.trimTo(0)
	s.count("entries from the store")
}

// lastID is the last entry on a disk, in the log or in a snapshot.
func (d *simDisk) lastID() (last entryID) {
	if n := len(d.snaps); n > 0 {
		last = entryID{d.snaps[n-1].meta.Index, d.snaps[n-1].meta.Term}
	}
	if n := len(d.entries); n > 0 && idOf(d.entries[n-1]).atLeast(last) {
		last = idOf(d.entries[n-1])
	}
	return last
}
