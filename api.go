package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft/internal/metrics"
)

// This file turns calls into events and futures, and reads what main has published.
// It decides nothing.

// NewRaft starts a node on what its stores hold.
//
// It validates conf, reads the term, the log and the newest good snapshot, gives that
// snapshot to fsm.Restore (unless conf.NoSnapshotRestoreOnStart), and starts the
// node's goroutines. With conf.RestoreCommittedLogs it returns when the entries that
// are known to be committed have been applied; otherwise the FSM gets them later, when
// a leader is known.
//
// It fails if the stores fail, if there are snapshots and none can be restored, or if
// the log does not join the snapshot. A server without any state starts as a follower
// and waits to be bootstrapped (see [BootstrapCluster]) or added to a cluster.
//
// The node owns the stores and the transport until Shutdown has completed.
func NewRaft(conf *Config, fsm FSM, logs LogStore, stable StableStore, snaps SnapshotStore, trans Transport) (*Raft, error) {
	r, err := newRaft(conf, fsm, logs, stable, snaps, trans)
	if err != nil {
		return nil, err
	}
	restore := r.commit
	r.start()
	if r.RestoreCommittedLogs {
		if err := r.WaitApplied(context.Background(), restore); err != nil {
			return nil, fmt.Errorf("failed to restore committed logs: %w", errors.Join(err, r.failure))
		}
	}
	return r, nil
}

// start starts the goroutines of a node at rest.
func (r *Raft) start() {
	r.spawn, r.out = r.workers.Go, dialer{r}
	r.deliver = func(e interface{}) { r.report(e) }
	r.begin(time.Now())
	r.timerAt = r.nextDeadline()
	r.timer = time.NewTimer(time.Until(r.timerAt))
	r.busy.name = "main"
	r.workers.Go(func() { r.writer.run(r.report, r.stopping) })
	r.workers.Go(func() { r.fsm.run(r.report) })
	r.flush()
	r.trans.SetHeartbeatHandler(r.handleHeartbeat)
	r.workers.Go(r.run)
}

// newRaft returns a node at rest: without goroutines, timers or messages under way.
// Tests step it by hand.
func newRaft(conf *Config, fsm FSM, logs LogStore, stable StableStore, snaps SnapshotStore, trans Transport) (*Raft, error) {
	if err := ValidateConfig(conf); err != nil {
		return nil, err
	}
	logger := conf.logger()
	own := *conf
	addr := trans.LocalAddr()
	if own.ProtocolVersion < 3 && string(own.LocalID) != string(addr) {
		return nil, errors.New("when running with ProtocolVersion < 3, LocalID must be set to the network address")
	}
	r := &Raft{
		RestoreCommittedLogs: own.RestoreCommittedLogs,
		localID:              own.LocalID, localAddr: addr, protocol: own.ProtocolVersion,
		header: RPCHeader{own.ProtocolVersion, []byte(own.LocalID), trans.EncodePeer(own.LocalID, addr)},
		logs:   logs, stable: stable, snaps: snaps, trans: trans,
		logger: logger, notifier: newNotifier(own.NotifyCh), window: pipelineWindow(trans),
		proposals:    newProposalQueue(),
		readers:      newReadQueue(),
		knowsPreVote: map[ServerID]uint64{},
		calls:        make(chan interface{}),
		results:      make(chan interface{}),
		stopping:     make(chan struct{}),
		ended:        make(chan struct{}),
		finished:     make(chan struct{}),
		rng:          rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	r.note = &notes{r, logger, r.notifier, !own.NoLegacyTelemetry}
	r.config.Store(&own)
	r.seen = &own
	r.choosePreVote()
	if err := r.load(fsm); err != nil {
		return nil, err
	}
	r.publish()
	latest := r.configs.latest()
	logger.Info("initial configuration", "index", latest.index, "servers", fmt.Sprintf("%+v", latest.config.Servers))
	return r, nil
}

// begin starts the clocks of a node at rest.
func (r *Raft) begin(now time.Time) {
	r.beginStep(now)
	r.setPatience()
	r.electionAt = now.Add(r.patience)
	if voters := r.configs.latest().config.voters(); len(voters) == 1 && voters[0] == r.localID {
		r.electionAt = now // there is nobody to wait for
	}
	if r.longest > 0 {
		r.promised = now.Add(r.longest) // perhaps, just before the crash
	}
	r.taking.due = now.Add(r.random(r.conf().SnapshotInterval))
	r.gaugesAt = now.Add(gaugeInterval)
}

// choosePreVote turns pre-vote off for a transport that does not know it.
func (r *Raft) choosePreVote() {
	var ok bool
	if r.preVoter, ok = r.trans.(WithPreVote); !ok && !r.conf().PreVoteDisabled {
		r.logger.Warn("pre-vote is disabled because the transport does not support it")
	}
}

// pipelineWindow is how many requests to one follower may be unanswered.
func pipelineWindow(trans Transport) int {
	if t, ok := trans.(interface{ maxRPCsInFlight() int }); ok {
		return max(1, t.maxRPCsInFlight())
	}
	return defaultWindow
}

// load reads what the stores hold.
func (r *Raft) load(fsm FSM) error {
	hard, err := loadHardState(r.stable)
	if err != nil {
		return err
	}
	r.hard = hard
	if r.longest, err = loadPromise(r.stable); err != nil {
		return err
	}
	tracker, err := r.commitTracker()
	if err != nil {
		return err
	}
	r.writer = newWriter(r.logs, r.stable, tracker)
	r.fsm = newFSMRunner(fsm, r.logs, r.snaps)
	r.fsm.trans, r.fsm.logger, r.fsm.note = r.trans, r.logger, r.note
	r.fsm.maxBatch, r.fsm.protocol, r.fsm.stopping = r.conf().MaxAppendEntries, r.protocol, r.stopping
	base, err := r.loadSnapshot(fsm)
	if err != nil {
		return err
	}
	return r.loadLog(base, tracker)
}

// commitTracker returns the log store's commit tracking, if it is asked for.
func (r *Raft) commitTracker() (CommitTrackingLogStore, error) {
	if !r.RestoreCommittedLogs {
		return nil, nil
	}
	t, ok := commitTracker(r.logs)
	if !ok {
		return nil, ErrIncompatibleLogStore
	}
	return t, nil
}

// loadSnapshot restores the newest good snapshot and makes it the log's base.
func (r *Raft) loadSnapshot(fsm FSM) (base configEntry, err error) {
	meta, err := usableSnapshot(r.snaps, r.logger, func(meta *SnapshotMeta, rc io.ReadCloser) error {
		if r.conf().NoSnapshotRestoreOnStart {
			return nil
		}
		return restoreFSM(fsm, meta, rc, r.logger)
	})
	if err != nil || meta == nil {
		return configEntry{}, err
	}
	base, err = snapshotConfiguration(meta, r.trans)
	if err != nil {
		return configEntry{}, err
	}
	r.log.reset(entryID{meta.Index, meta.Term})
	r.logger.Info("restored from snapshot", "id", meta.ID, "index", meta.Index, "term", meta.Term)
	return base, nil
}

// loadLog reads the log above the snapshot.
func (r *Raft) loadLog(base configEntry, tracker CommitTrackingLogStore) error {
	snap := r.log.snap
	loaded, err := openLog(r.logs, snap, r.writer.monotonic, r.trans)
	if err != nil {
		return err
	}
	r.log = loaded.raftLog
	r.configs = newConfigurations(base)
	for _, c := range loaded.configs {
		r.configs.append(c)
	}
	if loaded.stale {
		r.logger.Warn("the log store holds entries that do not belong to the snapshot; they will be deleted", "snapshot", snap.String())
		r.writer.resetTo(snap)
	}
	if r.log.last.term > r.hard.term {
		// Only a crash between the writes of older versions leaves this.
		r.setHard(hardState{term: r.log.last.term})
	}
	r.commit = snap.index
	if tracker != nil {
		commit, err := tracker.GetCommitIndex()
		if err != nil {
			return fmt.Errorf("failed to get commit index: %w", err)
		}
		r.commit = max(snap.index, min(commit, r.log.last.index))
	}
	r.work.applying = snap.index
	r.fsm.last = snap
	r.fsm.applied.Store(snap.index)
	return nil
}

// Apply replicates cmd and applies it to the FSMs of the cluster, in log order.
// It works on the leader.
//
// Apply returns at once unless the leader is saturated; it then waits up to timeout
// (forever if timeout is 0) and fails with [ErrEnqueueTimeout]. The timeout does not
// cover replication: wait for the future for that.
//
// The future's Error is
//
//   - nil once the FSM on this node has applied cmd; Response is then what it returned;
//   - [ErrNotLeader], [ErrLeadershipTransferInProgress], [ErrEnqueueTimeout] or
//     [ErrEntryTooLarge] if cmd was not appended: it has no effect;
//   - [ErrLeadershipLost], [ErrAbortedByRestore], or [ErrRaftShutdown] while cmd was
//     under way, if the outcome is unknown: cmd may still be committed, so a retry must
//     be idempotent. A leader whose own store fails steps down, with ErrLeadershipLost;
//   - any other if cmd is committed but could not be applied here, or got no response.
//
// cmd must not be modified afterwards. Apply may be called from any goroutine.
func (r *Raft) Apply(cmd []byte, timeout time.Duration) ApplyFuture {
	return r.ApplyLog(Log{Data: cmd}, timeout)
}

// ApplyLog is [Raft.Apply] for a command with extensions: only Data and Extensions of
// log are used.
func (r *Raft) ApplyLog(log Log, timeout time.Duration) ApplyFuture {
	metrics.IncrCounter(metricApply, 1)
	return r.propose(Log{Type: LogCommand, Data: log.Data, Extensions: log.Extensions}, timeout)
}

// Barrier returns a future that completes when the FSM on this node, the leader, has
// applied everything that was appended before the call. It costs an entry; to read
// what was committed [Raft.ReadIndex] is cheaper. timeout and errors are those of
// [Raft.Apply].
func (r *Raft) Barrier(timeout time.Duration) Future {
	metrics.IncrCounter([]string{"raft", "barrier"}, 1)
	return r.propose(Log{Type: LogBarrier}, timeout)
}

func (r *Raft) propose(l Log, timeout time.Duration) *logFuture {
	if len(l.Data)+len(l.Extensions) > MaxEntrySize {
		return failed(ErrEntryTooLarge)
	}
	f := newLogFuture(l)
	r.proposals.put(f, timeout)
	return f
}

// VerifyLeader returns a future that completes with nil if this node still leads and
// its FSM has applied everything that was committed before the call: a read of the
// local FSM afterwards is linearizable. It costs a round of heartbeats, shared by all
// calls that wait. VerifyLeader itself does not block. The future fails with
// [ErrNotLeader], with [ErrLeadershipLost] when the leadership ends meanwhile, or with
// [ErrRaftShutdown].
func (r *Raft) VerifyLeader() Future {
	metrics.IncrCounter(metricVerifyLeader, 1)
	f := new(verifyFuture)
	f.init()
	r.readers.put(f)
	return f
}

// verifyFuture is the future of a read that asks for the confirmation alone.
type verifyFuture struct{ future }

func (f *verifyFuture) done(_ uint64, err error) { f.respond(err) }

// ReadIndex returns when this node, the leader, has confirmed with a majority of the
// voters that it still leads and its FSM has applied everything that was committed
// before the call; it returns an index that covers all of that. A read of the local
// FSM afterwards is linearizable, and so is one on another server after its
// [Raft.WaitApplied] of that index.
//
// It blocks until then, or until ctx is done. Other errors are [ErrNotLeader],
// [ErrLeadershipLost] and [ErrRaftShutdown]. With Config.LeaseReads the promises of the
// voters take the place of the confirmation, as long as they last, and the call returns at
// once if the FSM is not behind. (§6.4 and §6.4.1 of the dissertation.)
func (r *Raft) ReadIndex(ctx context.Context) (uint64, error) {
	if index, ok := r.leasedIndex(time.Now); ok {
		return index, r.WaitApplied(ctx, index)
	}
	c := make(readIndexCall, 1)
	r.readers.put(c)
	select {
	case res := <-c:
		return res.index, res.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// readIndexCall has room for the one result.
type readIndexCall chan readIndexResult

type readIndexResult struct {
	index uint64
	err   error
}

func (c readIndexCall) done(index uint64, err error) { c <- readIndexResult{index, err} }

// WaitApplied returns when the FSM on this node, whatever its role, has applied the
// entry at index. It blocks until then, until ctx is done, or until the node is shut
// down ([ErrRaftShutdown]).
func (r *Raft) WaitApplied(ctx context.Context, index uint64) error {
	if r.applied() >= index {
		return nil
	}
	c := r.fsm.waiters.add(index, &r.fsm.applied)
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		r.fsm.waiters.remove(c)
		return ctx.Err()
	}
}

// submit hands a call to main, or fails it if the node has ended.
func (r *Raft) submit(call interface{}, fail func(error)) {
	select {
	case r.calls <- call:
	case <-r.ended:
		fail(ErrRaftShutdown)
	}
}

// submitWithin is submit with a limit on the time until main takes the call; none if
// timeout is 0.
func (r *Raft) submitWithin(timeout time.Duration, call interface{}, fail func(error)) {
	var expired <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	select {
	case r.calls <- call:
	case <-expired:
		fail(ErrEnqueueTimeout)
	case <-r.ended:
		fail(ErrRaftShutdown)
	}
}

// AddVoter adds a server as a voter, or gives a server that is known a vote and
// address. It has the vote at once: add it with [Raft.AddNonvoter] first if it has
// much of the log to receive. It works on the leader.
//
// If prevIndex is not 0 the change is made only if the latest configuration is still
// the one at that index. Changes are made one at a time; this one waits for its turn
// up to timeout (if that is 0 ten election timeouts, ten seconds at least) and then
// fails with [ErrEnqueueTimeout]. The configuration is in force when it is appended; the
// future completes when it is committed. Its errors are those of [Raft.Apply],
// [ErrUnsupportedProtocol] below the protocol version that has the call, and one that
// says why the change is refused.
func (r *Raft) AddVoter(id ServerID, address ServerAddress, prevIndex uint64, timeout time.Duration) IndexFuture {
	return r.change(2, membershipChange{AddVoter, id, address, prevIndex}, timeout)
}

// AddNonvoter adds a server that receives the log and has no vote. A voter keeps its
// vote, but gets the address. See [Raft.AddVoter] for the rest.
func (r *Raft) AddNonvoter(id ServerID, address ServerAddress, prevIndex uint64, timeout time.Duration) IndexFuture {
	return r.change(3, membershipChange{AddNonvoter, id, address, prevIndex}, timeout)
}

// DemoteVoter takes a server's vote away. A leader that demotes itself leads until the
// change is committed and then becomes a follower. See [Raft.AddVoter] for the rest.
func (r *Raft) DemoteVoter(id ServerID, prevIndex uint64, timeout time.Duration) IndexFuture {
	return r.change(3, membershipChange{DemoteVoter, id, "", prevIndex}, timeout)
}

// RemoveServer removes a server. A leader that removes itself leads until the change is
// committed, and then shuts down or becomes a follower, see Config.ShutdownOnRemove. See
// [Raft.AddVoter] for the rest.
func (r *Raft) RemoveServer(id ServerID, prevIndex uint64, timeout time.Duration) IndexFuture {
	return r.change(2, membershipChange{RemoveServer, id, "", prevIndex}, timeout)
}

// AddPeer adds a voter whose ID is its address.
//
// Deprecated: use [Raft.AddVoter]; this works with protocol versions 1 and 2 only.
func (r *Raft) AddPeer(peer ServerAddress) Future {
	if r.protocol > 2 {
		return failed(ErrUnsupportedProtocol)
	}
	return r.change(0, membershipChange{AddVoter, ServerID(peer), peer, 0}, 0)
}

// RemovePeer removes a server whose ID is its address.
//
// Deprecated: use [Raft.RemoveServer]; this works with protocol versions 1 and 2 only.
func (r *Raft) RemovePeer(peer ServerAddress) Future {
	if r.protocol > 2 {
		return failed(ErrUnsupportedProtocol)
	}
	return r.change(0, membershipChange{RemoveServer, ServerID(peer), "", 0}, 0)
}

// change submits a membership change that needs a protocol version.
func (r *Raft) change(version ProtocolVersion, c membershipChange, timeout time.Duration) *logFuture {
	if r.protocol < version {
		return failed(ErrUnsupportedProtocol)
	}
	f := newLogFuture(Log{})
	r.submitWithin(timeout, &membershipCall{change: c, future: f, timeout: timeout}, f.respond)
	return f
}

// GetConfiguration returns the latest configuration on this node, which may not be
// committed yet, and its index. It works in any state and does not block.
func (r *Raft) GetConfiguration() ConfigurationFuture {
	return &configurationFuture{r.status().latest}
}

type configurationFuture struct{ latest configEntry }

func (f *configurationFuture) Error() error                 { return nil }
func (f *configurationFuture) Index() uint64                { return f.latest.index }
func (f *configurationFuture) Configuration() Configuration { return f.latest.config.Clone() }

// BootstrapCluster makes configuration the first entry of this server's empty log, as
// the function of the same name does before a start. It works on a follower without
// state, which must be a voter in it ([ErrNotVoter]); otherwise it fails with
// [ErrCantBootstrap].
func (r *Raft) BootstrapCluster(configuration Configuration) Future {
	f := newFuture()
	r.submit(&bootstrapCall{configuration.Clone(), f}, f.respond)
	return f
}

// LeadershipTransfer hands leadership to the other voter that has most of the log. Meanwhile
// proposals and changes are refused with [ErrLeadershipTransferInProgress].
//
// The future's Error is nil once that server is known to lead. If it does not within
// Config.ElectionTimeout, or another server wins, there is an error; this node may or
// may not lead on then.
func (r *Raft) LeadershipTransfer() Future {
	if r.protocol < 3 {
		return failed(ErrUnsupportedProtocol)
	}
	return r.transfer(transferCall{})
}

// LeadershipTransferToServer is [Raft.LeadershipTransfer] to a server of choice, which
// must be a voter and not this one.
func (r *Raft) LeadershipTransferToServer(id ServerID, address ServerAddress) Future {
	switch {
	case r.protocol < 3:
		return failed(ErrUnsupportedProtocol)
	case id == r.localID:
		r.logger.Error("cannot transfer leadership to itself")
		return failed(errTransferSelf)
	}
	return r.transfer(transferCall{id: &id, address: address})
}

// transferCall asks for a leadership transfer.
type transferCall struct {
	id      *ServerID // nil: to anyone
	address ServerAddress
	future  *future
}

func (r *Raft) transfer(c transferCall) Future {
	f := newFuture()
	c.future = f
	r.submit(c, f.respond)
	return f
}

// Snapshot takes a snapshot of this node's FSM, in any role, and lets go of the log
// that it covers. The future completes when it is stored, with
// [ErrNothingNewToSnapshot] if nothing has been applied since the start.
func (r *Raft) Snapshot() SnapshotFuture {
	f := new(snapshotFuture)
	f.init()
	r.submit(&snapshotCall{f}, f.respond)
	return f
}

// Restore replaces the state of the whole cluster by a snapshot from outside, which is
// read from reader. It works on the leader. Of meta Version, Index and Size are used.
//
// It blocks until a majority of the voters has the state. timeout bounds how long the
// call waits to be taken up, 0 for no bound. Meanwhile new proposals wait; those under
// way that are not committed fail with [ErrAbortedByRestore]. If fsm.Restore fails on the
// snapshot this node stops.
//
// It is an operation for disasters. If it returns an error, or the leader dies before it
// returns, the cluster may end up with either state: this server may come back with the
// restored one, which the next leader then replaces by its own. Call it again, and let
// clients write only after it has returned nil.
func (r *Raft) Restore(meta *SnapshotMeta, reader io.Reader, timeout time.Duration) error {
	metrics.IncrCounter([]string{"raft", "restore"}, 1)
	if meta == nil || reader == nil || meta.Index > maxTerm {
		return fmt.Errorf("cannot restore snapshot %+v from %v", meta, reader)
	}
	u := &userRestore{meta: meta, reader: reader}
	u.future.init()
	r.submitWithin(timeout, u, u.future.respond)
	if err := u.future.Error(); err != nil {
		return err
	}
	return u.noop.Error()
}

// ReloadConfig replaces all reloadable settings. If one of them is wrong it returns the
// error and changes nothing. New timeouts apply from the next time each is used on; a
// shorter HeartbeatTimeout at once, unless a promise (Config.LeaseReads) is to be kept.
func (r *Raft) ReloadConfig(rc ReloadableConfig) error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	old := r.config.Load()
	next := rc.apply(*old)
	if err := ValidateConfig(&next); err != nil {
		return err
	}
	r.config.Store(&next)
	r.submit(reloaded{old}, func(error) {})
	return nil
}

// reloaded is the event of a changed configuration.
type reloaded struct{ old *Config }

// handleReloaded looks at the clocks again that a shorter timeout has made late.
func (r *Raft) handleReloaded(e reloaded) {
	conf := r.conf()
	shorter := conf.HeartbeatTimeout < e.old.HeartbeatTimeout
	switch {
	case r.state == Leader && shorter:
		r.beat()
	case r.state == Follower && shorter:
		r.setPatience()
		r.electionAt = r.now
	case r.state == Candidate && conf.ElectionTimeout != e.old.ElectionTimeout:
		r.electionAt = r.now.Add(r.random(conf.ElectionTimeout))
	}
	if conf.SnapshotInterval != e.old.SnapshotInterval {
		r.taking.due = r.now.Add(r.random(conf.SnapshotInterval))
	}
}

// ReloadableConfig returns the present reloadable settings.
func (r *Raft) ReloadableConfig() ReloadableConfig { return r.config.Load().reloadable() }

// State returns this node's role.
func (r *Raft) State() RaftState { return r.status().state }

// Leader returns the address of the leader that this node knows, empty if none.
//
// Deprecated: use [Raft.LeaderWithID].
func (r *Raft) Leader() ServerAddress { return r.status().leader.addr }

// LeaderWithID returns address and ID of the leader that this node knows, empty if it
// knows none. It may be deposed already.
func (r *Raft) LeaderWithID() (ServerAddress, ServerID) {
	l := r.status().leader
	return l.addr, l.id
}

// LeaderCh returns a channel that receives true when this node becomes the leader, and
// false when it ceases to be. It is the same for all callers and keeps the newest value
// only; Config.NotifyCh gets every change.
func (r *Raft) LeaderCh() <-chan bool { return r.notifier.leaderCh() }

// LastContact returns when this node last heard of a leader, voted, or ceased to lead,
// the zero time if never. It is of no meaning on the leader.
func (r *Raft) LastContact() time.Time { return r.contact.get() }

// CurrentTerm returns the latest term that this node has seen.
func (r *Raft) CurrentTerm() uint64 { return r.status().term }

// LastIndex returns the last index of this node's log, or of its last snapshot.
func (r *Raft) LastIndex() uint64 { return r.status().last.index }

// CommitIndex returns the last index that this node knows to be committed. It may be
// ahead of AppliedIndex.
func (r *Raft) CommitIndex() uint64 { return r.status().commit }

// AppliedIndex returns the last index that the FSM on this node has applied.
func (r *Raft) AppliedIndex() uint64 { return r.applied() }

// String describes the node for logs.
func (r *Raft) String() string {
	return fmt.Sprintf("Node at %s [%v]", r.localAddr, r.State())
}

// RegisterObserver adds an observer of what happens on this node.
func (r *Raft) RegisterObserver(or *Observer) { r.notifier.register(or) }

// DeregisterObserver removes an observer.
func (r *Raft) DeregisterObserver(or *Observer) { r.notifier.deregister(or) }

// Shutdown ends the node: it stops taking part at once and hands nothing over. All
// futures that are pending complete, those of entries under way with
// [ErrLeadershipLost] or [ErrRaftShutdown].
//
// The future's Error closes the transport, waits for the node's goroutines and returns
// nil. It does not wait longer than two seconds for a store or an FSM that hangs: its
// error then names it. Shutdown may be called again, with the same result.
func (r *Raft) Shutdown() Future {
	r.stopOnce.Do(func() { close(r.stopping) })
	return &shutdownFuture{r}
}
