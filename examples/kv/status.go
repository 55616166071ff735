package main

import (
	"net/http"
	"strconv"
)

// status is the answer of GET /status: what this node knows, without asking
// others.
type status struct {
	ID       string `json:"id"`
	RaftAddr string `json:"raft_addr"`
	HTTPAddr string `json:"http_addr"`

	State      string `json:"state"` // Follower, Candidate, Leader or Shutdown
	Term       uint64 `json:"term"`
	Leader     string `json:"leader,omitempty"`      // ID
	LeaderHTTP string `json:"leader_http,omitempty"` // address

	// Positions in the log.
	LastIndex     uint64 `json:"last_index"`
	CommitIndex   uint64 `json:"commit_index"`
	AppliedIndex  uint64 `json:"applied_index"`
	SnapshotIndex uint64 `json:"snapshot_index"`

	// SnapshotsInstalled counts the snapshots received from leaders since this
	// process started.
	SnapshotsInstalled int `json:"snapshots_installed"`

	Keys  int   `json:"keys"`
	Bytes int64 `json:"bytes"`
	stateHash

	Members []memberStatus `json:"members"`
}

// stateHash is the answer of GET /hash: nodes that are at the same index have the
// same hash.
type stateHash struct {
	Index uint64 `json:"hash_index"` // of the last write that the state contains
	Hash  string `json:"hash"`
}

type memberStatus struct {
	ID       string `json:"id"`
	Suffrage string `json:"suffrage"`
	RaftAddr string `json:"raft_addr"`
	HTTPAddr string `json:"http_addr,omitempty"`
}

func (s *server) getStatus(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, s.node.status())
	return nil
}

// getHash serves GET /hash. With ?at_least=INDEX it first waits until this node
// has applied the log up to there.
func (s *server) getHash(w http.ResponseWriter, r *http.Request) error {
	if at := r.URL.Query().Get("at_least"); at != "" {
		index, err := strconv.ParseUint(at, 10, 64)
		if err != nil {
			return badRequest("at_least: %w", err)
		}
		if err := s.node.waitApplied(r.Context(), index); err != nil {
			return unavailable("waiting for index %d: %w", index, err)
		}
	}
	writeJSON(w, http.StatusOK, hashOfSummary(s.node.fsm.summary()))
	return nil
}

func hashOfSummary(sum summary) stateHash {
	return stateHash{Index: sum.index, Hash: sum.hash.String()}
}

func (n *node) status() status {
	sum := n.fsm.summary()
	leader, leaderHTTP := n.leaderHTTP()
	snapshot, _ := strconv.ParseUint(n.raft.Stats()["last_snapshot_index"], 10, 64)
	return status{
		ID: n.conf.id, RaftAddr: n.raftAddr, HTTPAddr: n.httpAddr,
		State: n.raft.State().String(), Term: n.raft.CurrentTerm(),
		Leader: leader, LeaderHTTP: leaderHTTP,
		LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(),
		AppliedIndex: n.raft.AppliedIndex(), SnapshotIndex: snapshot,
		SnapshotsInstalled: sum.restores - n.ownRestores,
		Keys:               sum.keys, Bytes: sum.bytes,
		stateHash: hashOfSummary(sum),
		Members:   n.memberStatus(),
	}
}

func (n *node) memberStatus() []memberStatus {
	all := []memberStatus{}
	for _, s := range n.servers() {
		all = append(all, memberStatus{
			ID: string(s.ID), Suffrage: s.Suffrage.String(), RaftAddr: string(s.Address), HTTPAddr: n.fsm.member(s.ID),
		})
	}
	return all
}
