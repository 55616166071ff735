package raft

import (
	"sync"
	"sync/atomic"
	"time"
)

// This file owns the way from the node to its listeners: LeaderCh, Config.NotifyCh
// and the observers. Main and the lanes only ever put something into a queue;
// whoever listens slowly, or never, is waited for by a goroutine of his own, which
// lives only while his queue is not empty.

// maxObservations is how many observations wait for one observer.
const maxObservations = 4096

// notifierPatience is how long a shutdown waits for an observer's filter to return.
const notifierPatience = time.Second

// notifier tells listeners what happened. Its methods do not block, stop excepted,
// and may be called from several goroutines at once, leadership excepted.
type notifier struct {
	leader chan bool // room for one: the newest value
	notify *outbox[bool]

	mu        sync.RWMutex // guards the rest
	observers map[*Observer]*outbox[Observation]
	stopped   bool
}

func newNotifier(notifyCh chan<- bool) *notifier {
	return &notifier{
		leader:    make(chan bool, 1),
		notify:    &outbox[bool]{to: notifyCh, wait: true, hurry: make(chan struct{})},
		observers: make(map[*Observer]*outbox[Observation]),
	}
}

// leaderCh returns the channel that holds the newest change of leadership that
// nobody has read.
func (n *notifier) leaderCh() <-chan bool { return n.leader }

// leadership tells that this node has become the leader or has ceased to be. Only
// main calls it.
func (n *notifier) leadership(leads bool) {
	select {
	case <-n.leader: // an older value
	default:
	}
	n.leader <- leads // there is room: nobody else sends
	n.notify.put(leads)
}

// observe tells the observers. What does not fit into an observer's queue is dropped
// for that observer.
func (n *notifier) observe(o Observation) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, box := range n.observers {
		box.put(o)
	}
}

// register adds an observer; it sees what happens from now on.
func (n *notifier) register(or *Observer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped || n.observers[or] != nil {
		return
	}
	n.observers[or] = &outbox[Observation]{
		to:      or.channel,
		filter:  or.filter,
		wait:    or.blocking,
		limit:   maxObservations,
		sent:    &or.observed,
		dropped: &or.dropped,
		hurry:   make(chan struct{}),
	}
}

// deregister removes an observer. When it returns nothing more is sent to the
// observer's channel, so that the caller may close it.
func (n *notifier) deregister(or *Observer) {
	n.mu.Lock()
	box := n.observers[or]
	delete(n.observers, or)
	n.mu.Unlock()
	if box != nil {
		box.close()
		box.silence()
	}
}

// stop ends the notifier. What its listeners have room for is still delivered; when
// it returns nothing more is sent. It waits only for filters, and not long.
func (n *notifier) stop() {
	n.mu.Lock()
	boxes := []interface {
		close() <-chan struct{}
		silence()
	}{n.notify}
	for _, box := range n.observers {
		boxes = append(boxes, box)
	}
	n.observers, n.stopped = nil, true
	n.mu.Unlock()

	var idle []<-chan struct{}
	for _, box := range boxes {
		idle = append(idle, box.close())
	}
	patience := make(chan struct{})
	defer time.AfterFunc(notifierPatience, func() { close(patience) }).Stop()
	for _, ch := range idle {
		select {
		case <-ch:
		case <-patience:
		}
	}
	for _, box := range boxes {
		box.silence()
	}
}

// outbox is a queue of values on their way to one channel.
type outbox[T any] struct {
	to      chan<- T        // nil: nobody but filter looks
	filter  func(o *T) bool // nil: all pass
	wait    bool            // for room in the channel; else what finds none is dropped
	limit   int             // of the queue, 0: none
	sent    *atomic.Uint64  // may be nil, as may dropped
	dropped *atomic.Uint64

	mu     sync.Mutex // guards these
	queue  []T
	idle   chan struct{} // closed when the goroutine ends; nil: there is none
	closed bool          // nothing is put any more

	hurry chan struct{} // closed with closed: no send waits any longer

	sending sync.Mutex // held during a send; guards silent
	silent  bool       // nothing is sent any more
}

// put sends v, at once if that is possible, else from a goroutine and after what was
// put before.
func (o *outbox[T]) put(v T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return
	case o.idle == nil && o.filter == nil && o.offer(v):
		return
	case o.limit > 0 && len(o.queue) >= o.limit:
		count(o.dropped)
		return
	}
	o.queue = append(o.queue, v)
	if o.idle == nil {
		o.idle = make(chan struct{})
		go o.run()
	}
}

// offer settles v if that takes no waiting.
func (o *outbox[T]) offer(v T) bool {
	select {
	case o.to <- v:
		count(o.sent)
		return true
	default:
	}
	if o.to != nil && o.wait {
		return false
	}
	if o.to != nil {
		count(o.dropped)
	}
	return true
}

// run delivers until the queue is empty.
func (o *outbox[T]) run() {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			close(o.idle)
			o.queue, o.idle = nil, nil
			o.mu.Unlock()
			return
		}
		v := o.queue[0]
		o.queue = o.queue[1:]
		o.mu.Unlock()
		if o.filter == nil || o.filter(&v) {
			o.send(v)
		}
	}
}

// send delivers v, and waits for room if that is wanted and nobody is in a hurry.
func (o *outbox[T]) send(v T) {
	o.sending.Lock()
	defer o.sending.Unlock()
	if o.silent || o.offer(v) {
		return
	}
	select {
	case o.to <- v:
		count(o.sent)
	case <-o.hurry:
		count(o.dropped)
	}
}

// close ends waiting: what is in the queue is sent as far as there is room. The
// returned channel is closed when that is done.
func (o *outbox[T]) close() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		close(o.hurry)
	}
	if o.idle != nil {
		return o.idle
	}
	done := make(chan struct{})
	close(done)
	return done
}

// silence ends sending, after close, and waits for a send under way, which is short.
func (o *outbox[T]) silence() {
	o.mu.Lock()
	o.queue = nil
	o.mu.Unlock()
	o.sending.Lock()
	defer o.sending.Unlock()
	o.silent = true
}

func count(c *atomic.Uint64) {
	if c != nil {
		c.Add(1)
	}
}
