package load

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A loop is one run of a closed loop.
type loop struct {
	options Options
	usage   func() (Usage, error)
	op      func(client int) error // called by the clients
	beside  func(client int) error // called by the writers

	phase      atomic.Int32
	failed     chan error // the first failure of a client
	ops, extra histogram  // latencies of op and of beside in the measured time
}

// The phases of a loop.
const (
	warming int32 = iota
	measuring
	over
)

// run runs the loop, and returns when no operation is under way any more.
func (l *loop) run() (Metrics, error) {
	if l.options.Clients < 1 || l.options.Time <= 0 {
		return nil, fmt.Errorf("%d clients for %v are no load", l.options.Clients, l.options.Time)
	}
	if l.beside == nil && l.options.Writers > 0 {
		return nil, fmt.Errorf("%w: writers beside what is no read", ErrUnsupported)
	}
	l.failed = make(chan error, 1)
	var clients sync.WaitGroup
	for i := range l.options.Clients {
		clients.Go(func() { l.client(i, l.op, &l.ops) })
	}
	for i := range l.options.Writers {
		clients.Go(func() { l.client(i, l.beside, &l.extra) })
	}
	m, err := l.measure()
	l.phase.Store(over)
	clients.Wait()
	if err != nil {
		return nil, err
	}
	select {
	case err := <-l.failed: // in an operation that was under way at the end
		return nil, err
	default:
		return m, nil
	}
}

// client calls op until the loop is over or op fails. The end of an operation is the
// beginning of the next, so each costs one reading of the clock.
func (l *loop) client(i int, op func(int) error, latencies *histogram) {
	start := time.Now()
	last := time.Duration(0)
	for l.phase.Load() != over {
		if err := op(i); err != nil {
			select {
			case l.failed <- fmt.Errorf("client %d: %w", i, err):
			default: // another was first
			}
			return
		}
		now := time.Since(start)
		if l.phase.Load() == measuring {
			latencies.record(now - last)
		}
		last = now
	}
}

// measure lets the clients warm up, and returns what they do then.
func (l *loop) measure() (Metrics, error) {
	if err := l.wait(l.options.Time / 5); err != nil {
		return nil, err
	}
	span, err := measure(l.options, l.usage, func() error {
		l.phase.Store(measuring)
		defer l.phase.Store(over)
		return l.wait(l.options.Time)
	})
	if err != nil {
		return nil, err
	}
	return l.metrics(span)
}

// wait waits, but not longer than until a client fails.
func (l *loop) wait(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-l.failed:
		return err
	case <-timer.C:
		return nil
	}
}

func (l *loop) metrics(s span) (Metrics, error) {
	ops := float64(l.ops.count.Load())
	if ops == 0 {
		return nil, fmt.Errorf("no operation completed in %v", s.time)
	}
	m := s.before.perOp(s.after, ops)
	m["rate"] = ops / s.time.Seconds()
	m["p50"] = microseconds(l.ops.quantile(0.5))
	m["p99"] = microseconds(l.ops.quantile(0.99))
	m["p999"] = microseconds(l.ops.quantile(0.999))
	m["max"] = microseconds(l.ops.max())
	if flushes := s.after.Flushes - s.before.Flushes; flushes > 0 {
		m["flushes"] = float64(flushes) / ops
	}
	if l.options.Writers > 0 {
		m["writes"] = float64(l.extra.count.Load()) / s.time.Seconds()
	}
	return m, nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// A span is a time that was measured.
type span struct {
	time          time.Duration
	before, after Usage
}

// measure measures what is used while f runs.
func measure(o Options, usage func() (Usage, error), f func() error) (s span, err error) {
	stop, err := startProfiles(o)
	if err != nil {
		return span{}, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if s.before, err = usage(); err != nil {
		return span{}, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return span{}, err
	}
	s.time = time.Since(start)
	s.after, err = usage()
	return s, err
}
