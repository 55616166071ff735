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
	peer *peer // main's; the goroutine only hands it back
	lead *leadership
	to   Server
	sent time.Time
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

// startInstall sends a peer the newest snapshot, unless that is under way. The log
// is kept from here on until the peer has caught up.
func (r *Raft) startInstall(p *peer) {
	if p.install != nil {
		return
	}
	p.pinned = true
	p.install = &install{peer: p, lead: r.lead, to: p.server, sent: r.now}
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
	if e.err == nil && (!e.resp.Success || e.resp.Term != r.lead.term) {
		e.err = fmt.Errorf("%v refused the snapshot", e.install.to.ID)
	}
	if e.err != nil {
		r.note.installFailed(p, e.err)
		r.backOff(p, r.conf().HeartbeatTimeout) // a whole snapshot may have gone for nothing
		return
	}
	r.heardFrom(p, e.install.sent, 0)
	p.failures = 0
	p.progress.installed(e.meta.Index)
	r.unpin(p)
}

// unpin lets the log be compacted again once a peer has caught up with the snapshot.
func (r *Raft) unpin(p *peer) {
	if !p.pinned || p.progress.match < r.log.snap.index {
		return
	}
	p.pinned = false
	r.compactLog()
}

// pinBudget bounds the log that is kept for peers which are receiving a snapshot,
// in entries beyond TrailingLogs: a peer that never catches up must not fill the
// disk.
const pinBudget = 1 << 20

// logPin is up to where the log may be compacted for the peers' sake: as long as a
// snapshot is under way, what follows it is kept, or the peer would need another
// one when it has it (P1).
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

func (r *Raft) sendNewest(in *install, resp *InstallSnapshotResponse) (*SnapshotMeta, error) {
	meta, source, err := openNewest(r.snaps, r.logger)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	r.logger.Info("installing snapshot on", "peer", in.to.ID, "id", meta.ID, "size", meta.Size)
	start := time.Now()
	req := installRequest(r.header, in.lead.term, meta)
	data := &cancelReader{source, in.lead.over, r.stopping}
	if err := r.trans.InstallSnapshot(in.to.ID, in.to.Address, req, resp, data); err != nil {
		return nil, fmt.Errorf("failed to install snapshot %v: %w", meta.ID, err)
	}
	r.note.installTook(in.to.ID, start)
	return meta, nil
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

// openNewest opens the newest snapshot that can be opened. Others are reported.
func openNewest(snaps SnapshotStore, logger hclog.Logger) (*SnapshotMeta, io.ReadCloser, error) {
	list, err := snaps.List()
	if err != nil {
		return nil, nil, fmt.Errorf("failed to list snapshots: %w", err)
	}
	err = errNoSnapshots
	for _, listed := range list {
		var meta *SnapshotMeta
		var source io.ReadCloser
		if meta, source, err = snaps.Open(listed.ID); err == nil {
			return meta, source, nil
		}
		logger.Error("failed to open snapshot, trying an older one", "id", listed.ID, "error", err)
	}
	return nil, nil, fmt.Errorf("failed to open a snapshot: %w", err)
}
