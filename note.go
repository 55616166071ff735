package raft

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/hashicorp/raft/internal/metrics"
)

// notes is where a fact leaves protocol code: as one call, which becomes log line,
// metric and observation here. Its methods may be called from any goroutine and never
// block for long.
type notes struct {
	raft     *Raft // for observations
	logger   hclog.Logger
	notifier *notifier
	legacy   bool // metrics with a server's ID in their name, too
}

// observe tells the observers.
func (n *notes) observe(data interface{}) { n.notifier.observe(Observation{Raft: n.raft, Data: data}) }

// since measures how long something took.
func (n *notes) since(name []string, start time.Time) { metrics.MeasureSince(name, start) }

// stateChanged reports a role taken up, which may be the one before.
func (n *notes) stateChanged(old, s RaftState, term uint64) {
	r := n.raft
	switch s {
	case Follower:
		n.logger.Info("entering follower state", "follower", r, "leader-address", r.leader.addr, "leader-id", r.leader.id)
		metrics.IncrCounter([]string{"raft", "state", "follower"}, 1)
	case Candidate:
		n.logger.Info("entering candidate state", "node", r, "term", term)
		metrics.IncrCounter([]string{"raft", "state", "candidate"}, 1)
	case Leader:
		n.logger.Info("entering leader state", "leader", r)
		metrics.IncrCounter([]string{"raft", "state", "leader"}, 1)
	}
	if old != s {
		n.observe(s)
	}
}

func (n *notes) leaderChanged(c candidate) {
	n.observe(LeaderObservation{Leader: c.addr, LeaderAddr: c.addr, LeaderID: c.id})
}

func (n *notes) heartbeatTimeout(leader candidate) {
	n.logger.Warn("heartbeat timeout reached, starting election", "last-leader-addr", leader.addr, "last-leader-id", leader.id)
	metrics.IncrCounter([]string{"raft", "transition", "heartbeat_timeout"}, 1)
}

func (n *notes) electionTimeout() {
	n.logger.Warn("Election timeout reached, restarting election")
}

func (n *notes) voteFailed(text string, from ServerID, err error) {
	if err != nil {
		n.logger.Error(text, "target", from, "error", err)
	}
}

func (n *notes) preVoteWon(term uint64, c *campaign) {
	n.logger.Info("pre-vote successful, starting election", "term", term,
		"tally", len(c.granted), "refused", c.refused, "votesNeeded", c.needed)
}

func (n *notes) preVoteLost(term uint64, c *campaign) {
	n.logger.Info("pre-vote campaign failed, waiting for election timeout", "term", term,
		"tally", len(c.granted), "refused", c.refused, "votesNeeded", c.needed)
}

func (n *notes) electionWon(term uint64, tally int) {
	n.logger.Info("election won", "term", term, "tally", tally)
}

func (n *notes) voteRefused(kind string, q voteQuestion, reason string) {
	n.logger.Warn("rejecting "+kind+" request since "+reason, "candidate-id", q.from.id, "from", q.from.addr,
		"term", q.term, "last-candidate", q.last.String())
}

func (n *notes) newerTerm(term uint64) {
	n.logger.Error("peer has newer term, stopping replication", "newer-term", term)
}

func (n *notes) timeoutNowIgnored(from candidate) {
	n.logger.Warn("ignoring TimeoutNow, it is for a voter from its leader", "from-id", from.id, "from", from.addr)
}

// badRequest reports what no server of this protocol sends.
func (n *notes) badRequest(kind string, from candidate, err error) {
	n.logger.Error("refused a bad request", "request", kind, "from-id", from.id, "from", from.addr, "error", err)
	metrics.IncrCounter([]string{"raft", "rpc", "refused"}, 1)
}

func (n *notes) contradicted(from candidate, req *AppendEntriesRequest, snap entryID, commit uint64) {
	n.logger.Error("the leader's log contradicts entries that are committed here: the histories have been forked, "+
		"by a Restore whose leader died early or by RecoverCluster; taking the leader's state from its next snapshot",
		"leader-id", from.id, "term", req.Term, "previous", entryID{req.PrevLogEntry, req.PrevLogTerm}.String(),
		"snapshot", snap.String(), "commit", commit)
	metrics.IncrCounter([]string{"raft", "rpc", "contradicted"}, 1)
}

func (n *notes) mismatch(req *AppendEntriesRequest, last entryID) {
	n.logger.Warn("failed to get previous log", "previous-index", req.PrevLogEntry, "previous-term", req.PrevLogTerm,
		"last-index", last.index, "last-term", last.term)
}

func (n *notes) truncated(from, to uint64) {
	n.logger.Warn("clearing log suffix", "from", from, "to", to)
}

func (n *notes) configuration(index uint64, c Configuration) {
	n.logger.Debug("configuration in force", "index", index, "servers", fmt.Sprintf("%+v", c.Servers))
}

func (n *notes) peerAdded(s Server) {
	n.logger.Info("added peer, starting replication", "peer", s.ID)
	n.observe(PeerObservation{Peer: s})
}

func (n *notes) peerRemoved(s Server, last uint64) {
	n.logger.Info("removed peer, stopping replication", "peer", s.ID, "last-index", last)
	n.observe(PeerObservation{Peer: s, Removed: true})
}

func (n *notes) peers(count int) { metrics.SetGauge([]string{"raft", "peers"}, float32(count)) }

func (n *notes) removed(shutdown bool) {
	if shutdown {
		n.logger.Info("removed ourself, shutting down")
	} else {
		n.logger.Info("removed ourself, transitioning to follower")
	}
}

// The names of metrics that are emitted for every entry or batch.
var (
	metricApply           = []string{"raft", "apply"}
	metricVerifyLeader    = []string{"raft", "verify_leader"}
	metricCommitTime      = []string{"raft", "commitTime"}
	metricCommitNumLogs   = []string{"raft", "commitNumLogs"}
	metricDispatchNumLogs = []string{"raft", "leader", "dispatchNumLogs"}
	metricDispatchLog     = []string{"raft", "leader", "dispatchLog"}
	metricStoreLogs       = []string{"raft", "rpc", "appendEntries", "storeLogs"}
	metricAppendEntries   = []string{"raft", "rpc", "appendEntries"}
	metricHeartbeat       = []string{"raft", "rpc", "processHeartbeat"}
	metricFSMApply        = []string{"raft", "fsm", "apply"}
	metricApplyBatch      = []string{"raft", "fsm", "applyBatch"}
	metricApplyBatchNum   = []string{"raft", "fsm", "applyBatchNum"}
)

// dispatched reports entries that a leader has appended.
func (n *notes) dispatched(count int) {
	metrics.SetGauge(metricDispatchNumLogs, float32(count))
}

// written reports a batch that the writer has finished.
func (n *notes) written(leader bool, start time.Time, entries int) {
	switch {
	case entries == 0:
	case leader:
		metrics.MeasureSince(metricDispatchLog, start)
	default:
		metrics.MeasureSince(metricStoreLogs, start)
	}
}

func (n *notes) committed(e *Log) { metrics.MeasureSince(metricCommitTime, e.AppendedAt) }

func (n *notes) commitBatch(count uint64) {
	metrics.SetGauge(metricCommitNumLogs, float32(count))
}

func (n *notes) applyBatch(start time.Time, count int) {
	metrics.MeasureSince(metricApplyBatch, start)
	metrics.AddSample(metricApplyBatchNum, float32(count))
}

// peerMetrics are the metrics about a peer: each with a label, and if that is asked for
// with its ID in the name, too. It is immutable.
type peerMetrics struct {
	rpc, logs, heartbeat, install peerMetric
}

type peerMetric struct {
	name, legacy []string // legacy is nil if there is none
	labels       []metrics.Label
}

func (n *notes) peerMetrics(id ServerID) *peerMetrics {
	labels := []metrics.Label{{Name: "peer_id", Value: string(id)}}
	metric := func(name ...string) peerMetric {
		m := peerMetric{name: append([]string{"raft", "replication"}, name...), labels: labels}
		if n.legacy {
			m.legacy = append(slices.Clone(m.name), string(id))
		}
		return m
	}
	return &peerMetrics{metric("appendEntries", "rpc"), metric("appendEntries", "logs"), metric("heartbeat"), metric("installSnapshot")}
}

func (m peerMetric) since(start time.Time) {
	metrics.MeasureSinceWithLabels(m.name, start, m.labels)
	if m.legacy != nil {
		metrics.MeasureSince(m.legacy, start)
	}
}

func (m peerMetric) add(n int) {
	metrics.IncrCounterWithLabels(m.name, float32(n), m.labels)
	if m.legacy != nil {
		metrics.IncrCounter(m.legacy, float32(n))
	}
}

func (n *notes) refused(p *peer, q *laneRequest, resp *AppendEntriesResponse) {
	n.logger.Warn("appendEntries rejected, sending older logs", "peer", p.server.ID,
		"previous", q.req.PrevLogEntry, "last-of-peer", resp.LastLog)
}

func (n *notes) laneBroken(p *peer, err error) {
	n.logger.Log(firstLoud(p.failures == 0), "failed to appendEntries to", "peer", p.server.ID, "error", err)
}

// firstLoud is the level for failures that repeat: the first one is an error, those that
// follow are details.
func firstLoud(first bool) hclog.Level {
	if first {
		return hclog.Error
	}
	return hclog.Debug
}

func (n *notes) heartbeatFailed(p *peer, err error) {
	n.logger.Log(firstLoud(!p.silent), "failed to heartbeat to", "peer", p.server.Address, "error", err)
	n.observe(FailedHeartbeatObservation{PeerID: p.server.ID, LastContact: p.contact})
}

func (n *notes) heartbeatResumed(p *peer) {
	n.observe(ResumedHeartbeatObservation{PeerID: p.server.ID})
}

// contact reports how long a voter has been silent, at a check of the lease.
func (n *notes) contact(id ServerID, silence, lease time.Duration) {
	metrics.AddSample([]string{"raft", "leader", "lastContact"}, float32(silence/time.Millisecond))
	switch {
	case silence > 3*lease:
		n.logger.Debug("failed to contact", "server-id", id, "time", silence)
	case silence > lease:
		n.logger.Warn("failed to contact", "server-id", id, "time", silence)
	}
}

func (n *notes) leaseLost() {
	n.logger.Warn("failed to contact quorum of nodes, stepping down")
	metrics.IncrCounter([]string{"raft", "transition", "leader_lease_timeout"}, 1)
}

func (n *notes) storeFailed(err error) {
	n.logger.Error("the log store failed; this node takes part again when it works", "error", err)
	metrics.IncrCounter([]string{"raft", "store", "failed"}, 1)
}

func (n *notes) unreadable(err error, first bool) {
	n.logger.Log(firstLoud(first), "the log store failed to read a committed entry; it is tried again", "error", err)
	metrics.IncrCounter([]string{"raft", "store", "unreadable"}, 1)
}

func (n *notes) storeRecovered() { n.logger.Info("the log store works again") }

func (n *notes) storeHung(age time.Duration) {
	n.logger.Error("a write to the stores hangs, stepping down", "age", age)
	metrics.IncrCounter([]string{"raft", "store", "hung"}, 1)
}

func (n *notes) stopped(err error) { n.logger.Error("raft stops", "error", err) }

func (n *notes) compacting(from, to uint64) {
	n.logger.Info("compacting logs", "from", from+1, "to", to)
}

func (n *notes) snapshotStarted(index uint64) {
	n.logger.Info("starting snapshot up to", "index", index)
}

func (n *notes) snapshotComplete(index uint64) {
	n.logger.Info("snapshot complete up to", "index", index)
}

func (n *notes) snapshotFailed(err error) {
	if err != ErrNothingNewToSnapshot {
		n.logger.Error("failed to take snapshot", "error", err)
	}
}

func (n *notes) snapshotNotWanted(id, base entryID, applied uint64) {
	n.logger.Info("ignoring a snapshot that is not newer than what is here", "snapshot", id.String(),
		"base", base.String(), "applied", applied)
}

func (n *notes) intakeFailed(id entryID, err error) {
	n.logger.Error("failed to receive snapshot", "snapshot", id.String(), "error", err)
}

func (n *notes) installFailed(p *peer, err error) {
	n.logger.Log(firstLoud(p.failures == 0), "failed to install snapshot", "peer", p.server.ID, "error", err)
}

func (n *notes) restoreFailed(id entryID, err error) {
	n.logger.Error("the FSM failed to restore a snapshot; nothing more is applied until one succeeds",
		"snapshot", id.String(), "error", err)
	metrics.IncrCounter([]string{"raft", "fsm", "restoreFailed"}, 1)
}

func (n *notes) userRestored(index uint64, start time.Time) {
	n.logger.Info("restored user snapshot", "index", index)
	metrics.MeasureSince([]string{"raft", "restoreUserSnapshot"}, start)
}
