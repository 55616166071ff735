// Package node is the program that the interop tests run many times: one Raft
// server with a state machine that remembers everything, driven over HTTP. The
// same source is built against several libraries that all call themselves
// github.com/hashicorp/raft; it uses only what v1.6.0 already has. What differs
// is in [Library].
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
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/interop/node/control"
)

// Store is log and stable store in one file.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// Library is what a caller knows of the library that it is built with.
type Library struct {
	// Open opens the store, a file.
	Open func(path string) (Store, error)
	// DisablePreVote sets PreVoteDisabled; nil if the library has no pre-vote.
	DisablePreVote func(*raft.Config)
	// Configure sets what only this library has; nil for nothing.
	Configure func(*raft.Config)
}

// node is a running server.
type node struct {
	id      raft.ServerID
	raft    *raft.Raft
	store   Store
	machine *machine
}

// Main runs a node as its flags say until it is told to stop, by SIGTERM, or
// standard input ends: then whoever started it is gone. With -recover it only
// recovers what lies in the data directory.
func Main(lib Library) {
	if err := run(lib); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	conf      *raft.Config
	addr, dir string
	bootstrap string
	recovery  string
}

func parseFlags(lib Library) options {
	conf := raft.DefaultConfig()
	o := options{conf: conf}
	flag.StringVar((*string)(&conf.LocalID), "id", "", "server ID")
	flag.StringVar(&o.addr, "raft", "", "address of the Raft transport")
	flag.StringVar(&o.dir, "dir", "", "data directory")
	flag.StringVar(&o.bootstrap, "bootstrap", "", "ID=ADDR,... of the first configuration, used if the data directory is empty")
	flag.StringVar(&o.recovery, "recover", "", "peers.json: recover the cluster with this configuration and exit")
	flag.IntVar((*int)(&conf.ProtocolVersion), "protocol", int(conf.ProtocolVersion), "ProtocolVersion")
	preVote := flag.Bool("prevote", true, "ask for pre-votes, if the library can")
	flag.DurationVar(&conf.HeartbeatTimeout, "heartbeat", 500*time.Millisecond, "HeartbeatTimeout")
	flag.DurationVar(&conf.ElectionTimeout, "election", 500*time.Millisecond, "ElectionTimeout")
	flag.DurationVar(&conf.LeaderLeaseTimeout, "lease", 400*time.Millisecond, "LeaderLeaseTimeout")
	flag.DurationVar(&conf.SnapshotInterval, "snapshot-interval", time.Second, "SnapshotInterval")
	flag.Uint64Var(&conf.SnapshotThreshold, "snapshot-threshold", 256, "SnapshotThreshold")
	flag.Uint64Var(&conf.TrailingLogs, "trailing", 128, "TrailingLogs")
	flag.StringVar(&conf.LogLevel, "log", "DEBUG", "log level")
	flag.Parse()
	if !*preVote && lib.DisablePreVote != nil {
		lib.DisablePreVote(conf)
	}
	if lib.Configure != nil {
		lib.Configure(conf)
	}
	conf.ShutdownOnRemove = false
	conf.LogOutput = os.Stderr
	return o
}

func run(lib Library) error {
	o := parseFlags(lib)
	d, err := openDisk(o, lib.Open)
	if err != nil {
		return err
	}
	if o.recovery != "" {
		return errors.Join(d.recover(o), d.close())
	}
	n, err := start(o, d)
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
	go func() { fmt.Fprintln(os.Stderr, "node:", http.Serve(l, n.handler())) }()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	return errors.Join(n.raft.Shutdown().Error(), d.close())
}

// start starts Raft on what the data directory holds.
func start(o options, d *disk) (*node, error) {
	if err := d.bootstrap(o); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	m := &machine{}
	r, err := raft.NewRaft(o.conf, m, d.store, d.store, d.snaps, d.trans)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	return &node{id: o.conf.LocalID, raft: r, store: d.store, machine: m}, nil
}
