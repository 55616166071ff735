package main

import (
	"encoding/binary"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// idSize is the length of a proposal's number, which precedes the command.
const idSize = 8

// calls are the proposals of this node that wait until they are applied.
type calls struct {
	outcomes sync.Pool // of chan error

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan error
	broken  error // what every call gets
}

func newCalls() *calls {
	return &calls{
		outcomes: sync.Pool{New: func() any { return make(chan error, 1) }},
		waiting:  make(map[uint64]chan error),
	}
}

// begin returns the data of an entry with command, and where its outcome will be.
func (c *calls) begin(command []byte) (data []byte, outcome chan error) {
	data = make([]byte, idSize+len(command))
	copy(data[idSize:], command)
	outcome = c.outcomes.Get().(chan error)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	binary.LittleEndian.PutUint64(data, c.last)
	if c.broken != nil {
		outcome <- c.broken
	} else {
		c.waiting[c.last] = outcome
	}
	return data, outcome
}

// await returns what came of a proposal. The channel may serve another one then.
func (c *calls) await(outcome chan error) error {
	err := <-outcome
	c.outcomes.Put(outcome)
	return err
}

// finish wakes those who wait for entries, if they wait at this node.
func (c *calls) finish(entries []raftpb.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return
	}
	for i := range entries {
		if data := entries[i].Data; len(data) > 0 {
			c.done(binary.LittleEndian.Uint64(data), nil)
		}
	}
}

// fail gives err to all who wait and to all who will come.
func (c *calls) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
	for id := range c.waiting {
		c.done(id, err)
	}
}

func (c *calls) done(id uint64, err error) {
	if outcome, ok := c.waiting[id]; ok {
		delete(c.waiting, id)
		outcome <- err
	}
}
