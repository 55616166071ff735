package fuzzy

import (
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// request sees a request as it is sent. It takes the lock.
func (w *watch) request(m rafttest.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch req := m.Request.(type) {
	case *raft.AppendEntriesRequest:
		w.claim(raft.ServerID(req.ID), m.From, req.Term)
		w.sent(req)
	case *raft.InstallSnapshotRequest:
		w.claim(raft.ServerID(req.ID), m.From, req.Term)
		w.isTrue(raft.ServerID(req.ID), id{req.LastLogIndex, req.LastLogTerm})
	case *raft.RequestVoteRequest:
		w.stands(m.From, req)
	}
	return w.found()
}

// sent looks at what a leader sends.
func (w *watch) sent(req *raft.AppendEntriesRequest) {
	prev := w.facts[id{req.PrevLogEntry, req.PrevLogTerm}]
	for _, e := range req.Entries {
		prev = w.note(e, prev)
	}
	if last := req.PrevLogEntry + uint64(len(req.Entries)); req.LeaderCommitIndex > last {
		w.fail(commitTooHigh, "%s names %d in a request that reaches to %d", req.ID, req.LeaderCommitIndex, last)
	}
}

// isTrue holds a snapshot to what was committed.
func (w *watch) isTrue(server raft.ServerID, at id) {
	if at.index < uint64(len(w.committed)) && w.committed[at.index].term != 0 && w.committed[at.index].term != at.term {
		w.fail(wrongSnapshot, "%s has or sends one at %v, committed is %d@%d", server, at, at.index, w.committed[at.index].term)
	}
}

// claim holds who acts as leader of a term to Election Safety and Leader Completeness.
func (w *watch) claim(server raft.ServerID, addr raft.ServerAddress, term uint64) {
	switch leader := w.leaders[term]; leader {
	case server:
		return
	case "":
		w.leaders[term] = server
		w.newest = max(w.newest, term)
		w.elected(server, addr, term)
	default:
		w.fail(electionSafety, "%s and %s in term %d", leader, server, term)
	}
}

func (w *watch) elected(server raft.ServerID, addr raft.ServerAddress, term uint64) {
	d := w.disks[server]
	voted := func(s raft.Server) bool { return w.votes[ballot{s.ID, term}] == addr }
	if of := d.voters(); of != nil && w.count(of, voted) <= len(of)/2 {
		w.fail(leaderVotes, "%s in term %d, voters %v", server, term, names(of))
	}
	for i := len(w.committed) - 1; i > 0; i-- {
		c := w.committed[i]
		if c.term == 0 || c.known >= term {
			continue // by this leader or a later one
		}
		if at := (id{uint64(i), c.term}); !d.covers(at) {
			w.fail(leaderCompleteness, "%s leads term %d without %v (its log ends at %d, its snapshot is %v)", server, term, at, d.last, d.snapshot)
		}
		return
	}
}

// voters are those of the latest configuration on a disk, nil if that is not known.
func (d *disk) voters() []raft.Server {
	switch f := d.log[d.last]; {
	case f == nil || f.index < d.snapshot.index: // it lies below and has not been deleted yet
		return voters(d.members)
	case f.config != nil:
		return f.config.voters
	default:
		return nil
	}
}

// stands looks at a request for a vote: what it claims must be on disk.
func (w *watch) stands(addr raft.ServerAddress, req *raft.RequestVoteRequest) {
	server := raft.ServerID(req.ID)
	d := w.disks[server]
	if d.term < req.Term || d.term == req.Term && d.votes[req.Term] != string(addr) {
		w.fail(claimNotDurable, "%s asks for votes in term %d, on its disk are term %d and a vote for %q", server, req.Term, d.term, d.votes[req.Term])
	}
	last := id{req.LastLogIndex, req.LastLogTerm}
	if d.term > req.Term || w.leaders[req.Term] != "" {
		return // it may have lost its log to that leader since
	}
	if f := w.facts[last]; last.index > d.snapshot.index && (f == nil || f.held&w.bit(server) == 0) {
		w.fail(claimNotDurable, "%s claims a log up to %v, which is not on its disk", server, last)
	}
}
