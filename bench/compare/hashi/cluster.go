package hashi

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// cluster is a [load.Distributed] system. Its first node takes the writes.
type cluster struct {
	nodes   []*node   // in this process
	remotes []*remote // the others, a process each
}

const (
	patience = 5 * time.Minute        // that a cluster does what it was told to
	pause    = 200 * time.Microsecond // between two looks whether it has
)

// await waits until condition holds, but not longer than patience.
func await(what string, condition func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		switch ok, err := condition(); {
		case err != nil:
			return fmt.Errorf("waiting until %s: %w", what, err)
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not within %v: %s", patience, what)
		}
	}
}

// specs returns what the nodes of the cluster are that f describes.
func specs(f load.Flags) ([]spec, error) {
	if f.Nodes < 1 || f.Size < 8 || f.Entries < 0 {
		return nil, fmt.Errorf("%d nodes with %d entries of %d bytes are no cluster", f.Nodes, f.Entries, f.Size)
	}
	p := past{Entries: f.Entries, Size: f.Size}
	for i := range f.Nodes {
		addr, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p.Servers = append(p.Servers, raft.Server{ID: raft.ServerID(fmt.Sprintf("n%d", i+1)), Address: addr})
	}
	var all []spec
	for _, s := range p.Servers {
		all = append(all, spec{Server: s, Dir: filepath.Join(f.Dir, string(s.ID)), Store: f.Store, Method: f.Method, Past: p})
	}
	return all, nil
}

// freeAddress returns an address that nobody listens on. Its port is below those that
// systems give to outgoing connections, so that a node can be started there later.
func freeAddress() (raft.ServerAddress, error) {
	const first, last = 20000, 32000
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return raft.ServerAddress(addr), l.Close()
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}

// newCluster makes the nodes that f describes, all in this process, and starts none.
func newCluster(lib Library, f load.Flags) (*cluster, error) {
	all, err := specs(f)
	if err != nil {
		return nil, err
	}
	c := &cluster{}
	for _, s := range all {
		n, err := newNode(lib, s)
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	return c, nil
}

// startCluster starts the cluster that f describes, in as many processes as f says. The
// first node leads when it returns, and all have applied their past.
func startCluster(lib Library, f load.Flags) (*cluster, error) {
	if f.Processes != 1 && f.Processes != f.Nodes {
		return nil, fmt.Errorf("%d nodes in %d processes: %w", f.Nodes, f.Processes, load.ErrUnsupported)
	}
	c, err := newCluster(lib, f)
	if err != nil {
		return nil, err
	}
	if f.Processes > 1 {
		err = c.spread()
	}
	if err == nil {
		err = c.begin()
	}
	if err == nil {
		err = c.settle()
	}
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// spread moves all nodes but the first to processes of their own.
func (c *cluster) spread() error {
	for _, n := range c.nodes[1:] {
		r, err := startRemote(n.spec)
		if err != nil {
			return err
		}
		c.remotes = append(c.remotes, r)
	}
	c.nodes = c.nodes[:1]
	return nil
}

// begin gives all nodes their past, at the same time for that may take a while, and
// starts them.
func (c *cluster) begin() error {
	var begins []func() error
	for _, n := range c.nodes {
		begins = append(begins, n.begin)
	}
	for _, r := range c.remotes {
		begins = append(begins, r.begin)
	}
	done := make(chan error)
	for _, begin := range begins {
		go func() { done <- begin() }()
	}
	var err error
	for range begins {
		err = errors.Join(err, <-done)
	}
	return err
}

// settle waits until all nodes that run have applied their past, and has the first of
// them lead.
func (c *cluster) settle() error {
	entries := uint64(c.nodes[0].Past.Entries)
	err := await("all nodes have applied what is in their logs", func() (bool, error) {
		counts, err := c.counts()
		for _, n := range counts {
			if n < entries {
				return false, err
			}
		}
		return true, err
	})
	if err != nil {
		return err
	}
	if err := c.lead(); err != nil {
		return err
	}
	return c.nodes[0].raft.Barrier(0).Error()
}

// counts returns how many commands each node that runs has applied.
func (c *cluster) counts() ([]uint64, error) {
	var all []uint64
	for _, m := range c.Machines() {
		all = append(all, m.Count())
	}
	for _, r := range c.remotes {
		report, err := r.Report()
		if err != nil {
			return nil, err
		}
		all = append(all, report.State.Count)
	}
	return all, nil
}

// lead has the first node lead.
func (c *cluster) lead() error {
	first := c.nodes[0]
	return await("the first node leads", func() (bool, error) {
		if first.leads() {
			return true, nil
		}
		// A transfer that fails is tried again.
		_, id := first.raft.LeaderWithID()
		for _, n := range c.nodes[1:] {
			if n.Server.ID == id && n.leads() {
				_ = n.handOver(first.Server)
			}
		}
		for _, r := range c.remotes {
			if r.spec.Server.ID == id {
				_ = r.handOver(first.Server)
			}
		}
		return false, nil
	})
}

// stop ends all nodes.
func (c *cluster) stop() error {
	var err error
	for _, n := range c.nodes {
		err = errors.Join(err, n.stop())
	}
	for _, r := range c.remotes {
		err = errors.Join(err, r.stop())
	}
	return err
}

// Propose implements [load.System].
func (c *cluster) Propose(command []byte) error {
	return c.nodes[0].raft.Apply(command, 0).Error()
}

// Machines implements [load.System]. Nodes that do not run have none.
func (c *cluster) Machines() []*load.Machine {
	var all []*load.Machine
	for _, n := range c.nodes {
		if n.raft != nil {
			all = append(all, n.machine)
		}
	}
	return all
}

// Flushes implements [load.System].
func (c *cluster) Flushes() uint64 {
	var sum uint64
	for _, n := range c.nodes {
		sum += n.flushes.Count()
	}
	return sum
}

// Remotes implements [load.Distributed].
func (c *cluster) Remotes() []load.Remote {
	var all []load.Remote
	for _, r := range c.remotes {
		all = append(all, r)
	}
	return all
}
