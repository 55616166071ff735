package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// staleSample is how many keys are read from the restarted node's own state.
const staleSample = 1000

// readBack reads every acknowledged key through the nodes that are alive.
func (d *demo) readBack(ctx context.Context) error {
	begin := time.Now()
	if err := each(ctx, d.opts.clients, len(d.items), d.checkItem); err != nil {
		return err
	}
	d.out.line("%s of %s acknowledged keys are there with the right content (%s)",
		count(len(d.items)), count(d.load.keys.Load()), seconds(time.Since(begin)))
	return nil
}

func (d *demo) checkItem(ctx context.Context, i int) error {
	if !d.load.acked[i].Load() {
		return nil
	}
	content, err := d.client.get(ctx, i, d.items[i].key)
	if err != nil {
		return fmt.Errorf("acknowledged key %s: %w", d.items[i].key, err)
	}
	return d.checkContent(i, content)
}

func (d *demo) checkContent(i int, content []byte) error {
	if sha256.Sum256(content) != d.load.sums[i] {
		return fmt.Errorf("acknowledged key %s has another content, %d bytes", d.items[i].key, len(content))
	}
	return nil
}

// restart starts the dead node again and waits until it has caught up.
func (d *demo) restart(ctx context.Context) error {
	leader, st, err := d.waitForCompaction(ctx)
	if err != nil {
		return err
	}
	d.out.line("%s died at index %s; leader %s is at %s, with a snapshot at %s",
		d.dead.id, count(d.deadIndex), leader.id, count(st.LastIndex), count(st.SnapshotIndex))

	begin, back := time.Now(), d.dead
	if err := back.start(); err != nil {
		return err
	}
	d.dead = nil
	var now nodeStatus
	err = poll(ctx, back.id+" to catch up", func() bool {
		now, err = d.client.status(ctx, back.httpAddr)
		return err == nil && now.AppliedIndex >= st.CommitIndex
	})
	if err != nil {
		return err
	}
	d.out.line("%s has caught up to index %s after %s, snapshots installed: %d",
		back.id, count(now.AppliedIndex), seconds(time.Since(begin)), now.SnapshotsInstalled)
	if now.SnapshotsInstalled == 0 {
		return errors.New("the log was compacted, but no snapshot was installed")
	}
	return d.readStale(ctx, back)
}

// waitForCompaction waits until the leader has deleted entries that the dead node
// misses, as it does by itself after a snapshot.
func (d *demo) waitForCompaction(ctx context.Context) (leader *process, st nodeStatus, err error) {
	behind := d.deadIndex + uint64(d.trailingLogs()) + 2*uint64(d.opts.clients)
	if leader, _, err = d.findLeader(ctx); err != nil {
		return leader, st, err
	}
	err = poll(ctx, "a snapshot that the dead node needs", func() bool {
		st, err = d.client.status(ctx, leader.httpAddr)
		return err == nil && st.SnapshotIndex > behind
	})
	return leader, st, err
}

// readStale checks a sample of the keys in one node's own state.
func (d *demo) readStale(ctx context.Context, p *process) error {
	n := min(staleSample, len(d.items))
	err := each(ctx, d.opts.clients, n, func(ctx context.Context, i int) error {
		i = i * len(d.items) / n
		content, err := d.client.getStale(ctx, p.httpAddr, d.items[i].key)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", d.items[i].key, p.id, err)
		}
		return d.checkContent(i, content)
	})
	if err != nil {
		return err
	}
	d.out.line("%s keys read from its own state are right", count(n))
	return nil
}

// compare compares the hashes of the three states at the same index.
func (d *demo) compare(ctx context.Context) error {
	_, st, err := d.findLeader(ctx)
	if err != nil {
		return err
	}
	hashes := make([]nodeHash, len(d.nodes))
	err = poll(ctx, "all nodes at the same index", func() bool {
		for i, p := range d.nodes {
			if hashes[i], err = d.client.hash(ctx, p.httpAddr, st.CommitIndex); err != nil {
				return false
			}
		}
		return hashes[0].Index == hashes[1].Index && hashes[0].Index == hashes[2].Index
	})
	if err != nil {
		return err
	}
	for i, p := range d.nodes {
		d.out.line("%s  index %s  %s", p.id, count(hashes[i].Index), hashes[i].Hash)
	}
	if hashes[0] != hashes[1] || hashes[0] != hashes[2] {
		return errors.New("the hashes differ")
	}
	if st.Keys != len(d.items) {
		return fmt.Errorf("there are %d keys instead of %d", st.Keys, len(d.items))
	}
	return nil
}
