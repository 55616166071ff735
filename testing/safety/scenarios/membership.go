package scenarios

import (
	"time"

	"github.com/hashicorp/raft"
)

// This file: changes of the membership.
var membership = []scenario{
	{"L8", "a server is unreachable while it is removed, and then is back", removedUnaware},
	{"L18", "a membership call with timeout 0 comes behind one that is not committed", endlessChange},
	{"L20", "the membership changed and no command came since; a snapshot is asked for", snapshotAfterChange},
	{"H4", "the leader is demoted to a non-voter", demotedLeader},
	{"A1", "GetConfiguration().Index()", configurationIndex},
}

// L8. It must be told of its removal, or it stands for election for ever.
func removedUnaware(s *stage) {
	n := s.server("n").timeouts(2 * time.Second).holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	s.net.cut(n.addr, c.addr)
	s.succeed(n.RemoveServer(c.id, 0, patience))
	time.Sleep(5 * settle)
	s.net.heal(n.addr, c.addr)
	removal := carries(func(entry *raft.Log) bool { return entry.Type == raft.LogConfiguration })
	if !within(prompt, func() bool { return c.seen.count(removal) > 0 }) {
		s.violated("it is never told of its removal")
	}
}

// L18. The followers answer heartbeats, but take no entries.
func endlessChange(s *stage) {
	n := s.server("n").timeouts(1500 * time.Millisecond).holds(logOf(voters("n", "b", "c"))...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	stubborn := func(req any) (any, error) {
		if isAppend(req) {
			return nil, errRefused
		}
		return nil, nil
	}
	b.behave(stubborn)
	c.behave(stubborn)
	n.AddNonvoter("d", addressOf("d"), 0, 0)
	if err, ended := ends(patience, func() error { return n.AddNonvoter("e", addressOf("e"), 0, 0).Error() }); !ended {
		s.hangs("no answer within %v", patience)
	} else if err == nil {
		s.violated("it succeeded")
	}
}

// L20. Only an idle cluster was reconfigured: that is no reason to be without snapshots.
func snapshotAfterChange(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...).start()
	d := s.peer("d")
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	s.succeed(n.Apply([]byte("x"), 0))
	s.succeed(n.AddNonvoter(d.id, d.addr, 0, patience))
	var err error
	if !within(prompt/2, func() bool {
		err = n.Snapshot().Error()
		return err == nil
	}) {
		s.violated("no snapshot: %v", err)
	}
}

// H4. It was not removed, and must not end.
func demotedLeader(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...).start()
	b := s.peer("b")
	s.peer("c")
	n.leads(b)
	n.settled()
	s.succeed(n.DemoteVoter(n.id, 0, patience))
	s.await("the end of the leadership", func() bool { return n.State() != raft.Leader })
	if within(settle, func() bool { return n.State() == raft.Shutdown }) {
		s.violated("it shut itself down")
	}
}

// A1. Without it prevIndex cannot be used.
func configurationIndex(s *stage) {
	n := s.server("n").holds(logOf(voters("n", "b"))...).start()
	f := n.GetConfiguration()
	s.must(f.Error())
	if f.Index() != 1 {
		s.violated("it is %d, the configuration is entry 1", f.Index())
	}
}
