package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/raftboltdb"
)

const (
	retainedSnapshots = 2
	peerConnections   = 3
	peerTimeout       = 10 * time.Second // of one request between nodes
)

// A node is Raft with its stores, its transport and the state machine. Its
// methods may be called from any goroutine.
type node struct {
	conf     config
	log      hclog.Logger
	httpAddr string // where other nodes forward requests to
	raftAddr string // where other nodes reach this one

	fsm         *fsm
	raft        *raft.Raft
	ownRestores int // how often the FSM was restored from this node's own disk

	closers []func() error // in the order in which things were opened
}

// openNode starts a node. httpAddr is the address to tell the other nodes.
func openNode(conf config, httpAddr string, log hclog.Logger) (*node, error) {
	n := &node{conf: conf, log: log, httpAddr: httpAddr, fsm: newFSM()}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.closeStores())
	}
	return n, nil
}

func (n *node) open() error {
	if err := os.MkdirAll(n.conf.dataDir, 0o755); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	// No raft.LogCache around the store: it counts entries, and a few hundred
	// of the largest would not fit into memory.
	store, err := raftboltdb.NewBoltStore(filepath.Join(n.conf.dataDir, "raft.db"))
	if err != nil {
		return fmt.Errorf("log store: %w", err)
	}
	n.closers = append(n.closers, store.Close)

	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.conf.dataDir, retainedSnapshots, n.log.Named("snapshot"))
	if err != nil {
		return fmt.Errorf("snapshot store: %w", err)
	}
	transport, err := n.listen()
	if err != nil {
		return fmt.Errorf("listening for other nodes: %w", err)
	}
	n.closers = append(n.closers, transport.Close)

	rc := n.conf.raftConfig()
	rc.Logger = n.log.Named("raft")
	if n.conf.bootstrap {
		if err := n.bootstrap(rc, store, snapshots, transport); err != nil {
			return fmt.Errorf("bootstrap: %w", err)
		}
	}
	n.raft, err = raft.NewRaft(rc, n.fsm, store, store, snapshots, transport)
	if err != nil {
		return fmt.Errorf("starting raft: %w", err)
	}
	n.ownRestores = n.fsm.summary().restores
	return nil
}

func (n *node) listen() (*raft.NetworkTransport, error) {
	stream, err := listenForPeers(n.conf)
	if err != nil {
		return nil, err
	}
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  stream,
		MaxPool: peerConnections,
		Timeout: peerTimeout,
		Logger:  n.log.Named("transport"),
	})
	n.raftAddr = string(t.LocalAddr())
	return t, nil
}

// bootstrap makes this node the only member of a new cluster, unless it has
// state already.
func (n *node) bootstrap(rc *raft.Config, store *raftboltdb.BoltStore, snapshots raft.SnapshotStore, t raft.Transport) error {
	err := raft.BootstrapCluster(rc, store, store, snapshots, t, raft.Configuration{
		Servers: []raft.Server{{ID: rc.LocalID, Address: t.LocalAddr()}},
	})
	if errors.Is(err, raft.ErrCantBootstrap) {
		n.log.Info("there is state already: -bootstrap has no effect")
		return nil
	}
	return err
}

// propose replicates a command and returns its index once this node, the
// leader, has applied it. It waits no longer than the request timeout.
func (n *node) propose(ctx context.Context, cmd []byte) (uint64, error) {
	future := n.raft.Apply(cmd, n.conf.requestTimeout)
	if err := n.await(ctx, future); err != nil {
		return 0, err
	}
	if err, bad := future.Response().(error); bad {
		return 0, err
	}
	return future.Index(), nil
}

// await waits for a future, but not longer than the request timeout. The future
// is then still under way and nobody knows how it ends.
func (n *node) await(ctx context.Context, f raft.Future) error {
	ctx, cancel := context.WithTimeout(ctx, n.conf.requestTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the cluster: %w", ctx.Err())
	}
}

func (n *node) isLeader() bool { return n.raft.State() == raft.Leader }

// handOver gives leadership away, if this node has it and another can take it, so
// that the others need not find out by an election timeout that it is gone.
func (n *node) handOver() {
	if !n.isLeader() || !n.hasPeers() {
		return
	}
	if err := n.raft.LeadershipTransfer().Error(); err != nil {
		n.log.Warn("could not hand over leadership", "error", err)
	}
}

// stop stops Raft and closes everything.
func (n *node) stop() error {
	err := n.raft.Shutdown().Error()
	if err != nil {
		err = fmt.Errorf("stopping raft: %w", err)
	}
	return errors.Join(err, n.closeStores())
}

// hasPeers reports whether there is another voter.
func (n *node) hasPeers() bool {
	for _, s := range n.servers() {
		if s.ID != raft.ServerID(n.conf.id) && s.Suffrage == raft.Voter {
			return true
		}
	}
	return false
}

// servers returns the members of the cluster, as far as this node knows.
func (n *node) servers() []raft.Server {
	f := n.raft.GetConfiguration()
	if f.Error() != nil {
		return nil // shut down
	}
	return f.Configuration().Servers
}

// closeStores closes what was opened, the last first.
func (n *node) closeStores() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	return errors.Join(errs...)
}
