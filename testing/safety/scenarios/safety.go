package scenarios

import (
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// This file: what may be stored, counted as committed and acknowledged.
var safety = []scenario{
	{"S1", "a leader tells a follower with a stale tail of a commit index beyond what it has checked", unverifiedSuffix},
	{"S2", "a server that has just won an election hears of a newer leader by a heartbeat", staleLeaderStamps},
	{"S15", "a follower's store fails after the suffix was deleted; the leader tries again", failedStore},
	{"S16", "a leader, of a recovered cluster for example, has others than the entries that were applied here", deniedHistory},
	{"S18", "an entry is overwritten by another leader's; the first leader leads again", overwrittenEntry},
	{"S19", "a new leader is asked to change the membership before an entry of its term is committed", changeBeforeOwnEntry},
	{"S20a", "a follower's disk is busy with an entry: no acknowledgement", ackBeforeDurable},
	{"S20b", "one of two servers has the entry, the leader's disk is busy with it: not committed", commitBeforeDurable},
}

// S1. Entry 3 of the follower is a dead leader's. The leader of term 2 has another one
// there, which is committed; it has so far verified only entry 2 here.
func unverifiedSuffix(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "lead", "c"), command(2, 1, "good"), command(3, 1, "never committed"))...).start()
	lead := s.peer("lead")
	lead.append(n, 2, 2, 1, 3)
	lead.append(n, 2, 2, 1, 3, command(3, 2, "committed"))
	s.await("two commands in the FSM", func() bool { return len(n.machine.commands()) == 2 })
	if got := n.machine.commands(); !same(got, "good", "committed") {
		s.violated("the FSM applied %q, which no leader committed", got[1])
	}
}

// S2. NotifyCh is not read at first, which lets the heartbeat of a newer leader arrive
// in the middle of becoming leader.
func staleLeaderStamps(s *stage) {
	notify := make(chan bool)
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...)
	n.conf.NotifyCh = notify
	n.start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b) // in term 3
	const newer = 9
	go c.tryAppend(n, newer, 0, 0, 0)
	s.await("the newer term", func() bool { return n.CurrentTerm() == newer })
	go func() {
		for range notify {
		}
	}()

	// By now the node may not stamp anything with the newer term. What it does, it does
	// before it has answered the next request.
	c.append(n, newer, 1, 1, 1)
	ofNewerTerm := func(entry *raft.Log) bool { return entry.Term == newer }
	for _, entry := range n.disk.logs.entries() {
		if ofNewerTerm(entry) {
			s.violated("it appended entry %d in term %d, which another server leads", entry.Index, newer)
		}
	}
	if b.seen.count(carries(ofNewerTerm)) > 0 {
		s.violated("it sent entries of term %d, which another server leads", newer)
	}
}

// S15. The suffix is deleted, the entries that should replace it are not stored.
func failedStore(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "lead", "c"), commandsOf(2, 10, 1, "old")...)...).start()
	lead := s.peer("lead")
	fail := errors.New("no space left on device")
	n.disk.logs.before(func(op operation) error {
		if op.name == "store" {
			return fail
		}
		return nil
	})
	entries := commandsOf(6, 8, 2, "new")
	if resp, err := lead.tryAppend(n, 2, 5, 1, 0, entries...); err == nil && resp.Success {
		s.violated("entries that could not be stored were acknowledged")
	}
	n.disk.logs.before(nil)
	if !within(prompt, func() bool {
		resp, err := lead.tryAppend(n, 2, 5, 1, 8, entries...)
		return err == nil && resp.Success
	}) {
		s.violated("the store works again, but the follower accepts nothing any more")
	}
}

// S16. The server has applied entries 2 to 10. If it takes others in their place, its FSM
// has what is in no log, and lacks what is: it must refuse, and be given a snapshot.
func deniedHistory(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "lead", "c"), commandsOf(2, 10, 1, "x")...)...).start()
	lead := s.peer("lead")
	lead.append(n, 2, 10, 1, 10)
	s.await("9 commands in the FSM", func() bool { return len(n.machine.commands()) == 9 })
	resp, err := lead.tryAppend(n, 5, 5, 1, 12, commandsOf(6, 12, 5, "y")...)
	if err != nil || !resp.Success {
		return
	}
	s.await("the last command", func() bool { return slices.Contains(n.machine.commands(), "y-12") })
	if slices.Contains(n.machine.commands(), "x-6") {
		s.violated("it took other entries in the place of those, and the FSM has some of both")
	}
}

// S18. The future of an entry that lost its place must not succeed, whoever leads when
// that place is committed.
func overwrittenEntry(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled() // entry 2 is the first of the term, 3 the barrier
	b.behave(silent)
	c.behave(silent)
	lost := n.Apply([]byte("lost"), 0)
	s.await("the entry on the leader's disk", func() bool {
		last, _ := n.disk.logs.LastIndex()
		return last == 4
	})
	term := n.CurrentTerm()
	c.append(n, term+1, 3, term, 3, command(4, term+1, "in its place"))
	b.behave(nil)
	c.behave(nil)
	n.leads(c)
	n.settled()
	n.shown("in its place")
	if s.mustEnd(lost.Error, "the future of the overwritten entry does not end") == nil {
		s.violated("success was reported for the overwritten entry")
	}
}

// S19. The followers do not take the first entry of the term.
func changeBeforeOwnEntry(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	stubborn := func(req any) (any, error) {
		if isAppend(req) {
			return nil, errRefused
		}
		return nil, nil
	}
	b.append(n, 2, 1, 1, 1) // the present configuration is committed, that is not the reason
	b.behave(stubborn)
	c.behave(stubborn)
	n.leads(b)
	go func() { _ = n.AddVoter("d", addressOf("d"), 0, patience).Error() }()
	changed := func() bool {
		last, _ := n.disk.logs.LastIndex()
		return last > 2
	}
	if within(settle, changed) {
		s.violated("the new configuration was appended at once")
	}
	b.behave(nil)
	s.await("the new configuration once that is committed", changed)
}

// S20. A follower.
func ackBeforeDurable(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "lead", "c"))...).start()
	lead := s.peer("lead")
	lead.heartbeat(n, 2)
	var busy gate
	busy.shut()
	n.disk.logs.before(func(op operation) error { busy.pass(); return nil })
	acknowledged := make(chan bool, 1)
	go func() {
		resp, err := lead.tryAppend(n, 2, 1, 1, 1, command(2, 2, "x"))
		acknowledged <- err == nil && resp.Success
	}()
	s.await("the write", busy.held)
	if within(settle, func() bool { return len(acknowledged) > 0 }) && <-acknowledged {
		s.violated("it acknowledged an entry that is not on its disk")
	}
	busy.open()
	if !<-acknowledged {
		s.violated("it never acknowledged the entry")
	}
}

// S20. A leader of two servers: its own disk is needed for the majority.
func commitBeforeDurable(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b"))...).start()
	b := s.peer("b")
	n.leads(b)
	n.settled()
	var busy gate
	busy.shut()
	n.disk.logs.before(func(op operation) error {
		if op.name == "store" {
			busy.pass()
		}
		return nil
	})
	before := n.CommitIndex()
	applied := n.Apply([]byte("x"), 0)
	s.await("the write", busy.held)
	if within(settle, func() bool { return n.CommitIndex() > before }) {
		s.violated("it counts an entry as committed that only one of two servers has on disk")
	}
	busy.open()
	s.succeed(applied)
	n.shown("x")
}

// stale reports whether a command is one of a dead leader's.
func stale(data string) bool { return strings.HasPrefix(data, "stale") }
