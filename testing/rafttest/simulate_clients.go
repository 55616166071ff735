package rafttest

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// maxPending bounds the calls of one client that have not returned.
const maxPending = 8

// enqueueTimeout is how long a call waits to be taken up by a busy leader.
const enqueueTimeout = time.Second

// simClient calls servers, mostly the leader. It does not wait for its calls, so one
// that hangs with a server does not keep it from calling the next leader.
type simClient struct {
	*simulation
	number  int
	rng     *rand.Rand // of the goroutine of work
	pending atomic.Int32
	wrote   atomic.Bool // something
}

func (s *simulation) newClient(number int) *simClient {
	return &simClient{simulation: s, number: number, rng: s.source(uint64(number) + 1)}
}

// work makes calls until the troubles are over, now and then many at once.
func (c *simClient) work() {
	for !c.healed.Load() {
		time.Sleep(around(c.rng, c.opts.Pace))
		calls := 1
		if c.rng.IntN(20) == 0 {
			calls = maxPending
		}
		for ; calls > 0 && c.pending.Load() < maxPending; calls-- {
			c.call()
		}
	}
}

// call makes one call.
func (c *simClient) call() {
	server := c.anyLeader(c.rng)
	if server == nil {
		return
	}
	if c.opts.Read != nil && c.rng.IntN(3) == 0 {
		c.read(server)
		return
	}
	command := c.command()
	c.start(func() { c.write(server, command) })
}

// start runs a call on a goroutine of its own.
func (c *simClient) start(call func()) {
	c.pending.Add(1)
	c.calls.Add(1)
	go func() {
		defer c.pending.Add(-1)
		defer c.calls.Add(-1)
		call()
	}()
}

func (c *simClient) command() []byte { return c.opts.Command(c.rng, c.number) }

// write writes a command and records what comes of it.
func (c *simClient) write(server *simServer, command []byte) Outcome {
	life := server.life.Load()
	if life == nil {
		return Refused
	}
	op := c.history.Begin(Operation{Kind: Write, Client: c.number, Server: server.ID(), Command: command})
	f := life.raft.ApplyLog(raft.Log{Data: command, Extensions: op.Extensions()}, enqueueTimeout)
	err := f.Error()
	outcome := OutcomeOf(err)
	c.history.End(op, func(op *Operation) {
		if op.Outcome, op.Err = outcome, err; outcome == Done {
			op.Index, op.Result = f.Index(), f.Response()
		}
	})
	if outcome == Done && c.opts.Hooks.Wrote != nil {
		c.hooked("write", c.opts.Hooks.Wrote(op, life.raft))
	}
	return outcome
}

// readMethods are the ways in which a server may come to answer a read. Each returns
// the server whose FSM answers.
var readMethods = []struct {
	name string
	wait func(s *simulation, asked, other *life) (*life, error)
}{
	{"VerifyLeader", func(_ *simulation, asked, _ *life) (*life, error) {
		return asked, asked.raft.VerifyLeader().Error()
	}},
	{"ReadIndex", func(s *simulation, asked, _ *life) (*life, error) {
		_, err := asked.raft.ReadIndex(s.ctx)
		return asked, err
	}},
	{"ReadIndex for another", func(s *simulation, asked, other *life) (*life, error) {
		index, err := asked.raft.ReadIndex(s.ctx)
		if err != nil {
			return nil, err
		}
		return other, other.raft.WaitApplied(s.ctx, index)
	}},
	{"Barrier", func(_ *simulation, asked, _ *life) (*life, error) {
		return asked, asked.raft.Barrier(enqueueTimeout).Error()
	}},
}

// ReadMethods returns the ways in which a simulation makes reads linearizable.
func ReadMethods() []string {
	var names []string
	for _, m := range readMethods {
		names = append(names, m.name)
	}
	return names
}

// read makes a linearizable read and records what comes of it.
func (c *simClient) read(server *simServer) {
	method := readMethods[c.rng.IntN(len(readMethods))]
	asked, other := server.life.Load(), c.servers()[c.rng.IntN(len(c.servers()))].life.Load()
	if asked == nil || other == nil {
		return
	}
	query := c.opts.Query(c.rng, c.number)
	c.start(func() {
		op := c.history.Begin(Operation{Kind: Read, Client: c.number, Server: server.ID(), Via: method.name, Query: query})
		at, err := method.wait(c.simulation, asked, other)
		var result any
		if err == nil {
			result = c.opts.Read(at.fsm.FSM, query)
		}
		c.history.End(op, func(op *Operation) {
			if op.Outcome, op.Err, op.Result = Done, err, result; err != nil {
				op.Outcome = Refused
			}
		})
	})
}
