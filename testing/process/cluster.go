package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft/testing/internal/child"
)

// cluster is the nodes, what lies between them, and what is known of them. One
// goroutine per node, watch, keeps the knowledge fresh; everybody else reads it.
type cluster struct {
	nodes []*node
	net   *network
	http  *http.Client
	epoch time.Time // zero of the driver's clock

	mu       sync.Mutex
	leaders  leaders
	states   states
	view     map[*node]seen
	installs int // snapshots that leaders have sent
	fault    error
	failed   chan struct{} // closed when fault is set
}

// seen is the last status that a node gave, when it was asked for, and of which run.
type seen struct {
	status
	at  time.Time
	run *child.Child
}

const (
	pollInterval = 50 * time.Millisecond
	// fresh is how old a status may be to be believed.
	fresh = time.Second
	// recovery bounds how long a cluster may take to be whole again. Requests
	// between nodes wait for ten seconds before they are given up.
	recovery = 60 * time.Second
)

// newCluster lays out nodes that keep their data and logs in dir; none runs yet.
// The last one has a file system of its own if it can be had. The caller closes the
// cluster, also after an error.
func newCluster(dir, binary string, size int) (*cluster, error) {
	c := &cluster{net: newNetwork(size), epoch: time.Now(), view: map[*node]seen{}, failed: make(chan struct{}),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
	var addrs []addresses
	for i := range size {
		a, err := newAddresses(c.net, i)
		if err != nil {
			return c, err
		}
		addrs = append(addrs, a)
	}
	for i := range size {
		data := filepath.Join(dir, fmt.Sprint("n", i+1))
		d := disk{dir: data}
		if i == size-1 {
			small, err := newTmpfs(data)
			if err == nil {
				d = small
			} else if !mayLack(err) {
				return c, err
			}
		}
		c.nodes = append(c.nodes, newNode(i, dir, binary, addrs, d))
	}
	return c, nil
}

// close ends all processes and proxies. After a failure data that would be lost is
// saved.
func (c *cluster) close(failed bool) (err error) {
	for _, n := range c.nodes {
		err = errors.Join(err, n.kill())
	}
	c.net.close()
	for _, n := range c.nodes {
		if failed {
			err = errors.Join(err, n.disk.save())
		}
		n.disk.close()
	}
	return err
}

// now is the driver's clock.
func (c *cluster) now() time.Duration { return time.Since(c.epoch) }

// fail records the first thing that must never happen and ends the run.
func (c *cluster) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil {
		c.fault = err
		close(c.failed)
	}
}

func (c *cluster) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// watch asks n for its status until ctx ends and holds it against what is known.
func (c *cluster) watch(ctx context.Context, n *node) {
	for ; ctx.Err() == nil; sleep(ctx, pollInterval) {
		if err := n.checkAlive(); err != nil {
			c.fail(err)
			return
		}
		asked, run := time.Now(), n.current()
		if run == nil {
			continue
		}
		if s, err := n.status(ctx, c.http); err == nil {
			c.learn(n, seen{s, asked, run})
		}
	}
}

// learn takes in a status.
func (c *cluster) learn(n *node, now seen) {
	c.mu.Lock()
	err := errors.Join(c.leaders.see(now.status, now.run), c.states.see(now.status))
	old := c.view[n]
	if old.run != now.run {
		old.Installs = 0
	}
	c.installs += now.Installs - old.Installs
	c.view[n] = now
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
}

// last returns the last status of n and whether it is of its present run.
func (c *cluster) last(n *node) (s seen, up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s = c.view[n]
	return s, s.run != nil && s.run == n.current()
}

// leader returns the node that was lately seen to lead the highest term, nil if
// none.
func (c *cluster) leader() (best *node) {
	var term uint64
	for _, n := range c.nodes {
		if s, up := c.last(n); up && s.State == "Leader" && s.Term > term && time.Since(s.at) < fresh {
			best, term = n, s.Term
		}
	}
	return best
}

// awaitLeader waits until there is a leader other than those in not.
func (c *cluster) awaitLeader(ctx context.Context, not ...*node) (lead *node, err error) {
	err = c.await(ctx, "there is a leader", func() bool {
		lead = c.leader()
		return lead != nil && !slices.Contains(not, lead)
	})
	return lead, err
}

// whole reports whether every node runs, has a vote, and follows one leader.
func (c *cluster) whole() bool {
	lead := c.leader()
	if lead == nil {
		return false
	}
	for _, n := range c.nodes {
		s, up := c.last(n)
		if !up || time.Since(s.at) > fresh || s.Leader != lead.id || s.voters() != len(c.nodes) {
			return false
		}
	}
	return true
}

// awaitWhole waits until the cluster is whole and every node has applied what was
// committed then.
func (c *cluster) awaitWhole(ctx context.Context) error {
	if err := c.await(ctx, "all follow one leader", c.whole); err != nil {
		return err
	}
	goal := c.newest()
	return c.await(ctx, fmt.Sprintf("all have applied the log up to %d", goal), func() bool {
		return c.whole() && !slices.ContainsFunc(c.nodes, func(n *node) bool {
			s, _ := c.last(n)
			return s.Applied < goal
		})
	})
}

// newest returns the largest commit index that was seen.
func (c *cluster) newest() (index uint64) {
	for _, n := range c.nodes {
		s, _ := c.last(n)
		index = max(index, s.Commit)
	}
	return index
}

// await waits until cond holds, at most for recovery.
func (c *cluster) await(ctx context.Context, what string, cond func() bool) error {
	deadline := time.NewTimer(recovery)
	defer deadline.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.failed:
			return c.failure()
		case <-deadline.C:
			return fmt.Errorf("waited %v in vain until %s\n%s", recovery, what, c.describe())
		case <-time.After(pollInterval / 2):
		}
	}
	return nil
}

// describe is the state of all nodes on a few lines.
func (c *cluster) describe() string {
	var b strings.Builder
	for _, n := range c.nodes {
		s, up := c.last(n)
		fmt.Fprintf(&b, "  %s up=%-5v %-9s term=%d leader=%-3s last=%d commit=%d applied=%d snapshot=%d voters=%d seen %v ago\n",
			n.id, up, s.State, s.Term, s.Leader, s.Last, s.Commit, s.Applied, s.Snapshot, s.voters(),
			time.Since(s.at).Round(time.Millisecond))
	}
	return b.String()
}

// others returns all nodes but those given.
func (c *cluster) others(not ...*node) []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return slices.Contains(not, n) })
}
