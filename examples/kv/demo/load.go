package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const progressInterval = 2 * time.Second

// load is what the clients have written so far.
type load struct {
	sums  [][sha256.Size]byte // of the content of each acknowledged item
	acked []atomic.Bool       // set after its sum
	keys  atomic.Int64        // acknowledged
	bytes atomic.Int64

	half     int64
	halfway  chan struct{} // closed when half of the keys are acknowledged
	killed   atomic.Int64  // when the leader was killed, in nanoseconds; 0 before
	recovery atomic.Int64  // from there to the first acknowledged write begun after it
}

func newLoad(items int) *load {
	return &load{
		sums:    make([][sha256.Size]byte, items),
		acked:   make([]atomic.Bool, items),
		half:    int64(items+1) / 2,
		halfway: make(chan struct{}),
	}
}

// ack records that item i was acknowledged. It is called once for each.
func (l *load) ack(i int, content []byte, begun time.Time) {
	l.sums[i] = sha256.Sum256(content)
	l.acked[i].Store(true)
	l.bytes.Add(int64(len(content)))
	if killed := l.killed.Load(); killed != 0 && begun.UnixNano() > killed {
		l.recovery.CompareAndSwap(0, time.Now().UnixNano()-killed)
	}
	if l.keys.Add(1) == l.half {
		close(l.halfway)
	}
}

func (d *demo) loadAndKill(ctx context.Context) error {
	begin := time.Now()
	d.load = newLoad(len(d.items))
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	reporting, done := context.WithCancel(ctx)
	defer done()

	// Whatever fails first makes the others give up.
	var work, reports sync.WaitGroup
	start := func(do func(context.Context) error) {
		work.Go(func() {
			if err := do(ctx); err != nil {
				fail(err)
			}
		})
	}
	start(func(ctx context.Context) error { return each(ctx, d.opts.clients, len(d.items), d.putItem) })
	start(d.killHalfway)
	reports.Go(func() { d.progress(reporting, begin) })
	work.Wait()
	took := time.Since(begin)
	done()
	reports.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return d.reportLoad(took)
}

// putItem writes one file and tries until it is acknowledged. The clients start
// at different nodes, so followers forward a good part of the requests.
func (d *demo) putItem(ctx context.Context, i int) error {
	content, err := os.ReadFile(d.items[i].path)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := d.client.put(ctx, i, d.items[i].key, content); err != nil {
		return fmt.Errorf("writing %s: %w", d.items[i].key, err)
	}
	d.load.ack(i, content, begun)
	return nil
}

func (d *demo) reportLoad(took time.Duration) error {
	l := d.load
	if n := l.keys.Load(); n != int64(len(d.items)) {
		return fmt.Errorf("%d of %d writes were acknowledged", n, len(d.items))
	}
	d.out.line("%s keys, %s acknowledged in %s: %s keys/s, %s/s, by %d clients",
		count(l.keys.Load()), megabytes(l.bytes.Load()), seconds(took),
		count(int64(float64(l.keys.Load())/took.Seconds())),
		megabytes(int64(float64(l.bytes.Load())/took.Seconds())), d.opts.clients)
	d.out.line("%s requests were repeated at another node, %s of them after \"may or may not have been applied\"",
		count(d.client.retries.Load()), count(d.client.unknown.Load()))
	return nil
}

// progress prints a line every two seconds until ctx ends.
func (d *demo) progress(ctx context.Context, begin time.Time) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			keys := d.load.keys.Load()
			d.out.line("%6s/%s keys  %8s  %5s keys/s", count(keys), count(len(d.items)),
				megabytes(d.load.bytes.Load()), count(int64(float64(keys)/time.Since(begin).Seconds())))
		case <-ctx.Done():
			return
		}
	}
}

// killHalfway kills the leader when half of the keys are written, and reports
// how the others go on.
func (d *demo) killHalfway(ctx context.Context) error {
	select {
	case <-d.load.halfway:
	case <-ctx.Done():
		return ctx.Err()
	}
	leader, st, err := d.findLeader(ctx)
	if err != nil {
		return err
	}
	d.load.killed.Store(time.Now().UnixNano())
	leader.kill()
	killed := time.Now()
	d.dead, d.deadIndex = leader, st.LastIndex
	d.out.line("killed the leader, %s (term %d), at %s acknowledged keys", leader.id, st.Term, count(d.load.keys.Load()))

	next, nst, err := d.findLeader(ctx)
	if err != nil {
		return err
	}
	if nst.Term <= st.Term {
		return fmt.Errorf("%s leads in term %d after %s did in term %d", next.id, nst.Term, leader.id, st.Term)
	}
	d.out.line("%s leads in term %d, %s after the kill", next.id, nst.Term, seconds(time.Since(killed)))
	if err := poll(ctx, "the first write after the kill", func() bool { return d.load.recovery.Load() != 0 }); err != nil {
		return err
	}
	d.out.line("first write acknowledged %s after the kill", seconds(time.Duration(d.load.recovery.Load())))
	return nil
}

// each calls do for 0 to n-1 from some workers at once. After the first error it
// cancels what is under way, starts no more, and returns that error.
func each(ctx context.Context, workers, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < n && ctx.Err() == nil; i = int(next.Add(1) - 1) {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
