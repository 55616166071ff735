package rafttest

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// Node is one server of a [Cluster]: a Raft while it is up, and a disk that outlives
// it. Start, Stop, Crash, Wipe, Pause and Resume must be called by one goroutine at a
// time, all else may be called by any.
type Node struct {
	// Immutable.
	cluster *Cluster
	id      raft.ServerID
	addr    raft.ServerAddress
	conf    *raft.Config

	mu     sync.Mutex
	disk   *Disk
	run    *run     // nil: it is down
	fsm    raft.FSM // of the latest run
	paused bool
}

// run is a server between its start and its end.
type run struct {
	raft     *raft.Raft
	endpoint *endpoint
	hold     *gate // before calls of the FSM
}

// ID returns the server's ID, which does not change.
func (n *Node) ID() raft.ServerID { return n.id }

// Address returns the server's address, which does not change.
func (n *Node) Address() raft.ServerAddress { return n.addr }

// Raft returns the server's Raft, nil if it was stopped or has crashed. One that has
// stopped by itself is returned, but the server is not up.
func (n *Node) Raft() *raft.Raft {
	if r := n.present(); r != nil {
		return r.raft
	}
	return nil
}

// Up reports whether the server runs.
func (n *Node) Up() bool {
	r := n.Raft()
	return r != nil && r.State() != raft.Shutdown
}

// FSM returns the FSM that the server was last started with, nil if it never was.
func (n *Node) FSM() raft.FSM {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fsm
}

// Disk returns the server's present disk.
func (n *Node) Disk() *Disk {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.disk
}

func (n *Node) present() *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run
}

// begin starts a server for the first time.
func (n *Node) begin(all raft.Configuration) error {
	if n.cluster.opts.Bootstrap {
		d, trans := n.disk, newEndpoint(n.cluster.network, n.addr)
		if err := raft.BootstrapCluster(n.conf, d.LogStore(), d.StableStore(), d.SnapshotStore(), trans, all); err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	return n.Start()
}

// Start runs the server on what its disk holds, with a new FSM. It fails if the server
// is up, or NewRaft does.
func (n *Node) Start() error {
	if n.Up() {
		return fmt.Errorf("server %s is up", n.id)
	}
	if err := n.Stop(); err != nil { // it may have stopped by itself
		return err
	}
	conf, disk, fsm := *n.conf, n.Disk(), newFSM(&n.cluster.opts)
	r := &run{endpoint: n.cluster.network.join(n.addr), hold: new(gate)}
	var err error
	r.raft, err = raft.NewRaft(&conf, heldBy(fsm, r.hold), disk.LogStore(), disk.StableStore(), disk.SnapshotStore(), r.endpoint)
	if err != nil {
		r.endpoint.close()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.run, n.fsm = r, fsm
	return nil
}

// takeDown makes the server count as down. It returns nil if it was.
func (n *Node) takeDown() *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.run
	n.run = nil
	return r
}

// Stop shuts the server down and waits for it. It returns what Shutdown does. What
// hangs even so, and a write that did, has no effect on the disk any more.
func (n *Node) Stop() error {
	n.Resume()
	r := n.takeDown()
	if r == nil {
		return nil
	}
	err := r.raft.Shutdown().Error()
	n.Disk().retire()
	return err
}

// Crash takes the server down without warning: power is lost, see [Disk.Crash], and
// nobody hears of the server any more. Its futures fail, or succeed if they had no
// need of disk and network.
func (n *Node) Crash() {
	r := n.takeDown()
	if r == nil {
		return
	}
	r.endpoint.close()
	n.Disk().Crash()
	n.resume(r)
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.cluster.ending = append(n.cluster.ending, r.raft.Shutdown())
}

// Wipe gives the server, which must be down, a new, empty disk.
func (n *Node) Wipe() {
	n.cluster.t.Helper()
	if n.Up() {
		n.cluster.FailNowf("server %s is up and can't be wiped", n.id)
	}
	disk, err := n.cluster.newDisk(n.id)
	if err != nil {
		n.cluster.FailNowf("disk of server %s: %v", n.id, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disk = disk
}

// Pause stops the server as SIGSTOP does a process, as nearly as goroutines can be
// stopped: nothing that it sends or is sent moves, writes to its disk hang, its FSM is
// not called, and it handles no events. What it is in the middle of it finishes. It
// does nothing if the server is down.
func (n *Node) Pause() {
	r := n.present()
	if r == nil {
		return
	}
	n.setPaused(true)
	n.cluster.network.Stall(n.addr)
	n.Disk().Hang()
	r.hold.hold()
	r.endpoint.consumer.hold()
}

// Resume ends Pause. All that was held up goes on, also what [Disk.Hang] and
// [Network.Stall] of this server have held up meanwhile.
func (n *Node) Resume() { n.resume(n.present()) }

func (n *Node) resume(r *run) {
	if r == nil || !n.setPaused(false) {
		return
	}
	r.endpoint.consumer.release()
	r.hold.release()
	n.Disk().Release()
	n.cluster.network.Resume(n.addr)
}

// setPaused returns what it was before.
func (n *Node) setPaused(paused bool) (before bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, n.paused = n.paused, paused
	return before
}

// free ends what would keep the server from shutting down.
func (n *Node) free() {
	n.Resume()
	n.Disk().Release()
}
