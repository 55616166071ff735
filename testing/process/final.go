package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// serve waits until every node serves: until a client that asks it to write and to
// read is answered.
func (c *clients) serve(ctx context.Context) error {
	for _, n := range c.nodes {
		for _, kind := range []kind{put, get} {
			if err := c.insist(ctx, n, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// insist asks n until it is done.
func (c *clients) insist(ctx context.Context, n *node, k kind) error {
	var last op
	for deadline := c.now() + recovery; c.now() < deadline && ctx.Err() == nil; sleep(ctx, pauseAfterFailure) {
		o := op{Client: driverClient, Kind: k, Key: "serves/" + n.id}
		if k == put {
			o.Value = c.value(0)
		}
		if last = c.do(n, o); last.Outcome == done {
			return nil
		}
	}
	return fmt.Errorf("%s does not serve: %v", n.id, last)
}

// settle waits until all nodes have applied the whole log and are at the same index,
// and returns it; their states have then been compared. Clients are to be paused.
func (c *cluster) settle(ctx context.Context) (index uint64, err error) {
	if err := c.awaitWhole(ctx); err != nil {
		return 0, err
	}
	asked := time.Now()
	err = c.await(ctx, "all have applied the same", func() bool {
		var first seen
		for i, n := range c.nodes {
			s, up := c.last(n)
			if i == 0 {
				first = s
			}
			if !up || s.at.Before(asked) || s.Applied != s.Last || s.Last != first.Last || s.HashIndex != first.HashIndex {
				return false
			}
		}
		index = first.HashIndex
		return true
	})
	return index, err
}

// lookEverywhere reads all keys that there were on every node, which are at rest at
// the same index, and adds that to the history. If an operation of unknown outcome
// has taken effect meanwhile, it looks again.
func (s *session) lookEverywhere(ctx context.Context) error {
	const attempts = 5
	history, _ := s.clients.snapshot()
	keys := byKey(history)
	for range attempts {
		index, err := s.c.settle(ctx)
		if err != nil {
			return err
		}
		found := make([][]op, len(s.c.nodes))
		var group sync.WaitGroup
		for i, n := range s.c.nodes {
			group.Go(func() {
				for key := range keys {
					found[i] = append(found[i], s.clients.attempt(n, op{Client: driverClient, Kind: look, Key: key}))
				}
			})
		}
		group.Wait()
		looks := slices.Concat(found...)
		if !slices.ContainsFunc(looks, func(o op) bool { return o.Outcome != done || o.Index != index }) {
			s.clients.record(looks...)
			return nil
		}
	}
	return errors.New("the nodes do not come to rest although no client writes")
}
