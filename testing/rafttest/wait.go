package rafttest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// WaitEventChan returns a channel that is closed when one of the servers makes an
// observation that filter lets pass, or when ctx ends. A nil filter passes every
// observation. Observations from before the call don't count.
func (c *Cluster) WaitEventChan(ctx context.Context, filter raft.FilterFn) <-chan struct{} {
	seen, stop := c.observe(filter)
	out := make(chan struct{})
	go func() {
		defer close(out)
		defer stop()
		select {
		case <-seen:
		case <-ctx.Done():
		}
	}()
	return out
}

// WaitEvent waits until one of the servers makes an observation that filter lets
// pass, or until timeout has passed: that is no failure.
func (c *Cluster) WaitEvent(filter raft.FilterFn, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	<-c.WaitEventChan(ctx, filter)
}

// observe returns a channel that has room for one and is filled by observations
// that pass filter, until stop is called.
func (c *Cluster) observe(filter raft.FilterFn) (seen <-chan raft.Observation, stop func()) {
	ch := make(chan raft.Observation, 1)
	var deregister []func()
	for _, r := range c.rafts() {
		observer := raft.NewObserver(ch, false, filter)
		r.RegisterObserver(observer)
		deregister = append(deregister, func() { r.DeregisterObserver(observer) })
	}
	return ch, func() {
		for _, f := range deregister {
			f()
		}
	}
}

// GetInState waits until no server has changed its state for so long that no
// timer is left that would make one do it, and returns those in state s, which
// may be none.
func (c *Cluster) GetInState(s raft.RaftState) []*raft.Raft {
	c.t.Helper()
	changed, stop := c.observe(func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.RaftState)
		return ok
	})
	defer stop()

	// A follower may take three heartbeat timeouts to notice that its leader is
	// gone, a candidate two election timeouts to try again.
	settled := 3 * max(c.conf.HeartbeatTimeout, c.conf.ElectionTimeout)
	deadline := time.Now().Add(c.longstop)
	for quiet := time.Now(); time.Since(quiet) < settled; time.Sleep(pollInterval) {
		select {
		case <-changed:
			quiet = time.Now()
		default:
		}
		if time.Now().After(deadline) {
			c.FailNowf("the servers still change their states after %v: %s", c.longstop, c.states())
		}
	}
	return c.inState(s)
}

// rafts returns the servers that were started and neither stopped nor crashed.
func (c *Cluster) rafts() []*raft.Raft {
	var rafts []*raft.Raft
	for _, n := range c.Nodes() {
		if r := n.Raft(); r != nil {
			rafts = append(rafts, r)
		}
	}
	return rafts
}

func (c *Cluster) inState(s raft.RaftState) []*raft.Raft {
	return slices.DeleteFunc(c.rafts(), func(r *raft.Raft) bool { return r.State() != s })
}

func (c *Cluster) states() string { return fmt.Sprint(c.rafts()) }

// Leader waits until exactly one server leads and a majority has confirmed it
// since, and returns it.
func (c *Cluster) Leader() *raft.Raft {
	c.t.Helper()
	var leader *raft.Raft
	c.waitFor(c.t, "one leader", func() error {
		leaders := c.inState(raft.Leader)
		if len(leaders) != 1 {
			return fmt.Errorf("%d leaders: %s", len(leaders), c.states())
		}
		leader = leaders[0]
		return c.await(leader.VerifyLeader())
	})
	return leader
}

// Followers waits until one server leads and all others follow it, and returns
// those.
func (c *Cluster) Followers() []*raft.Raft {
	c.t.Helper()
	leader := c.Leader()
	var followers []*raft.Raft
	c.waitFor(c.t, "followers of one leader", func() error {
		followers = c.inState(raft.Follower)
		if leader.State() != raft.Leader {
			leader = c.Leader()
		}
		if len(followers) != len(c.rafts())-1 {
			return fmt.Errorf("%d followers: %s", len(followers), c.states())
		}
		for _, f := range followers {
			if id := c.leaderOf(f); id != c.leaderOf(leader) {
				return fmt.Errorf("%v follows %q", f, id)
			}
		}
		return nil
	})
	return followers
}

func (c *Cluster) leaderOf(r *raft.Raft) raft.ServerID {
	_, id := r.LeaderWithID()
	return id
}

// WaitForFollowers waits until n servers are followers, of a leader or not, and
// no server changes its state any more, as GetInState does.
func (c *Cluster) WaitForFollowers(n int) []*raft.Raft {
	c.t.Helper()
	var followers []*raft.Raft
	c.waitFor(c.t, fmt.Sprintf("%d followers", n), func() error {
		if followers = c.GetInState(raft.Follower); len(followers) != n {
			return fmt.Errorf("%d followers: %s", len(followers), c.states())
		}
		return nil
	})
	return followers
}

// WaitForReplication waits until the [MockFSM] of every server has applied
// exactly fsmLength commands.
func (c *Cluster) WaitForReplication(fsmLength int) {
	c.t.Helper()
	c.waitFor(c.t, fmt.Sprintf("%d commands everywhere", fsmLength), func() error {
		for _, n := range c.started() {
			if got := len(c.mock(n).Logs()); got != fsmLength {
				return fmt.Errorf("%s has applied %d", n.id, got)
			}
		}
		return nil
	})
}

// EnsureLeader waits until every server takes expect for the leader; "" stands
// for no leader.
func (c *Cluster) EnsureLeader(t *testing.T, expect raft.ServerAddress) {
	t.Helper()
	c.waitFor(t, fmt.Sprintf("leader %q everywhere", expect), func() error {
		for _, r := range c.rafts() {
			if addr, _ := r.LeaderWithID(); addr != expect {
				return fmt.Errorf("%v has leader %q", r, addr)
			}
		}
		return nil
	})
}

// EnsureSame waits until the [MockFSM]s of all servers have the same commands,
// and were told of the same configurations as far as they were told: an FSM that
// was restored from a snapshot has not seen the earlier ones.
func (c *Cluster) EnsureSame(t *testing.T) {
	t.Helper()
	c.waitFor(t, "equal FSMs", func() error {
		nodes := c.started()
		for i := 1; i < len(nodes); i++ {
			a, b := nodes[0], nodes[i]
			if err := sameFSM(c.mock(a), c.mock(b)); err != nil {
				return fmt.Errorf("%s and %s: %w", a.id, b.id, err)
			}
		}
		return nil
	})
}

func sameFSM(a, b *MockFSM) error {
	if x, y := a.Logs(), b.Logs(); !slices.EqualFunc(x, y, slices.Equal) {
		return fmt.Errorf("commands differ: %q and %q", x, y)
	}
	x, y := a.storedConfigurations(), b.storedConfigurations()
	common := min(len(x), len(y))
	x, y = x[len(x)-common:], y[len(y)-common:]
	if !slices.EqualFunc(x, y, sameConfiguration) {
		return fmt.Errorf("configurations differ: %v and %v", x, y)
	}
	return nil
}

func sameConfiguration(a, b raft.Configuration) bool { return slices.Equal(a.Servers, b.Servers) }

// EnsureSamePeers waits until all servers have the same latest configuration.
func (c *Cluster) EnsureSamePeers(t *testing.T) {
	t.Helper()
	c.waitFor(t, "equal configurations", func() error {
		var first raft.Configuration
		for i, r := range c.rafts() {
			config := r.GetConfiguration().Configuration()
			if i == 0 {
				first = config
			} else if !sameConfiguration(first, config) {
				return fmt.Errorf("one server has %v, %v has %v", first, r, config)
			}
		}
		return nil
	})
}

// mock returns the MockFSM within a server's FSM, and ends the test if there is
// none.
func (c *Cluster) mock(n *Node) *MockFSM {
	c.t.Helper()
	m := mockFSM(n.FSM())
	if m == nil {
		c.FailNowf("the FSM of %s, a %T, is no MockFSM and no WrappingFSM around one", n.id, n.FSM())
	}
	return m
}

// waitFor looks at a condition until it is nil, and ends the test with its last
// error if that takes longer than the longstop.
func (c *Cluster) waitFor(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(c.longstop)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v: %v", what, c.longstop, err)
		}
		time.Sleep(pollInterval)
	}
}

// await waits for a future no longer than the longstop.
func (c *Cluster) await(f raft.Future) error {
	done := make(chan error, 2)
	go func() { done <- f.Error() }()
	defer time.AfterFunc(c.longstop, func() { done <- fmt.Errorf("no answer within %v", c.longstop) }).Stop()
	return <-done
}
