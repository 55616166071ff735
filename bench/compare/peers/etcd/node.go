package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

const (
	tick          = 100 * time.Millisecond
	electionTicks = 10
	trailing      = 5000 // entries kept in memory behind the last one applied, as in etcd
)

var errDeposed = errors.New("the node no longer leads")

// A node is one member of the cluster: raft, its log, its connections and its state
// machine. Raft and the state machine belong to the goroutine of run.
type node struct {
	id       uint64
	listener net.Listener
	disk     *disk
	links    map[uint64]*link
	conns    []net.Conn
	machine  *load.Machine

	inbox     *mailbox[raftpb.Message]
	proposals *mailbox[raftpb.Entry]
	calls     *calls
	leads     chan struct{} // closed when the node has become the leader

	stopping chan struct{}
	running  sync.WaitGroup

	// Owned by run.
	raft      *raft.RawNode
	state     raft.StateType
	saving    uint64 // index of the last entry handed to disk
	saved     uint64 // index of the last entry that disk has saved
	compacted uint64
}

// newNode makes member id of a cluster of so many, with an empty log below dir, and
// listens.
func newNode(dir string, id, members uint64) (*node, error) {
	n := &node{
		id:        id,
		links:     make(map[uint64]*link),
		machine:   load.NewMachine(),
		inbox:     newMailbox[raftpb.Message](),
		proposals: newMailbox[raftpb.Entry](),
		calls:     newCalls(),
		leads:     make(chan struct{}),
		stopping:  make(chan struct{}),
	}
	start := beginning(members)
	var err error
	if n.disk, err = createDisk(filepath.Join(dir, fmt.Sprintf("node-%d", id)), start, n.send); err != nil {
		return nil, err
	}
	if n.raft, err = raft.NewRawNode(n.config(start.Metadata.Index)); err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	n.compacted = start.Metadata.Index
	if n.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("node %d: %w", id, err)
	}
	return n, nil
}

// beginning is the snapshot that all logs begin behind: it has the members.
func beginning(members uint64) raftpb.Snapshot {
	s := raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{Index: 1, Term: 1}}
	for id := uint64(1); id <= members; id++ {
		s.Metadata.ConfState.Voters = append(s.Metadata.ConfState.Voters, id)
	}
	return s
}

func (n *node) config(applied uint64) *raft.Config {
	return &raft.Config{
		ID:              n.id,
		ElectionTick:    electionTicks,
		HeartbeatTick:   1,
		Storage:         n.disk.memory,
		Applied:         applied,
		MaxSizePerMsg:   1 << 20,
		MaxInflightMsgs: 256,
		CheckQuorum:     true,
		PreVote:         true,
		// So that nothing waits for a flush but what must: a leader sends, counts
		// acknowledgements and applies meanwhile.
		AsyncStorageWrites:        true,
		DisableProposalForwarding: true,
		Logger:                    &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	}
}

func (n *node) address() string { return n.listener.Addr().String() }

// connect connects the node to the others, whose addresses are by id.
func (n *node) connect(addresses map[uint64]string) error {
	for id, address := range addresses {
		if id == n.id {
			continue
		}
		l, err := dial(address)
		if err != nil {
			return fmt.Errorf("node %d: %w", n.id, err)
		}
		n.links[id] = l
		n.conns = append(n.conns, l.conn)
	}
	return nil
}

// start runs the node. It waits until all others have connected themselves to it.
func (n *node) start() error {
	for _, l := range n.links {
		conn, err := n.listener.Accept()
		if err != nil {
			return fmt.Errorf("node %d: %w", n.id, err)
		}
		n.conns = append(n.conns, conn)
		n.spawn(func() error { return receive(conn, n.inbox) })
		n.spawn(func() error { return l.run(n.stopping) })
	}
	n.spawn(func() error { return n.disk.run(n.stopping) })
	n.spawn(n.run)
	return nil
}

// spawn runs a part of the node. If it fails, so do all calls.
func (n *node) spawn(part func() error) {
	n.running.Go(func() {
		err := part()
		select {
		case <-n.stopping:
			return
		default:
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "node %d: %v\n", n.id, err)
			n.calls.fail(err)
		}
	})
}

// stop ends all that the node runs. No call may be under way.
func (n *node) stop() error {
	n.rest()
	return n.close()
}

// rest lets the node send nothing more, so that the others may end.
func (n *node) rest() { close(n.stopping) }

// close ends the node, which rests.
func (n *node) close() error {
	n.listener.Close()
	for _, conn := range n.conns {
		conn.Close()
	}
	n.running.Wait()
	return n.disk.close()
}

// call has command applied by this node, which must lead.
func (n *node) call(command []byte) error {
	data, outcome := n.calls.begin(command)
	n.proposals.put(raftpb.Entry{Data: data})
	return n.calls.await(outcome)
}

// run is raft's loop: it does what raft wants done, waits, and then tells raft all that
// has come, in one go.
func (n *node) run() error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var (
		messages  []raftpb.Message
		proposals []raftpb.Entry
	)
	for {
		for n.raft.HasReady() {
			if err := n.handle(n.raft.Ready()); err != nil {
				return err
			}
		}
		select {
		case <-n.stopping:
			return nil
		case <-ticker.C:
			n.raft.Tick()
		case <-n.inbox.ready:
		case <-n.proposals.ready:
		}
		messages = n.inbox.take(messages)
		if err := n.step(messages); err != nil {
			return err
		}
		if n.saved < n.saving {
			// What is proposed during a flush shares the next one, and its messages.
			// To send it at once only makes more messages of it.
			continue
		}
		proposals = n.proposals.take(proposals)
		if err := n.propose(proposals); err != nil {
			return err
		}
	}
}

func (n *node) step(messages []raftpb.Message) error {
	for _, m := range messages {
		if m.Type == raftpb.MsgStorageAppendResp {
			n.saved = m.Index
		}
		if err := n.raft.Step(m); err != nil {
			return fmt.Errorf("message %v of %d: %w", m.Type, m.From, err)
		}
	}
	return nil
}

// propose has all entries appended in one step. Raft copies them.
func (n *node) propose(entries []raftpb.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	err := n.raft.Step(raftpb.Message{Type: raftpb.MsgProp, From: n.id, Entries: entries})
	if err != nil { // only a leader accepts any
		return fmt.Errorf("%w: %w", errDeposed, err)
	}
	return nil
}

func (n *node) handle(ready raft.Ready) error {
	if ready.SoftState != nil {
		if err := n.become(ready.SoftState.RaftState); err != nil {
			return err
		}
	}
	for _, m := range ready.Messages {
		if m.To == raft.LocalApplyThread {
			if err := n.apply(m); err != nil {
				return err
			}
			continue
		}
		if m.To == raft.LocalAppendThread && len(m.Entries) > 0 {
			n.saving = last(m.Entries)
		}
		n.send(m)
	}
	return nil
}

// send hands messages over to whom they are for. Any goroutine may call it.
func (n *node) send(messages ...raftpb.Message) {
	for _, m := range messages {
		switch m.To {
		case raft.LocalAppendThread:
			n.disk.appends.put(m)
		case n.id:
			n.inbox.put(m)
		default:
			n.links[m.To].queue.put(m)
		}
	}
}

// become notes what raft has become. A cluster whose leader changes under load is not
// what is to be measured.
func (n *node) become(state raft.StateType) error {
	was := n.state
	n.state = state
	switch {
	case was == state:
	case state == raft.StateLeader:
		close(n.leads)
	case was == raft.StateLeader:
		return errDeposed
	}
	return nil
}

// apply applies committed entries. It is cheap enough to be done in raft's goroutine.
func (n *node) apply(m raftpb.Message) error {
	for i := range m.Entries {
		if data := m.Entries[i].Data; len(data) > 0 { // not what a leader begins its term with
			n.machine.Apply(data[idSize:])
		}
	}
	n.calls.finish(m.Entries)
	if err := n.step(m.Responses); err != nil {
		return err
	}
	return n.compact(last(m.Entries))
}

// last returns the index of the last of entries.
func last(entries []raftpb.Entry) uint64 { return entries[len(entries)-1].Index }

// compact forgets entries in memory that were applied, if they have become many, but
// none that a follower lacks.
func (n *node) compact(applied uint64) error {
	if applied < n.compacted+2*trailing {
		return nil
	}
	to := applied - trailing
	if n.state == raft.StateLeader {
		n.raft.WithProgress(func(_ uint64, _ raft.ProgressType, pr tracker.Progress) {
			to = min(to, pr.Match)
		})
	}
	if to <= n.compacted {
		return nil
	}
	n.compacted = to
	if err := n.disk.memory.Compact(to); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}
