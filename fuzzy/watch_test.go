package fuzzy

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// stage is a watch with three servers, whose disks and messages are made by hand. All
// begin in term 1 with a configuration of all three at 1@1.
type stage struct {
	*watch
	stores map[string]rafttest.Stores
}

func newStage() *stage {
	s := &stage{newWatch(), map[string]rafttest.Stores{}}
	var all raft.Configuration
	for _, name := range []string{"a", "b", "c"} {
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(name), Address: raft.ServerAddress("addr-" + name)})
		s.stores[name] = s.makeStores(raft.ServerID(name), true)
	}
	for name := range s.stores {
		s.term(name, 1)
		s.store(name, &raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(all)})
	}
	return s
}

func (s *stage) term(name string, term uint64) {
	_ = s.stores[name].Stable.SetUint64([]byte("CurrentTerm"), term) // in memory, it can't fail
}

// vote has some servers vote for one.
func (s *stage) vote(term uint64, leader string, from ...string) {
	for _, name := range from {
		s.term(name, term)
		_ = s.stores[name].Stable.Set([]byte("LastVoteCand"), []byte("addr-"+leader))
		_ = s.stores[name].Stable.SetUint64([]byte("LastVoteTerm"), term)
	}
}

func (s *stage) store(name string, entries ...*raft.Log) { _ = s.stores[name].Logs.StoreLogs(entries) }

func (s *stage) snapshot(name string, index, term uint64, voters ...raft.ServerID) {
	var members raft.Configuration
	for _, id := range voters {
		members.Servers = append(members.Servers, raft.Server{ID: id, Address: raft.ServerAddress("addr-" + id)})
	}
	sink, err := s.stores[name].Snapshots.Create(1, index, term, members, 1, nil)
	if err == nil {
		_ = sink.Close()
	}
}

func (s *stage) heartbeat(leader string, term uint64) { s.append(leader, term, 0, 0, 0) }

func (s *stage) append(leader string, term, prev, prevTerm, commit uint64, entries ...*raft.Log) {
	s.send(leader, &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte(leader)}, Term: term,
		PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: entries, LeaderCommitIndex: commit})
}

// send keeps what is found for the end.
func (s *stage) send(from string, request any) {
	var v *rafttest.Violation
	if err := s.request(rafttest.Message{From: raft.ServerAddress("addr-" + from), Request: request}); errors.As(err, &v) {
		s.broken = v
	}
}

func (s *stage) ask(candidate string, term, last, lastTerm uint64) {
	s.send(candidate, &raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ID: []byte(candidate)}, Term: term, LastLogIndex: last, LastLogTerm: lastTerm})
}

func entry(index, term uint64, data string) *raft.Log {
	return &raft.Log{Index: index, Term: term, Data: []byte(data)}
}

func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*stage)
		want string // the property that does not hold
	}{
		{"a good life", func(s *stage) {
			s.vote(2, "a", "a", "b")
			s.ask("a", 2, 1, 1)
			s.heartbeat("a", 2)
			s.append("a", 2, 1, 1, 1, entry(2, 2, "x"))
			s.store("a", entry(2, 2, "x"))
			s.store("b", entry(2, 2, "x"))
			s.applied(entry(2, 2, "x"))
			s.snapshot("c", 2, 2, "a", "b", "c")
			s.vote(3, "c", "b", "c")
			s.heartbeat("c", 3)
		}, ""},
		{"the voters of a snapshot, above a log that is still there", func(s *stage) {
			s.snapshot("c", 2, 2, "c")
			s.vote(3, "c", "c")
			s.heartbeat("c", 3)
		}, ""},
		{"two leaders", func(s *stage) {
			s.vote(2, "a", "a", "b")
			s.heartbeat("a", 2)
			s.heartbeat("b", 2)
		}, electionSafety},
		{"too few votes", func(s *stage) {
			s.vote(2, "a", "a")
			s.heartbeat("a", 2)
		}, leaderVotes},
		{"a leader without a committed entry", func(s *stage) {
			s.vote(2, "a", "a", "b")
			s.heartbeat("a", 2)
			s.store("a", entry(2, 2, "x"))
			s.store("b", entry(2, 2, "x"))
			s.applied(entry(2, 2, "x"))
			s.vote(3, "c", "b", "c")
			s.heartbeat("c", 3)
		}, leaderCompleteness},
		{"two entries of one index and term", func(s *stage) {
			s.store("a", entry(2, 1, "x"))
			s.store("b", entry(2, 1, "y"))
		}, logMatching},
		{"equal entries on different ones", func(s *stage) {
			s.term("a", 3)
			s.term("b", 3)
			s.store("a", entry(2, 1, "x"), entry(3, 3, "z"))
			s.store("b", entry(2, 2, "y"), entry(3, 3, "z"))
		}, logMatching},
		{"committed on one disk", func(s *stage) {
			s.store("a", entry(2, 1, "x"))
			s.applied(entry(2, 1, "x"))
		}, commitQuorum},
		{"committed and deleted", func(s *stage) {
			s.store("a", entry(2, 1, "x"))
			s.store("b", entry(2, 1, "x"))
			s.applied(entry(2, 1, "x"))
			_ = s.stores["b"].Logs.DeleteRange(2, 2)
		}, commitQuorum},
		{"committed and deleted where a snapshot has it", func(s *stage) {
			s.store("a", entry(2, 1, "x"))
			s.store("b", entry(2, 1, "x"))
			s.applied(entry(2, 1, "x"))
			s.snapshot("b", 2, 1)
			_ = s.stores["b"].Logs.DeleteRange(1, 2)
		}, ""},
		{"a term that falls", func(s *stage) {
			s.term("a", 3)
			s.term("a", 2)
		}, termFell},
		{"a second vote", func(s *stage) {
			s.vote(2, "a", "c")
			s.vote(2, "b", "c")
		}, secondVote},
		{"asking before voting", func(s *stage) {
			s.term("a", 2)
			s.ask("a", 2, 1, 1)
		}, claimNotDurable},
		{"asking with an entry that is not on disk", func(s *stage) {
			s.vote(2, "a", "a")
			s.ask("a", 2, 2, 1)
		}, claimNotDurable},
		{"an entry before its term", func(s *stage) { s.store("a", entry(2, 2, "x")) }, entryBeforeTerm},
		{"a gap", func(s *stage) { s.store("a", entry(3, 1, "x")) }, gap},
		{"a commit index beyond the request", func(s *stage) {
			s.vote(2, "a", "a", "b")
			s.append("a", 2, 1, 1, 2)
		}, commitTooHigh},
		{"a snapshot of something else", func(s *stage) {
			s.store("a", entry(2, 1, "x"))
			s.store("b", entry(2, 1, "x"))
			s.applied(entry(2, 1, "x"))
			s.snapshot("c", 2, 2)
		}, wrongSnapshot},
	} {
		s := newStage()
		tt.do(s)
		var v *rafttest.Violation
		got := ""
		if errors.As(s.Found(), &v) {
			got = v.Property
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, v, tt.want)
		}
	}
}
