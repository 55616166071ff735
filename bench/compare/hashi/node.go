package hashi

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// spec says what a node is: all that its process must know.
type spec struct {
	Server raft.Server
	Dir    string
	Store  string
	Method string // of reading
	Past   past
}

// node is a server in this process. It can be started again after it was stopped.
type node struct {
	spec
	configure func(*raft.Config) // nil: nothing to change
	open      OpenStore
	cached    bool // behind a raft.LogCache
	flushes   Flushes

	// Of one run.
	machine *load.Machine
	store   Store
	logs    raft.LogStore
	snaps   *raft.FileSnapshotStore
	trans   *raft.NetworkTransport
	raft    *raft.Raft
}

// cacheSuffix in the name of a store asks for a log cache of cacheSize entries.
const (
	cacheSuffix = "+cache"
	cacheSize   = 512
)

func newNode(lib Library, s spec) (*node, error) {
	name, cached := strings.CutSuffix(s.Store, cacheSuffix)
	open, ok := lib.Stores[name]
	if !ok {
		open, ok = common[name]
	}
	if !ok {
		return nil, fmt.Errorf("store %q: %w", s.Store, load.ErrUnsupported)
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	return &node{spec: s, configure: lib.Reads[s.Method].Configure, open: open, cached: cached}, nil
}

// openDisk opens what the node has on disk.
func (n *node) openDisk() (err error) {
	if n.store, err = n.open(n.Dir, &n.flushes); err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	n.logs = n.store
	if n.cached {
		if n.logs, err = raft.NewLogCache(cacheSize, n.store); err != nil {
			return fmt.Errorf("making the log cache: %w", err)
		}
	}
	if n.snaps, err = raft.NewFileSnapshotStoreWithLogger(n.Dir, 1, hclog.NewNullLogger()); err != nil {
		return fmt.Errorf("opening the snapshots: %w", err)
	}
	return nil
}

// start starts Raft on the open disk, at the node's address.
func (n *node) start() (err error) {
	logger := hclog.NewNullLogger()
	n.trans, err = raft.NewTCPTransportWithLogger(string(n.Server.Address), nil, 3, 10*time.Second, logger)
	if err != nil {
		return fmt.Errorf("opening the transport: %w", err)
	}
	conf := raft.DefaultConfig()
	conf.LocalID = n.Server.ID
	conf.SnapshotThreshold = math.MaxInt64
	conf.Logger = logger
	if n.configure != nil {
		n.configure(conf)
	}
	n.machine = load.NewMachine()
	n.raft, err = raft.NewRaft(conf, fsm{n.machine}, n.logs, n.store, n.snaps, n.trans)
	if err != nil {
		return fmt.Errorf("starting node %s: %w", n.Server.ID, err)
	}
	return nil
}

// prepare gives the node its past, and leaves its disk open.
func (n *node) prepare() error {
	if err := n.openDisk(); err != nil {
		return err
	}
	return n.Past.write(n.logs, n.store, n.snaps)
}

// begin gives the node its past and starts it.
func (n *node) begin() error {
	if err := n.prepare(); err != nil {
		return err
	}
	return n.start()
}

// resume starts the node on what its disk has.
func (n *node) resume() error {
	if err := n.openDisk(); err != nil {
		return err
	}
	return n.start()
}

// kill ends the node as it is seen by others: it is no longer heard, and hears nothing.
// It remains to be stopped.
func (n *node) kill() error {
	err := n.trans.Close()
	n.raft.Shutdown()
	return err
}

// stop stops the node in good order, if it was started.
func (n *node) stop() error {
	if n.raft == nil {
		return nil
	}
	err := errors.Join(n.raft.Shutdown().Error(), n.store.Close())
	n.raft = nil
	return err
}

func (n *node) leads() bool { return n.raft != nil && n.raft.State() == raft.Leader }

// handOver makes the node, if it leads, give its leadership to another.
func (n *node) handOver(to raft.Server) error {
	return n.raft.LeadershipTransferToServer(to.ID, to.Address).Error()
}

// report returns what the node says of itself if it has its process to itself.
func (n *node) report() (load.Report, error) {
	usage, err := load.Self()
	usage.Flushes = n.flushes.Count()
	return load.Report{State: n.machine.State(), Usage: usage}, err
}
