// Package raft replicates a log among a few servers with the Raft protocol and
// drives a user's state machine with it.
//
// It has the API, the wire protocol and the file formats of hashicorp/raft v1.8.0 and
// is an independent implementation: see docs/compatibility.md for what is the same and
// what differs on purpose.
//
// # Model
//
// A cluster is a set of servers, each with a log of entries. One server is the leader
// of a term; clients propose commands to it with [Raft.Apply]. An entry is committed
// when a majority of the voters has it on disk; then every server applies it, in log
// order, to its state machine, the [FSM]. A committed entry is never lost as long as a
// majority of the voters keep their disks. If the leader dies another one is elected.
//
// # Starting
//
// A service implements [FSM] and gives [NewRaft] the parts to work with:
//
//   - a [LogStore] and a [StableStore], usually a raftboltdb.BoltStore for both;
//   - a [SnapshotStore], usually a [FileSnapshotStore];
//   - a [Transport], usually from [NewTCPTransport].
//
// A new cluster is bootstrapped once, with [BootstrapCluster] on its first servers;
// more are added with [Raft.AddVoter]. The example of the package is a whole program.
//
// # Reading
//
// A read of the local FSM may be stale on any server. It is linearizable after
// [Raft.ReadIndex] (or [Raft.VerifyLeader]) has returned on the leader: that asks a
// majority whether this server still leads, in one round of heartbeats which all reads
// that wait share, and waits until what was committed before has been applied. With
// [Config].LeaseReads, if clocks can be relied on, ReadIndex need not ask anyone.
//
// # Life of a write
//
//  1. Apply puts the command into a queue. Main, the goroutine that decides, takes all
//     that waits as one batch and gives the entries their indexes.
//  2. The batch goes to the writer, which makes it durable on this server, and at the
//     same time to a lane for each other server: this server's disk is one more follower.
//  3. A follower checks that its log joins, stores everything that came in during its
//     last write with one flush, and answers when it is durable.
//  4. When a majority has it, the commit index advances; the FSM runner applies what is
//     committed and durable here; the futures complete.
//
// # Who owns what
//
//	goroutine         owns                                        others see it by
//	main              role, term, vote, leader, view of the log,  an immutable status, published
//	                  commit index, configurations, leadership    in each step
//	writer            writes to LogStore and StableStore          finished batches
//	FSM runner        the FSM, last applied index and term        an atomic index
//	lane, beat loop   a session of requests to one server         answers, as events
//	snapshot workers  a snapshot taken, sent, received, restored  a finished snapshot, as an event
//	notifier          queues of NotifyCh, LeaderCh, observers     the channels
//
// Main has one blocking point and hands work only to goroutines that have room for it,
// so it never waits for a disk, a server, an FSM or a listener. Time enters a step as one
// value; so tests can step nodes by hand, and simulate clusters that replay exactly.
//
// # Rules
//
// Comments name the rules that keep the protocol safe as R1 to R19. In short:
//
//	R1   a vote, and a request for one, leaves only when term, vote and log are on disk
//	R2   term, role, leader and vote change in become and setVote only
//	R3   a follower commits, and a leader names, no more than the request vouches for
//	R4   what counts is durable, on the leader too
//	R5   a leader commits by counting entries of its own term
//	R6   an answer counts in the term and session of its request, and only if it agrees
//	R7   a higher term makes a follower of any server that sees it
//	R8   one uncommitted configuration at a time, the first of a term after its no-op
//	R9   membership refuses a vote only to a candidate with nothing new in its log
//	R10  a log is contiguous with its snapshot; what is not verified is not used
//	R11  a snapshot of what is here already changes nothing
//	R12  TimeoutNow is obeyed by a voter, from its leader
//	R13  quorums are of voters
//	R14  a read counts answers to requests sent after it
//	R15  every future completes once, with success only for what was committed
//	R16  a storage failure is never silent, and what was not acknowledged not counted
//	R17  nothing from the network crashes or bloats the process
//	R18  what exists only while leading dies with the leadership
//	R19  hard state, reset, truncation, then entries; the FSM gets what is durable
//
// docs/architecture.md states them in full.
package raft
