// Package node is the program that the interop tests run many times: one Raft
// server with a state machine that remembers everything, driven over HTTP. The
// same source is built against several libraries that all call themselves
// github.com/hashicorp/raft; it uses only what v1.6.0 already has. The store is
// the caller's, as its package differs.
package node

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/interop/node/control"
)

// Store is log and stable store in one file.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// node is a running server.
type node struct {
	id      raft.ServerID
	raft    *raft.Raft
	store   Store
	snaps   raft.SnapshotStore
	machine *machine
}

// Main runs a node as its flags say until standard input ends: then whoever
// started it is gone. open opens the store, a file.
func Main(open func(path string) (Store, error)) {
	if err := run(open); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	conf      *raft.Config
	addr, dir string
	bootstrap string
}

func parseFlags() options {
	conf := raft.DefaultConfig()
	o := options{conf: conf}
	flag.StringVar((*string)(&conf.LocalID), "id", "", "server ID")
	flag.StringVar(&o.addr, "raft", "", "address of the Raft transport")
	flag.StringVar(&o.dir, "dir", "", "data directory")
	flag.StringVar(&o.bootstrap, "bootstrap", "", "ID=ADDR,... of the first configuration, used if the data directory is empty")
	flag.DurationVar(&conf.HeartbeatTimeout, "heartbeat", 500*time.Millisecond, "HeartbeatTimeout")
	flag.DurationVar(&conf.ElectionTimeout, "election", 500*time.Millisecond, "ElectionTimeout")
	flag.DurationVar(&conf.LeaderLeaseTimeout, "lease", 400*time.Millisecond, "LeaderLeaseTimeout")
	flag.DurationVar(&conf.SnapshotInterval, "snapshot-interval", time.Second, "SnapshotInterval")
	flag.Uint64Var(&conf.SnapshotThreshold, "snapshot-threshold", 256, "SnapshotThreshold")
	flag.Uint64Var(&conf.TrailingLogs, "trailing", 128, "TrailingLogs")
	flag.StringVar(&conf.LogLevel, "log", "DEBUG", "log level")
	flag.Parse()
	conf.ShutdownOnRemove = false
	conf.LogOutput = os.Stderr
	return o
}

func run(open func(path string) (Store, error)) error {
	o := parseFlags()
	n, err := start(o, open)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	n.machine.forgetRestores()
	if err := json.NewEncoder(os.Stdout).Encode(control.Hello{Control: l.Addr().String()}); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(l, n.handler())
}

// start opens everything on the data directory and starts Raft on it.
func start(o options, open func(path string) (Store, error)) (*node, error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	store, err := open(filepath.Join(o.dir, "raft.db"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStore(o.dir, 2, os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	trans, err := raft.NewTCPTransport(o.addr, nil, 3, 5*time.Second, os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	if err := bootstrap(o, store, snaps, trans); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	m := &machine{}
	r, err := raft.NewRaft(o.conf, m, store, store, snaps, trans)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	return &node{id: o.conf.LocalID, raft: r, store: store, snaps: snaps, machine: m}, nil
}

// bootstrap writes the first configuration to an empty data directory. Every
// first server writes the same one.
func bootstrap(o options, store Store, snaps raft.SnapshotStore, trans raft.Transport) error {
	if o.bootstrap == "" {
		return nil
	}
	exists, err := raft.HasExistingState(store, store, snaps)
	if err != nil || exists {
		return err
	}
	var first raft.Configuration
	for _, s := range strings.Split(o.bootstrap, ",") {
		id, addr, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("not ID=ADDR: " + s)
		}
		first.Servers = append(first.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addr)})
	}
	return raft.BootstrapCluster(o.conf, store, store, snaps, trans, first)
}
