package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// demo is the state of one run. The steps of the story use it one after another.
type demo struct {
	opts options
	out  *printer
	dir  string
	fail context.CancelCauseFunc // ends the run from anywhere

	items  []item
	nodes  []*process
	client *client
	load   *load

	dead      *process // the killed leader
	deadIndex uint64   // last index of the log when it was killed, or a little less
}

// run tells the story. Each step ends with an error if what it shows doesn't hold.
func (d *demo) run(ctx context.Context) error {
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"Collect the data: the Go toolchain's own files, path -> content", d.collect},
		{"Build kv and start three nodes", d.start},
		{"Load everything; SIGKILL the leader halfway", d.loadAndKill},
		{"Read back every acknowledged key, linearizably", d.readBack},
		{"Restart the dead node", d.restart},
		{"Compare the state hashes of the three nodes", d.compare},
		{"Stop all nodes in good order", d.stop},
	} {
		d.out.step(step.title)
		if err := step.do(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (d *demo) collect(ctx context.Context) error {
	root, err := d.opts.root, error(nil)
	if root == "" {
		root, err = goRoot(ctx)
	}
	if err != nil {
		return err
	}
	if d.items, err = collect(root, d.opts.minKeys, d.opts.minBytes); err != nil {
		return err
	}
	smallest, largest := sizeRange(d.items)
	d.out.line("%s files, %s, from %s to %s bytes each, of %s", count(len(d.items)),
		megabytes(totalSize(d.items)), count(smallest), count(largest), root)
	return nil
}

func (d *demo) start(ctx context.Context) error {
	begin := time.Now()
	if err := d.build(ctx); err != nil {
		return err
	}
	d.out.line("built in %s", seconds(time.Since(begin)))
	var err error
	if d.nodes, err = d.newProcesses(); err != nil {
		return err
	}
	var addrs []string
	for _, p := range d.nodes {
		addrs = append(addrs, p.httpAddr)
	}
	d.client = newClient(addrs, d.opts.clients)
	for _, p := range d.nodes {
		if err := p.start(); err != nil {
			return err
		}
		d.out.line("%s serves http://%s", p.id, p.httpAddr)
	}
	return d.waitForCluster(ctx)
}

// waitForCluster returns when all nodes are members and follow one leader.
func (d *demo) waitForCluster(ctx context.Context) error {
	begin := time.Now()
	err := poll(ctx, "all nodes in the cluster", func() bool {
		for _, p := range d.nodes {
			st, err := d.client.status(ctx, p.httpAddr)
			if err != nil || len(st.Members) != len(d.nodes) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	p, st, err := d.findLeader(ctx)
	if err != nil {
		return err
	}
	d.out.line("%s leads in term %d, all three are members after %s", p.id, st.Term, seconds(time.Since(begin)))
	return nil
}

// findLeader waits for a leader among the nodes that are alive. Of two that say
// they lead it is the one of the higher term.
func (d *demo) findLeader(ctx context.Context) (leader *process, status nodeStatus, err error) {
	err = poll(ctx, "a leader", func() bool {
		for _, p := range d.living() {
			st, err := d.client.status(ctx, p.httpAddr)
			if err == nil && st.State == "Leader" && (leader == nil || st.Term > status.Term) {
				leader, status = p, st
			}
		}
		return leader != nil
	})
	return leader, status, err
}

// living returns the nodes that run.
func (d *demo) living() []*process {
	var all []*process
	for _, p := range d.nodes {
		if p != d.dead {
			all = append(all, p)
		}
	}
	return all
}

func (d *demo) stop(ctx context.Context) error {
	begin := time.Now()
	// A connection that was never used would keep a node waiting for its first
	// request.
	d.client.http.CloseIdleConnections()
	var errs []error
	for _, p := range d.nodes {
		errs = append(errs, p.stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.out.line("stopped in %s", seconds(time.Since(begin)))
	return nil
}

const (
	pollInterval = 50 * time.Millisecond
	pollTimeout  = 60 * time.Second
)

// poll calls ok until it returns true.
func poll(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	for !ok() {
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}
