package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// config is what the command line says. It does not change afterwards.
type config struct {
	id            string
	dataDir       string
	raftAddr      string
	raftAdvertise string
	httpAddr      string
	httpAdvertise string
	dialFrom      string

	bootstrap bool
	join      string

	heartbeatTimeout time.Duration
	electionTimeout  time.Duration
	requestTimeout   time.Duration

	snapshotThreshold uint64
	snapshotInterval  time.Duration
	trailingLogs      uint64

	maxValue    int64
	maxInflight int64

	logLevel  string
	stopOnEOF bool
}

const usage = `kv is one node of a replicated key-value service.

A cluster of three on one machine:

  kv -id n1 -data /tmp/n1 -raft-addr 127.0.0.1:7001 -http-addr 127.0.0.1:8001 -bootstrap
  kv -id n2 -data /tmp/n2 -raft-addr 127.0.0.1:7002 -http-addr 127.0.0.1:8002 -join 127.0.0.1:8001
  kv -id n3 -data /tmp/n3 -raft-addr 127.0.0.1:7003 -http-addr 127.0.0.1:8003 -join 127.0.0.1:8001

  curl -X PUT --data-binary @file http://127.0.0.1:8002/kv/some/key
  curl http://127.0.0.1:8003/kv/some/key

The same command starts a node again after a crash. Neither the HTTP service nor
the traffic between nodes is authenticated or encrypted: keep both on a network
that you trust.

Flags:
`

// parseConfig reads the command line. For -help and for mistakes it writes to
// stderr what there is to say; the error for -help is [flag.ErrHelp].
func parseConfig(args []string, stderr io.Writer) (config, error) {
	var c config
	fs := flag.NewFlagSet("kv", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	c.register(fs)
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	err := c.validate()
	if fs.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	if err != nil {
		fmt.Fprintf(stderr, "%v\n(kv -help lists the flags)\n", err)
	}
	return c, err
}

func (c *config) register(fs *flag.FlagSet) {
	fs.StringVar(&c.id, "id", "", "`name` of this node, unique in the cluster and never changed (required)")
	fs.StringVar(&c.dataDir, "data", "", "`directory` of this node's log and snapshots (required)")
	fs.StringVar(&c.raftAddr, "raft-addr", "127.0.0.1:7000", "`address` to listen on for other nodes")
	fs.StringVar(&c.raftAdvertise, "raft-advertise", "", "`address` at which other nodes reach this one (default: where it listens)")
	fs.StringVar(&c.httpAddr, "http-addr", "127.0.0.1:8000", "`address` to listen on for clients")
	fs.StringVar(&c.httpAdvertise, "http-advertise", "", "`address` at which other nodes forward clients' requests to this one (default: where it listens)")

	fs.StringVar(&c.dialFrom, "dial-from", "", "IP `address` of this host from which to connect to other nodes (default: the system chooses)")

	fs.BoolVar(&c.bootstrap, "bootstrap", false, "start a new cluster with this node as its only member; ignored if -data has a node's state")
	fs.StringVar(&c.join, "join", "", "ask the cluster at these HTTP `addresses` (host:port, separated by commas) to take this node in; harmless if it is a member")

	fs.DurationVar(&c.heartbeatTimeout, "heartbeat-timeout", time.Second, "how long a follower waits for its leader before it stands for election")
	fs.DurationVar(&c.electionTimeout, "election-timeout", time.Second, "how long a candidate waits for votes; at least -heartbeat-timeout")
	fs.DurationVar(&c.requestTimeout, "request-timeout", 10*time.Second, "how long a request may wait for the cluster; after that the outcome of a write is unknown")

	fs.Uint64Var(&c.snapshotThreshold, "snapshot-threshold", 8192, "log `entries` after which a snapshot is taken and the log compacted")
	fs.DurationVar(&c.snapshotInterval, "snapshot-interval", 20*time.Second, "how often to look whether a snapshot is due")
	fs.Uint64Var(&c.trailingLogs, "trailing-logs", 2048, "log `entries` to keep behind a snapshot for nodes that are a little late")

	fs.Int64Var(&c.maxValue, "max-value", 64<<20, "largest value in `bytes`")
	fs.Int64Var(&c.maxInflight, "max-inflight", 256<<20, "`bytes` of values under way at once; more are refused with 503")

	fs.StringVar(&c.logLevel, "log-level", "info", "trace, debug, info, warn, error or off")
	fs.BoolVar(&c.stopOnEOF, "stop-on-eof", false, "also stop when standard input ends, as it does when the parent process dies")
}

// validate reports all mistakes at once.
func (c *config) validate() error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(c.id != "", "-id is required")
	check(len(c.id) <= maxKey, "-id is longer than %d bytes", maxKey)
	check(c.dataDir != "", "-data is required")
	check(!c.bootstrap || c.join == "", "-bootstrap and -join exclude each other")
	for name, addr := range c.addresses() {
		err := checkAddress(addr)
		check(err == nil, "%s: %v", name, err)
	}
	check(c.dialFrom == "" || net.ParseIP(c.dialFrom) != nil, "-dial-from %q: not an IP address", c.dialFrom)
	check(!isUnspecified(c.raftAdvertised()), "-raft-advertise is required: other nodes can't reach %s", c.raftAdvertised())
	check(c.requestTimeout > 0, "-request-timeout %v: must be positive", c.requestTimeout)
	check(c.maxValue > 0 && c.maxValue <= raft.MaxEntrySize/2,
		"-max-value %d: must be between 1 and %d", c.maxValue, raft.MaxEntrySize/2)
	check(c.maxInflight >= c.maxValue, "-max-inflight %d: must be at least -max-value, %d", c.maxInflight, c.maxValue)
	check(hclog.LevelFromString(c.logLevel) != hclog.NoLevel, "-log-level %q: unknown", c.logLevel)
	if err := raft.ValidateConfig(c.raftConfig()); c.id != "" && err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// addresses returns the addresses that were given, by flag.
func (c *config) addresses() map[string]string {
	all := map[string]string{"-raft-addr": c.raftAddr, "-http-addr": c.httpAddr}
	if c.raftAdvertise != "" {
		all["-raft-advertise"] = c.raftAdvertise
	}
	if c.httpAdvertise != "" {
		all["-http-advertise"] = c.httpAdvertise
	}
	for _, addr := range c.seeds() {
		all["-join "+addr] = addr
	}
	return all
}

// checkAddress reports what keeps addr from being host:port.
func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return err
	}
	return nil
}

// raftAdvertised is the address that other nodes are told, but for a port that the
// system chooses.
func (c *config) raftAdvertised() string {
	if c.raftAdvertise != "" {
		return c.raftAdvertise
	}
	return c.raftAddr
}

// isUnspecified reports whether addr means all addresses of a host.
func isUnspecified(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (host == "" || net.ParseIP(host).IsUnspecified())
}

// dialer makes connections to other nodes.
func (c *config) dialer(timeout time.Duration) *net.Dialer {
	d := &net.Dialer{Timeout: timeout}
	if c.dialFrom != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.dialFrom)}
	}
	return d
}

// seeds are the addresses of -join.
func (c *config) seeds() []string {
	if c.join == "" {
		return nil
	}
	return strings.Split(c.join, ",")
}

func (c *config) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.id)
	rc.HeartbeatTimeout = c.heartbeatTimeout
	rc.ElectionTimeout = c.electionTimeout
	rc.LeaderLeaseTimeout = c.heartbeatTimeout / 2
	rc.SnapshotThreshold = c.snapshotThreshold
	rc.SnapshotInterval = c.snapshotInterval
	rc.TrailingLogs = c.trailingLogs
	return rc
}
