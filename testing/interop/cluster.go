package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft/testing/internal/child"
	"github.com/hashicorp/raft/testing/interop/node/control"
)

// cluster is the servers and what is known of them. One goroutine per server,
// watch, keeps the knowledge fresh; everybody else reads it.
type cluster struct {
	dir     string
	epoch   time.Time // zero of the driver's clock
	byAddr  bool      // IDs are addresses, as protocol versions below 3 want it
	flags   func(lib string) []string
	joined  chan *process
	failed  chan struct{}
	covered *coverage

	mu      sync.Mutex
	procs   []*process // the present members; replaced, never changed
	laidOut int        // how many there ever were
	gone    []former
	leaders leaders
	view    map[string]seen
	stats   stats
	fault   error // the first thing that must never happen
}

// seen is the last status that a server gave, and when it was asked for.
type seen struct {
	control.Status
	at  time.Time
	run *incarnation
}

// former is a server that was taken out for good, and what it had applied.
type former struct {
	id      string
	applied []control.Record
}

const (
	pollInterval = 50 * time.Millisecond
	pollTimeout  = 2 * time.Second
	// fresh is how old a status may be to be believed.
	fresh = 500 * time.Millisecond
)

// newCluster lays out one server for each name in mix; none runs yet.
func newCluster(dir string, o options, libs map[string]library) (*cluster, error) {
	c := &cluster{
		dir: dir, epoch: time.Now(), byAddr: o.byAddr, flags: o.flags, covered: o.covered,
		joined: make(chan *process), failed: make(chan struct{}),
		view: map[string]seen{}, stats: newStats(),
	}
	var first []string
	for _, name := range o.mix {
		p, err := c.layOut(libs[name])
		if err != nil {
			return nil, err
		}
		p.setFlags(o.flags(name))
		first = append(first, p.id+"="+p.addr)
		c.procs = append(c.procs, p)
	}
	for _, p := range c.procs {
		p.bootstrap = strings.Join(first, ",")
	}
	return c, nil
}

// layOut makes a server with an ID, an address and a directory of its own.
func (c *cluster) layOut(lib library) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	c.laidOut++
	name := fmt.Sprintf("n%d", c.laidOut)
	p := &process{id: name, addr: addr, dir: filepath.Join(c.dir, name), lib: lib}
	if c.byAddr {
		p.id = addr
	}
	return p, os.MkdirAll(p.dir, 0o755)
}

// members returns the present servers.
func (c *cluster) members() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.procs
}

// add lays out a server that is in no configuration yet, with the flags and the
// library of another. From now on it counts as a member.
func (c *cluster) add(ctx context.Context, like *process) (*process, error) {
	p, err := c.layOut(like.library())
	if err != nil {
		return nil, err
	}
	p.setFlags(like.flags())
	c.mu.Lock()
	c.procs = append(slices.Clip(c.procs), p)
	c.mu.Unlock()
	select {
	case c.joined <- p:
		return p, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// retire takes p out for good and keeps in mind what it had applied.
func (c *cluster) retire(ctx context.Context, p *process) error {
	recs, err := p.applied(ctx)
	if err != nil {
		return fmt.Errorf("what did %s apply: %w", p.id, err)
	}
	c.mu.Lock()
	c.gone = append(c.gone, former{p.id, recs})
	c.procs = slices.DeleteFunc(slices.Clone(c.procs), func(q *process) bool { return q == p })
	c.mu.Unlock()
	p.kill()
	return nil
}

// retired returns the servers that were taken out.
func (c *cluster) retired() []former {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.gone)
}

// count changes the statistics.
func (c *cluster) count(change func(*stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// givenAddrs are those that freeAddr has returned, to any cluster of this process.
var givenAddrs sync.Map

// freeAddr finds an address that nobody listens on and that was not given away: its
// server may be down.
func freeAddr() (string, error) {
	for {
		addr, err := child.FreeAddr()
		if err != nil {
			return "", err
		}
		if _, given := givenAddrs.LoadOrStore(addr, true); !given {
			return addr, nil
		}
	}
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

// failure returns what fail recorded.
func (c *cluster) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// killAll ends every process.
func (c *cluster) killAll() {
	for _, p := range c.members() {
		p.kill()
	}
}

// observe watches all servers, also those that join later, until ctx ends.
func (c *cluster) observe(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for _, p := range c.members() {
		group.Go(func() { c.watch(ctx, p) })
	}
	for {
		select {
		case p := <-c.joined:
			group.Go(func() { c.watch(ctx, p) })
		case <-ctx.Done():
			return
		}
	}
}

// watch asks p for its status until ctx ends or p has left, and holds it against
// what is known.
func (c *cluster) watch(ctx context.Context, p *process) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !slices.Contains(c.members(), p) {
			return
		}
		if err := p.checkAlive(); err != nil {
			c.fail(err)
			return
		}
		asked, run := time.Now(), p.current()
		if st, err := p.status(ctx, pollTimeout); err == nil {
			c.learn(p, seen{st, asked, run})
		}
	}
}

// learn takes in a status. hashicorp/raft is known to let its term fall while it runs
// (hazard S3): of a peer that is counted, of this library it is a fault.
func (c *cluster) learn(p *process, now seen) {
	lib := p.library()
	c.mu.Lock()
	isNew, err := c.leaders.see(now.Status)
	if isNew {
		c.stats.elected[lib.name]++
	}
	old := c.view[p.id]
	if errors.Is(err, errTermFell) && lib.peer() && old.run == now.run {
		c.stats.fallen++
		err = nil
	}
	if old.run == now.run && now.Installs > old.Installs || old.run != now.run && now.Installs > 0 {
		c.noteInstall(p, now, max(now.Installs-old.Installs, 1))
	}
	c.view[p.id] = now
	c.mu.Unlock()
	if err != nil {
		c.fail(fmt.Errorf("%s (%s): %w", p.id, lib.name, err))
	}
}

// noteInstall counts snapshots that p got from the leader that it names.
func (c *cluster) noteInstall(p *process, now seen, n int) {
	from := "unknown"
	for _, q := range c.procs {
		if q.id == now.Leader {
			from = q.library().name
		}
	}
	c.stats.installs[from+" -> "+p.library().name] += n
}

// last returns the last status of p and whether it is of its present run.
func (c *cluster) last(p *process) (seen, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.view[p.id]
	return s, s.run != nil && s.run == p.current()
}

// leader returns the server that was lately seen to lead the highest term, nil if
// none.
func (c *cluster) leader() *process {
	var best *process
	var term uint64
	for _, p := range c.members() {
		if s, ok := c.last(p); ok && s.State == "Leader" && s.Term > term && time.Since(s.at) < fresh {
			best, term = p, s.Term
		}
	}
	return best
}

// describe is the state of all servers on a few lines.
func (c *cluster) describe() string {
	var b strings.Builder
	for _, p := range c.members() {
		s, up := c.last(p)
		fmt.Fprintf(&b, "  %s %-14s up=%-5v %-9s term=%d leader=%-3s log=%d..%d commit=%d applied=%d count=%d chain=%s snapshot=%d seen %v ago %v\n",
			p.id, p.library().name, up, s.State, s.Term, s.Leader, s.First, s.Last, s.Commit, s.Applied, s.Count,
			s.Chain, s.Snapshot, time.Since(s.at).Round(time.Millisecond), s.Servers)
	}
	return b.String()
}

// await waits until cond holds, at most timeout.
func (c *cluster) await(ctx context.Context, timeout time.Duration, what string, cond func() bool) error {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval / 2)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.failed:
			return c.failure()
		case <-deadline.C:
			return fmt.Errorf("waited %v in vain until %s\n%s", timeout, what, c.describe())
		case <-tick.C:
		}
	}
	return nil
}
