package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// writers is a set of clients, each sending one command after the other to
// whoever leads. It owns the history of what they were told.
type writers struct {
	c     *cluster
	pace  time.Duration
	gate  sync.RWMutex // held for reading while a command is on its way
	group sync.WaitGroup

	mu      sync.Mutex
	history []write

	// Of burst, which one goroutine calls.
	extra, extraSeq uint32
	rng             *rand.Rand

	// ackedTerm is the largest term of an acknowledged command.
	ackedTerm atomic.Uint64
}

// applyTimeout is how long a client waits before it gives a command up.
const applyTimeout = 5 * time.Second

// startWriters starts n clients that run until ctx ends; wait waits for them.
func startWriters(ctx context.Context, c *cluster, n int, pace time.Duration, seed uint64) *writers {
	w := &writers{c: c, pace: pace, extra: uint32(n) + 1, rng: rand.New(rand.NewPCG(seed, uint64(n)+1))}
	for i := range n {
		rng := rand.New(rand.NewPCG(seed, uint64(i)+1))
		w.group.Go(func() { w.run(ctx, uint32(i)+1, rng) })
	}
	return w
}

func (w *writers) wait() { w.group.Wait() }

// pause keeps the clients from sending and returns once nothing is on its way;
// resume lets them go on.
func (w *writers) pause()  { w.gate.Lock() }
func (w *writers) resume() { w.gate.Unlock() }

func (w *writers) run(ctx context.Context, client uint32, rng *rand.Rand) {
	for seq := uint32(1); ctx.Err() == nil; seq++ {
		p := w.c.leader()
		if p == nil || rng.IntN(50) == 0 { // now and then ask the wrong one
			all := w.c.members()
			p = all[rng.IntN(len(all))]
		}
		w.gate.RLock()
		res := w.send(p, client, seq, payload(rng, client, seq))
		w.gate.RUnlock()
		delay := w.pace
		if res.Outcome != control.Acked {
			delay = 20*time.Millisecond + 2*w.pace
		}
		sleep(ctx, delay/2+rand.N(delay+1))
	}
}

// send sends one command and records what became of it. A command that was sent
// is waited for even if the run ends: its outcome is part of the history.
func (w *writers) send(p *process, client, seq uint32, cmd []byte) control.Result {
	start := w.c.now()
	res := p.do(context.Background(), applyTimeout, control.Apply, nil, cmd)
	rec := write{Client: client, Seq: seq, Sum: sum(cmd), Node: p.id, Start: start, End: w.c.now(), Result: res}
	w.c.count(func(s *stats) { s.writes[res.Outcome]++ })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, rec)
	if res.Outcome == control.Acked && res.Term > w.ackedTerm.Load() {
		w.ackedTerm.Store(res.Term)
	}
	return res
}

// burst sends p n commands of some size, one after the other, as a client of its
// own, and returns how many were acknowledged. Only one goroutine may call it.
func (w *writers) burst(p *process, n, size int) (acked int) {
	for range n {
		w.extraSeq++
		if w.send(p, w.extra, w.extraSeq, command(w.rng, w.extra, w.extraSeq, size)).Outcome == control.Acked {
			acked++
		}
	}
	return acked
}

// record returns what happened so far.
func (w *writers) record() []write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.history)
}

// payload makes a command. Most are small; some are larger than a network buffer.
func payload(rng *rand.Rand, client, seq uint32) []byte {
	size := 20 + rng.IntN(200)
	if rng.IntN(100) == 0 {
		size = 1 + rng.IntN(128<<10)
	}
	return command(rng, client, seq, size)
}

// command makes a command that no other one equals.
func command(rng *rand.Rand, client, seq uint32, size int) []byte {
	b := fmt.Appendf(nil, "%d %d ", client, seq)
	return append(b, bytes.Repeat([]byte{byte(rng.Uint32())}, size)...)
}

// sum is the node's hash of a command.
func sum(cmd []byte) uint64 {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(cmd))))
	h.Write(cmd)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// verify asks every server that was last seen to lead, again and again, whether
// it does. One that says yes must not be of an older term than a command that had
// been acknowledged when it was asked: a reader would miss that command. It does
// not wait for one answer before it asks again: the question that matters is the
// one that a stopped leader gets when there is already another.
func (w *writers) verify(ctx context.Context) {
	var asked sync.WaitGroup
	defer asked.Wait()
	for ; ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		for _, p := range w.c.members() {
			if s, up := w.c.last(p); !up || s.State != "Leader" {
				continue
			}
			lib, acked := p.library(), w.ackedTerm.Load()
			asked.Go(func() {
				res := p.do(ctx, applyTimeout, control.Verify, nil, nil)
				if res.Outcome == control.Acked {
					w.c.noteVerified(p, lib, res.Term, acked)
				}
			})
		}
	}
}

// noteVerified counts an answer. hashicorp/raft is known to take the answer to a
// heartbeat that was sent before the question for a confirmation: of a peer a
// wrong answer is counted, of this library it is a fault.
func (c *cluster) noteVerified(p *process, lib library, term, acked uint64) {
	stale := term < acked
	c.mu.Lock()
	c.stats.verified++
	if stale {
		c.stats.stale++
	}
	c.mu.Unlock()
	if stale && !lib.peer() {
		c.fail(fmt.Errorf("%s (%s) was confirmed as leader in term %d after a command of term %d had been acknowledged",
			p.id, lib.name, term, acked))
	}
}
