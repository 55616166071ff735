package rafttest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// requestTimeout is how long a caller waits for an answer.
	requestTimeout = 500 * time.Millisecond

	// snapshotTimeout is the same for InstallSnapshot.
	snapshotTimeout = 10 * requestTimeout

	// maxLateness is by how much a repeated request may be late.
	maxLateness = time.Second
)

// Network connects servers of one process, and loses, delays, repeats and holds up
// what they send each other. It begins without a fault: every message arrives at
// once. All methods may be called from any goroutine.
//
// A caller waits half a second for its answer, with InstallSnapshot five seconds.
// What is lost, on the way there or back, it waits for in vain, as with a real
// partition; a server that is down refuses at once.
//
// Messages of one pipeline keep their order, and behind a lost one nothing more
// arrives, as in a connection of TCP. Everything else may overtake. Requests are
// copied; the entries in them are not and must not be changed.
type Network struct {
	fabric atomic.Pointer[fabric]
}

// fabric is the state of one or, after a merge, of several Networks.
type fabric struct {
	mu          sync.Mutex // guards all of it, and what the endpoints say it does
	rng         *rand.Rand
	latency     span
	loss        float64
	duplication float64
	endpoints   map[raft.ServerAddress]*endpoint // closed ones too
	cuts        map[link]bool
	stalls      map[raft.ServerAddress]*stall
	intercept   func(Message) error
	counts      NetworkCounts
}

// link is one direction between two servers.
type link struct{ from, to raft.ServerAddress }

// stall is what is held up for a server that is stalled.
type stall struct {
	held    []*packet // in the order of arrival
	resumed chan struct{}
}

// Message is a request that a server sends, as [Network.Intercept] sees it.
type Message struct {
	From, To raft.ServerAddress

	// Request points to one of the request types of package raft. It must not be
	// changed.
	Request any
}

// NetworkCounts says what a network has done so far. A message is a request or an
// answer.
type NetworkCounts struct {
	Sent       int // messages, but for repeats
	Lost       int // messages, at random, by a cut, or behind a lost one
	Duplicated int // requests
	Refused    int // requests that met a server that was down
	Stalled    int // messages that were held up at least once
}

// NewNetwork returns a network without servers. What happens at random is drawn
// from seed; since goroutines draw in the order in which they come, a seed makes
// runs alike and not equal.
func NewNetwork(seed uint64) *Network {
	n := new(Network)
	n.fabric.Store(&fabric{
		rng:       rand.New(rand.NewPCG(seed, 0)),
		endpoints: map[raft.ServerAddress]*endpoint{},
		cuts:      map[link]bool{},
		stalls:    map[raft.ServerAddress]*stall{},
	})
	return n
}

// lock returns the network's state, locked.
func (n *Network) lock() *fabric {
	for {
		f := n.fabric.Load()
		f.mu.Lock()
		if n.fabric.Load() == f {
			return f
		}
		f.mu.Unlock() // it was merged meanwhile
	}
}

// Join connects a server and returns its transport, which implements
// [raft.WithPreVote] and [raft.WithClose]. An earlier transport of the address is
// closed. Cuts and stalls of the address stay.
func (n *Network) Join(addr raft.ServerAddress) raft.Transport { return n.join(addr) }

func (n *Network) join(addr raft.ServerAddress) *endpoint {
	e := newEndpoint(n, addr)
	f := n.lock()
	defer f.mu.Unlock()
	if old := f.endpoints[addr]; old != nil {
		old.close()
	}
	f.endpoints[addr] = e
	return e
}

// SetLatency makes each message sent from now on take a time between min and max,
// one way.
func (n *Network) SetLatency(min, max time.Duration) {
	f := n.lock()
	defer f.mu.Unlock()
	f.latency = newSpan(min, max)
}

// SetLoss loses each message sent from now on with probability p. A snapshot that
// follows its request is not lost at random.
func (n *Network) SetLoss(p float64) {
	f := n.lock()
	defer f.mu.Unlock()
	f.loss = p
}

// SetDuplication delivers each request sent from now on, but for InstallSnapshot,
// with probability p a second time, up to a second later and in no order with
// others. The answer to the second is discarded.
func (n *Network) SetDuplication(p float64) {
	f := n.lock()
	defer f.mu.Unlock()
	f.duplication = p
}

// Cut loses what one server sends to another, also what is under way.
func (n *Network) Cut(from, to raft.ServerAddress) {
	f := n.lock()
	defer f.mu.Unlock()
	f.cuts[link{from, to}] = true
}

// Isolate cuts a server off from all others that have joined, in both directions.
func (n *Network) Isolate(addr raft.ServerAddress) {
	n.Partition([]raft.ServerAddress{addr})
}

// Partition cuts the servers of different sides off from each other, in both
// directions. Those that have joined and are named on no side are one more side.
// Within a side everything stays as it was.
func (n *Network) Partition(sides ...[]raft.ServerAddress) {
	f := n.lock()
	defer f.mu.Unlock()
	side := map[raft.ServerAddress]int{}
	for addr := range f.endpoints {
		side[addr] = len(sides)
	}
	for i, addrs := range sides {
		for _, addr := range addrs {
			side[addr] = i
		}
	}
	for a := range side {
		for b := range side {
			if side[a] != side[b] {
				f.cuts[link{a, b}] = true
			}
		}
	}
}

// Heal undoes all cuts, and nothing else.
func (n *Network) Heal() {
	f := n.lock()
	defer f.mu.Unlock()
	clear(f.cuts)
}

// Stall holds up everything from and to a server, as if its process were stopped:
// others wait for it in vain, and nothing is lost.
func (n *Network) Stall(addr raft.ServerAddress) {
	f := n.lock()
	defer f.mu.Unlock()
	if f.stalls[addr] == nil {
		f.stalls[addr] = &stall{resumed: make(chan struct{})}
	}
}

// Resume ends a Stall: what was held up moves on, in the order in which it would
// have arrived, whether somebody still waits for it or not.
func (n *Network) Resume(addr raft.ServerAddress) {
	f := n.lock()
	defer f.mu.Unlock()
	s := f.stalls[addr]
	if s == nil {
		return
	}
	delete(f.stalls, addr)
	close(s.resumed)
	for _, p := range s.held {
		f.arrive(p)
	}
}

// Intercept has hook see each request, once, before it is sent. The hook runs on a
// goroutine of the sender and may block; an error makes the request fail, and the
// pipeline that carries it. Nil ends it.
func (n *Network) Intercept(hook func(Message) error) {
	f := n.lock()
	defer f.mu.Unlock()
	f.intercept = hook
}

// intercepted asks the hook.
func (n *Network) intercepted(l link, request any) error {
	f := n.lock()
	hook := f.intercept
	f.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(Message{l.from, l.to, request})
}

// Counts returns what the network has done so far.
func (n *Network) Counts() NetworkCounts {
	f := n.lock()
	defer f.mu.Unlock()
	return f.counts
}

// merge makes one network of two. Their servers don't reach each other until Heal.
// The faults set for other, but for cuts and stalls, are forgotten.
func (n *Network) merge(other *Network) error {
	if n.fabric.Load() == other.fabric.Load() {
		return nil
	}
	f, g := n.lock(), other.lock()
	defer f.mu.Unlock()
	defer g.mu.Unlock()
	for a := range g.endpoints {
		if f.endpoints[a] != nil {
			return fmt.Errorf("both networks have a server of the address %s", a)
		}
	}
	for a := range g.endpoints {
		for b := range f.endpoints {
			f.cuts[link{a, b}], f.cuts[link{b, a}] = true, true
		}
	}
	maps.Copy(f.endpoints, g.endpoints)
	maps.Copy(f.cuts, g.cuts)
	maps.Copy(f.stalls, g.stalls)
	f.counts.add(g.counts)
	other.fabric.Store(f)
	return nil
}

func (c *NetworkCounts) add(d NetworkCounts) {
	c.Sent += d.Sent
	c.Lost += d.Lost
	c.Duplicated += d.Duplicated
	c.Refused += d.Refused
	c.Stalled += d.Stalled
}

// What follows needs the lock.

// stream keeps the order of what is sent one way over one connection.
type stream struct {
	net    *Network
	under  []*packet // under way, the next to arrive first
	broken bool      // something was lost: nothing behind it arrives
}

// packet is a message under way. arrive is called with the lock held.
type packet struct {
	link
	stream  *stream
	arrive  func(*fabric)
	stalled bool
}

// send lets a packet travel.
func (f *fabric) send(p *packet) {
	f.counts.Sent++
	if f.cuts[p.link] || f.happens(f.loss) {
		f.lose(p)
		return
	}
	s, latency := p.stream, f.latency.draw(f.rng)
	if latency == 0 && len(s.under) == 0 {
		f.arrive(p)
		return
	}
	s.under = append(s.under, p)
	time.AfterFunc(latency, s.next)
}

// next has the next packet arrive, whichever packet's timer it was: so the order is
// kept, and since no timer is of a packet that was sent later, none takes less than
// the shortest latency.
func (s *stream) next() {
	f := s.net.lock()
	defer f.mu.Unlock()
	p := s.under[0]
	s.under = slices.Delete(s.under, 0, 1)
	f.arrive(p)
}

// arrive is the end of a packet's way.
func (f *fabric) arrive(p *packet) {
	if p.stream.broken || f.cuts[p.link] {
		f.lose(p)
		return
	}
	if s := f.stalled(p.link); s != nil {
		f.hold(s, p)
		return
	}
	p.arrive(f)
}

func (f *fabric) lose(p *packet) {
	f.counts.Lost++
	p.stream.broken = true
}

func (f *fabric) hold(s *stall, p *packet) {
	if !p.stalled {
		p.stalled = true
		f.counts.Stalled++
	}
	s.held = append(s.held, p)
}

// stalled returns the stall that holds a link up, nil if none does.
func (f *fabric) stalled(l link) *stall {
	if s := f.stalls[l.from]; s != nil {
		return s
	}
	return f.stalls[l.to]
}

// happens draws whether something of probability p happens.
func (f *fabric) happens(p float64) bool { return p > 0 && f.rng.Float64() < p }
