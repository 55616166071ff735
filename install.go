package raft

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
)

// This file is the leader's side of installing a snapshot on a follower that needs
// entries which have been compacted (§7).

// install is a snapshot on its way to a peer.
type install struct {
	peer *peer // main's; the goroutine hands it back, and knows its metrics
	lead *leadership
	to   Server
	sent time.Time
	upTo uint64 // the newest snapshot that belongs to this log
}

// installResult is the event of a finished or failed install.
type installResult struct {
	install *install
	meta    *SnapshotMeta
	resp    *InstallSnapshotResponse
	err     error
}

var (
	errNoSnapshot  = errors.New("no snapshot available")
	errNoSnapshots = errors.New("no snapshots found")
)

// startInstall sends a peer the newest snapshot, unless that is under way. Nothing
// more of the log is compacted until the peer has caught up, or the install failed.
func (r *Raft) startInstall(p *peer) {
	if p.install != nil {
		return
	}
	if r.log.snap.index <= p.progress.match {
		// It would take the peer back, if that is one of hashicorp/raft (H14).
		p.progress.restart(r.log.last.index)
		r.backOff(p, r.conf().HeartbeatTimeout)
		return
	}
	p.pinned = true
	p.install = &install{peer: p, lead: r.lead, to: p.server, sent: r.now, upTo: r.log.snap.index}
	r.out.sendSnapshot(p.install)
}

// handleInstallResult deals with the answer to an InstallSnapshot.
func (r *Raft) handleInstallResult(e installResult) {
	if e.err == nil && r.deposedBy(e.resp.Term) {
		return
	}
	p := e.install.peer
	if r.lead == nil || r.lead != e.install.lead || p.install != e.install {
		return // of an earlier session (R6)
	}
	p.install = nil
	if err := r.checkInstalled(p, e); err != nil {
		r.note.installFailed(p, err)
		r.backOff(p, r.conf().HeartbeatTimeout) // a whole snapshot may have gone for nothing
		p.pinned = false
		r.compactLog()
		return
	}
	r.heardFrom(p, e.install.sent, 0)
	p.failures, p.installed = 0, e.meta.Index
	p.progress.installed(e.meta.Index)
	r.unpin(p)
}

// checkInstalled says why an install was of no use, nil if it was. A peer that refuses a
// snapshot may need one of our term.
func (r *Raft) checkInstalled(p *peer, e installResult) error {
	switch {
	case e.err != nil:
		return e.err
	case !e.resp.Success || e.resp.Term != r.lead.term:
		r.taking.wanted = r.taking.wanted || e.meta.Term < r.lead.term
		return fmt.Errorf("%v refused the snapshot %v", e.install.to.ID, e.meta.ID)
	case e.meta.Index < r.log.floor.index:
		return fmt.Errorf("the snapshot %v does not reach the log, which begins at %d", e.meta.ID, r.log.floor.index)
	case e.meta.Index == p.installed:
		p.installed = 0
		return fmt.Errorf("%v has the snapshot %v already, and still refuses what follows it", e.install.to.ID, e.meta.ID)
	default:
		return nil
	}
}

// unpin lets the log be compacted again once a peer has caught up with the snapshot.
func (r *Raft) unpin(p *peer) {
	if !p.pinned || p.progress.match < r.log.snap.index {
		return
	}
	p.pinned = false
	r.compactLog()
}

// pinBudget bounds the log that is kept for pinned peers, in entries beyond
// TrailingLogs: a peer that never catches up must not fill the disk.
const pinBudget = 1 << 20

// logPin is up to where the log may be compacted for the peers' sake: from when one is
// sent a snapshot until it has caught up, the log stays as it is, within the budget. Else
// the peer would need another snapshot when it has that one (P1).
func (r *Raft) logPin() uint64 {
	if r.lead == nil {
		return r.log.snap.index
	}
	for _, p := range r.lead.peers {
		if p.pinned && r.log.last.index-r.log.floor.index < pinBudget+r.conf().TrailingLogs {
			return r.log.floor.index
		}
	}
	return r.log.snap.index
}

// runInstall sends the newest good snapshot and reports the answer.
func (r *Raft) runInstall(in *install) {
	e := installResult{install: in, resp: new(InstallSnapshotResponse)}
	e.meta, e.err = r.sendNewest(in, e.resp)
	r.report(e)
}

// sendNewest tries again at once if a snapshot proves to be damaged on the way: an older
// one may need the log that is kept for the peer until the install has failed.
func (r *Raft) sendNewest(in *install, resp *InstallSnapshotResponse) (*SnapshotMeta, error) {
	for {
		meta, source, err := openNewest(r.snaps, in.upTo, r.logger)
		if err != nil {
			return nil, err
		}
		err = r.sendOpened(in, meta, source, resp)
		if err == nil {
			return meta, nil
		}
		if !foundDamaged(source) {
			return nil, err
		}
		r.logger.Error("failed to send a damaged snapshot, trying again", "peer", in.to.ID, "error", err)
	}
}

func (r *Raft) sendOpened(in *install, meta *SnapshotMeta, source io.ReadCloser, resp *InstallSnapshotResponse) error {
	defer source.Close()
	r.logger.Info("installing snapshot on", "peer", in.to.ID, "id", meta.ID, "size", meta.Size)
	start := time.Now()
	req := installRequest(r.header, in.lead.term, meta)
	data := &cancelReader{source, in.lead.over, r.stopping}
	if err := r.trans.InstallSnapshot(in.to.ID, in.to.Address, req, resp, data); err != nil {
		return fmt.Errorf("failed to install snapshot %v: %w", meta.ID, err)
	}
	in.peer.metrics.install.since(start)
	return nil
}

func installRequest(h RPCHeader, term uint64, meta *SnapshotMeta) *InstallSnapshotRequest {
	return &InstallSnapshotRequest{
		RPCHeader: h, SnapshotVersion: meta.Version,
		Term: term, Leader: h.Addr,
		LastLogIndex: meta.Index, LastLogTerm: meta.Term,
		Peers:              meta.Peers,
		Configuration:      EncodeConfiguration(meta.Configuration),
		ConfigurationIndex: meta.ConfigurationIndex,
		Size:               meta.Size,
	}
}

// cancelReader ends a transfer with the leadership that started it.
type cancelReader struct {
	io.Reader
	over     <-chan struct{}
	stopping <-chan struct{}
}

func (c *cancelReader) Read(b []byte) (int, error) {
	select {
	case <-c.over:
		return 0, ErrLeadershipLost
	case <-c.stopping:
		return 0, ErrRaftShutdown
	default:
		return c.Reader.Read(b)
	}
}

// openNewest opens the newest snapshot through an index that can be opened. Others are
// reported. What lies above was received or restored and given up since.
func openNewest(snaps SnapshotStore, upTo uint64, logger hclog.Logger) (*SnapshotMeta, io.ReadCloser, error) {
	list, err := snaps.List()
	if err != nil {
		return nil, nil, fmt.Errorf("failed to list snapshots: %w", err)
	}
	err = errNoSnapshots
	for _, listed := range list {
		if listed.Index > upTo {
			continue
		}
		var meta *SnapshotMeta
		var source io.ReadCloser
		if meta, source, err = openStream(snaps, listed.ID); err == nil {
			return meta, source, nil
		}
		logger.Error("failed to open snapshot, trying an older one", "id", listed.ID, "error", err)
	}
	return nil, nil, fmt.Errorf("failed to open a snapshot: %w", err)
}
