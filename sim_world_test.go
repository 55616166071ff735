package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// world is a cluster of hand-stepped nodes on one goroutine: a clock, a network and
// disks that exist only as a heap of events. The same seed always gives the same
// history, to the byte. Scripts (script_test.go) drive it move by move, the simulator
// (sim_test.go) at random.
type world struct {
	t     testing.TB
	now   time.Time
	rng   *rand.Rand
	seq   int
	queue eventHeap

	ids   []ServerID
	nodes map[ServerID]*simNode
	peers map[ServerID]endpoint // what is not a simNode, e.g. a model of another library
	conf  func(ServerID) *Config

	timers bool // deadlines fire by themselves
	cut    map[link]bool

	// What follows is nil or zero in scripts: nothing takes time, nothing is lost
	// but what is cut, and nobody watches.

	// delay is how long a message, or the answer to one, takes; lost if negative.
	delay     func(from, to ServerID) time.Duration
	duplicate func(to ServerID, cmd interface{}) bool
	ordered   func(from, to ServerID) bool // whether messages do not overtake each other
	arrivals  map[link]time.Time           // of the last one
	tear      func(payload []byte) []byte  // what arrives of a snapshot
	patience  time.Duration                // after which a sender gives up
	diskTime  func(ServerID) time.Duration
	fsmTime   func(ServerID) time.Duration
	window    int // requests in flight to one follower
	newFSM    func(*simNode) FSM
	pauses    map[ServerID]bool // who is paused

	trace    func(format string, args ...interface{}) // nil: none
	before   func(*simNode)                           // called before each step
	after    func(*simNode)                           // called after each step
	ended    func(*simNode)                           // called when a node has stopped by itself
	refuses  func(to ServerID, cmd interface{}) bool  // a request that must not arrive
	sending  func(from, to ServerID, cmd interface{})
	answered func(from, to ServerID, cmd, resp interface{}) // from's answer to to's request
}

type link struct{ from, to ServerID }

// endpoint is whatever can receive a request. It answers by calling reply, once.
type endpoint interface {
	receive(cmd interface{}, payload []byte, reply func(resp interface{}, err error))
}

var simEpoch = time.Unix(1_000_000, 0)

func newWorld(t testing.TB, seed uint64) *world {
	return &world{
		t: t, now: simEpoch, rng: rand.New(rand.NewPCG(seed, 7)),
		nodes: map[ServerID]*simNode{}, peers: map[ServerID]endpoint{}, cut: map[link]bool{}, pauses: map[ServerID]bool{}, arrivals: map[link]time.Time{},
		conf: func(id ServerID) *Config {
			c := DefaultConfig()
			c.LocalID = id
			c.Logger = hclog.NewNullLogger()
			return c
		},
	}
}

// Events.

type event struct {
	at  time.Time
	seq int
	run func()
}

// eventHeap is a heap by time, then by order of scheduling.
type eventHeap []event

func (h eventHeap) less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}

func (h *eventHeap) push(e event) {
	q := append(*h, e)
	*h = q
	for i := len(q) - 1; i > 0 && q.less(i, (i-1)/2); i = (i - 1) / 2 {
		q[i], q[(i-1)/2] = q[(i-1)/2], q[i]
	}
}

func (h *eventHeap) pop() event {
	q := *h
	top, last := q[0], len(q)-1
	q[0], q[last] = q[last], event{}
	q = q[:last]
	*h = q
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && q.less(child+1, child) {
			child++
		}
		if child >= last || !q.less(child, i) {
			return top
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

// in schedules f.
func (w *world) in(d time.Duration, f func()) {
	w.seq++
	w.queue.push(event{w.now.Add(d), w.seq, f})
}

// tick runs the next event and reports whether there was one.
func (w *world) tick() bool {
	if len(w.queue) == 0 {
		return false
	}
	e := w.queue.pop()
	if e.at.After(w.now) {
		w.now = e.at
	}
	e.run()
	return true
}

func (w *world) tracef(format string, args ...interface{}) {
	if w.trace != nil {
		w.trace(format, args...)
	}
}

// simNode is a node with its disk, which survives it.
type simNode struct {
	w    *world
	id   ServerID
	addr ServerAddress
	disk *simDisk
	fsm  *journal // unless the world has another one
	raft *Raft    // nil while it is down
	life int      // counts the starts; what an earlier life began is void
	rate float64  // of its clock; 0 for that of the world

	logs   LogStore // disk, or what makes another kind of store of it
	stable StableStore

	holdDisk bool // the disk finishes nothing until it is released
	holdFSM  bool
	parked   []parkedEvent // while it is paused
	batch    *batch
	task     interface{}
	awaiting []*served
	lanes    []*lane
	beats    []*beats
	wakeAt   time.Time
}

// parkedEvent is what happens to a paused node, later.
type parkedEvent struct {
	request bool // it comes from outside
	run     func()
}

// served is a request that a node has not answered yet.
type served struct {
	answer chan RPCResponse
	reply  func(interface{}, error)
}

func addrOf(id ServerID) ServerAddress { return ServerAddress("addr-" + string(id)) }

// bootstrap gives empty disks to servers, with a configuration of these voters.
func (w *world) bootstrap(ids ...ServerID) {
	var c Configuration
	for _, id := range ids {
		c.Servers = append(c.Servers, Server{Voter, id, addrOf(id)})
	}
	for _, id := range ids {
		n := w.add(id)
		must(w.t, BootstrapCluster(w.conf(id), n.logs, n.stable, n.disk, simTransport{n}, c))
	}
}

// add makes a server without any state. It is not started.
func (w *world) add(id ServerID) *simNode {
	n := &simNode{w: w, id: id, addr: addrOf(id), disk: newSimDisk(), fsm: &journal{}}
	n.logs, n.stable = n.disk, n.disk
	w.nodes[id] = n
	w.ids = append(w.ids, id)
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start boots a node from what its disk holds.
func (n *simNode) start() error {
	n.fsm = &journal{}
	var fsm FSM = n.fsm
	if n.w.newFSM != nil {
		fsm = n.w.newFSM(n)
	}
	r, err := newRaft(n.w.conf(n.id), fsm, n.logs, n.stable, n.disk, simTransport{n})
	if err != nil {
		return err
	}
	if n.w.window > 0 {
		r.window = n.w.window
	}
	n.life++
	n.raft, n.batch, n.task, n.awaiting, n.lanes, n.beats = r, nil, nil, nil, nil, nil
	life := n.life
	alive := func() bool { return n.life == life && n.raft == r }
	r.rng = rand.New(rand.NewPCG(n.w.rng.Uint64(), 11))
	r.out = simOutbound{n, life}
	r.spawn = func(f func()) {
		n.w.in(n.w.fsmDelay(n.id), func() {
			if alive() {
				n.unlessPaused(false, func() { f(); n.pump() })
			}
		})
	}
	r.deliver = func(e interface{}) {
		n.w.in(0, func() {
			if alive() {
				n.step(e)
			}
		})
	}
	r.begin(n.clock())
	r.flush()
	n.pump()
	return nil
}

// crash ends a node; what is not on its disk is lost.
func (n *simNode) crash() {
	for _, s := range n.awaiting { // their connections break
		n.w.in(n.w.lossNotice(), func() { s.reply(nil, errUnreachable) })
	}
	n.raft = nil
	n.life++
	n.batch, n.task, n.awaiting, n.lanes, n.beats, n.parked = nil, nil, nil, nil, nil, nil
	n.holdDisk, n.holdFSM = false, false
	n.wakeAt = time.Time{}
	delete(n.w.pauses, n.id)
}

// pause stops a node's process; its disk and its connections stay as they are.
func (n *simNode) pause() {
	if n.raft != nil {
		n.w.pauses[n.id] = true
	}
}

// resume lets a paused node go on. Requests are in one queue, what its own workers
// report in another, and its timer has fired: main takes them as it likes.
func (n *simNode) resume() {
	if !n.w.pauses[n.id] {
		return
	}
	delete(n.w.pauses, n.id)
	var queues [2][]parkedEvent
	for _, p := range n.parked {
		if p.request {
			queues[0] = append(queues[0], p)
		} else {
			queues[1] = append(queues[1], p)
		}
	}
	n.parked = nil
	queues[1] = slices.Insert(queues[1], n.w.rng.IntN(len(queues[1])+1), parkedEvent{run: func() { n.step(timeout{}) }})
	for life := n.life; n.life == life && len(queues[0])+len(queues[1]) > 0; {
		q := &queues[n.w.rng.IntN(2)]
		if len(*q) > 0 {
			p := (*q)[0]
			*q = (*q)[1:]
			p.run()
		}
	}
	if n.raft != nil {
		n.pump()
	}
}

// unlessPaused runs f, or parks it.
func (n *simNode) unlessPaused(request bool, f func()) {
	if !n.w.pauses[n.id] {
		f()
		return
	}
	life := n.life
	n.parked = append(n.parked, parkedEvent{request, func() {
		if n.life == life && n.raft != nil {
			f()
		}
	}})
}

// step lets a node handle one event.
func (n *simNode) step(e interface{}) {
	_, request := e.(RPC)
	n.unlessPaused(request, func() { n.stepNow(e) })
}

func (n *simNode) stepNow(e interface{}) {
	r := n.raft
	if r == nil || r.state == Shutdown {
		return
	}
	if n.w.before != nil {
		n.w.before(n)
	}
	state, term := r.state, r.hard.term
	if !n.answerHeartbeat(e) {
		n.handle(e)
	}
	if r.state != state || r.hard.term != term {
		n.w.tracef("%s: %v of term %d\n", n.id, r.state, r.hard.term)
	}
	if r.state == Shutdown {
		n.w.tracef("%s: stopped: %v\n", n.id, r.failure)
		n.end()
		if n.w.ended != nil {
			n.w.ended(n)
		}
		return
	}
	n.pump()
	if n.w.after != nil && n.raft != nil {
		n.w.after(n)
	}
}

// answerHeartbeat lets some heartbeats take the transport's fast path, if e is one for it.
func (n *simNode) answerHeartbeat(e interface{}) bool {
	rpc, ok := e.(RPC)
	return ok && n.w.rng.IntN(4) > 0 && n.raft.answerHeartbeat(rpc, n.clock)
}

// handle is what main does with an event.
func (n *simNode) handle(e interface{}) {
	r := n.raft
	r.beginStep(n.clock())
	switch r.state {
	case Follower:
		r.stepFollower(e)
	case Candidate:
		r.stepCandidate(e)
	case Leader:
		r.stepLeader(e)
	}
	if r.state != Shutdown {
		r.flush()
	}
}

// end completes what a node that stops by itself still owes.
func (n *simNode) end() {
	n.raft.end()
	if n.task != nil {
		n.raft.fsm.do(n.task)
	}
	n.raft.fsm.abandon()
	n.answerAll()
	n.crash()
}

// pump moves what a step has handed to the workers.
func (n *simNode) pump() {
	if n.raft == nil {
		return
	}
	n.pumpDisk()
	if n.raft == nil { // the disk crashed it
		return
	}
	n.pumpFSM()
	n.answerAll()
	n.pumpLanes()
	n.pumpTimer()
}

func (n *simNode) pumpDisk() {
	r, life := n.raft, n.life
	if n.batch == nil && len(r.writer.work) > 0 {
		n.batch = <-r.writer.work
		n.w.in(n.w.diskDelay(n.id), func() {
			if n.life == life {
				n.unlessPaused(false, func() { n.finishWrite(life) })
			}
		})
	}
	if n.batch == nil && len(r.writer.wake) > 0 && !n.holdDisk {
		<-r.writer.wake
		r.writer.chunk = minChunk // it depends on how fast this machine is
		if _, err := r.writer.compactChunk(); err != nil {
			r.deliver(compactFailed{err})
		} else if first, _ := n.disk.FirstIndex(); first != 0 && first <= r.writer.compact.Load() {
			r.writer.wakeUp()
		}
	}
}

// finishWrite carries out the batch in flight. A held disk does it when released.
func (n *simNode) finishWrite(life int) {
	if n.life != life || n.batch == nil || n.holdDisk {
		return
	}
	b := n.batch
	n.raft.writer.write(b)
	if n.life != life { // the disk crashed the node in the middle
		return
	}
	n.batch = nil
	if b.err != nil {
		n.w.tracef("%s: failed to write %v: %v\n", n.id, b, b.err)
	} else {
		n.w.tracef("%s: wrote %v\n", n.id, b)
	}
	n.step(b)
}

func (n *simNode) pumpFSM() {
	r, life := n.raft, n.life
	if n.task == nil && len(r.fsm.tasks) > 0 {
		n.task = <-r.fsm.tasks
		n.w.in(n.w.fsmDelay(n.id), func() {
			if n.life == life {
				n.unlessPaused(false, func() { n.finishTask(life) })
			}
		})
	}
}

func (n *simNode) finishTask(life int) {
	if n.life != life || n.task == nil || n.holdFSM {
		return
	}
	t := n.task
	n.task = nil
	before := len(n.fsm.cmds)
	e := n.raft.fsm.do(t)
	if _, ok := t.(*restoreJob); ok {
		n.w.tracef("%s: restored %v\n", n.id, n.fsm.cmds)
	} else {
		for _, c := range n.fsm.cmds[before:] {
			n.w.tracef("%s: applied %q\n", n.id, c)
		}
	}
	n.step(e)
}

func (n *simNode) release() {
	if !n.holdDisk && !n.holdFSM {
		return
	}
	n.holdDisk, n.holdFSM = false, false
	life := n.life
	n.unlessPaused(false, func() { n.finishWrite(life) })
	n.unlessPaused(false, func() { n.finishTask(life) })
	if n.raft != nil {
		n.pump()
	}
}

// answerAll sends the answers that are ready.
func (n *simNode) answerAll() {
	n.awaiting = slices.DeleteFunc(n.awaiting, func(s *served) bool {
		if len(s.answer) == 0 {
			return false
		}
		a := <-s.answer
		s.reply(a.Response, a.Error)
		return true
	})
}

func (n *simNode) pumpLanes() {
	n.lanes = slices.DeleteFunc(n.lanes, func(ln *lane) bool {
		for !closed(ln.done) && len(ln.reqs) > 0 {
			n.sendLane(ln, <-ln.reqs)
		}
		return closed(ln.done)
	})
	n.beats = slices.DeleteFunc(n.beats, func(b *beats) bool {
		bt := b.take()
		if bt != nil {
			n.sendBeat(b, bt)
		}
		return bt == nil
	})
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (n *simNode) pumpTimer() {
	if !n.w.timers {
		return
	}
	at := n.raft.nextDeadline()
	if at.Equal(n.wakeAt) {
		return
	}
	n.wakeAt = at
	life := n.life
	wait := at.Sub(n.clock())
	if n.rate > 0 {
		wait = time.Duration(float64(wait) / n.rate)
	}
	n.w.in(max(wait, time.Microsecond), func() {
		if n.life != life || !n.wakeAt.Equal(at) {
			return
		}
		n.wakeAt = time.Time{}
		if n.w.pauses[n.id] {
			return // resume sees to it
		}
		n.step(timeout{})
		if n.raft != nil {
			n.pumpTimer()
		}
	})
}

func (w *world) diskDelay(id ServerID) time.Duration {
	if w.diskTime == nil {
		return 0
	}
	return w.diskTime(id)
}

func (w *world) fsmDelay(id ServerID) time.Duration {
	if w.fsmTime == nil {
		return 0
	}
	return w.fsmTime(id)
}

// The network.

var (
	errUnreachable = errors.New("sim: unreachable")
	errNoAnswer    = errors.New("sim: no answer")
)

// send carries a request to a server and its answer, or an error, back.
func (w *world) send(from, to ServerID, cmd interface{}, payload []byte, reply func(interface{}, error)) {
	if w.sending != nil {
		w.sending(from, to, cmd)
	}
	x := &talk{w: w, from: from, to: to, cmd: cmd, payload: payload, reply: reply}
	if w.patience > 0 {
		w.in(w.patience, func() { x.end(nil, errNoAnswer) })
	}
	d, ok := w.travel(from, to)
	if w.trace != nil {
		w.tracef("%s→%s %v%s\n", from, to, describe(cmd), lostText(ok))
	}
	if !ok {
		w.in(d, func() { x.end(nil, errUnreachable) })
		return
	}
	w.in(d, x.arrive)
	if w.duplicate != nil && w.duplicate(to, cmd) {
		if d, ok := w.travel(from, to); ok {
			w.in(d, x.arrive)
		}
	}
}

func lostText(arrives bool) string {
	if arrives {
		return ""
	}
	return " (lost)"
}

func answerText(cmd, resp interface{}, err error) string {
	text := describe(resp)
	if err != nil {
		text = fmt.Sprintf("error: %v", err)
	}
	if req, ok := cmd.(*AppendEntriesRequest); ok && isHeartbeat(req) {
		text = "beat " + text
	}
	return text
}

// talk is a request and the answer to it.
type talk struct {
	w        *world
	from, to ServerID
	cmd      interface{}
	payload  []byte
	reply    func(interface{}, error)
	over     bool // the sender has an answer, or has given up
}

func (x *talk) end(resp interface{}, err error) {
	if !x.over {
		x.over = true
		x.reply(resp, err)
	}
}

func (x *talk) arrive() {
	p, foreign := x.w.peers[x.to]
	n := x.w.nodes[x.to]
	switch {
	case x.w.refuses != nil && x.w.refuses(x.to, x.cmd):
	case foreign && x.over && x.payload != nil:
		// A snapshot that nobody sends any more is cut off with its connection.
		// Our nodes must do without that.
	case foreign:
		p.receive(x.cmd, x.torn(), x.answer)
	case n == nil || n.raft == nil:
		x.answer(nil, errUnreachable)
	default:
		n.receive(x.cmd, x.torn(), x.answer)
	}
}

func (x *talk) torn() []byte {
	if x.payload == nil || x.w.tear == nil {
		return x.payload
	}
	return x.w.tear(x.payload)
}

func (x *talk) answer(resp interface{}, err error) {
	w := x.w
	if w.answered != nil && err == nil {
		w.answered(x.to, x.from, x.cmd, resp)
	}
	d, ok := w.travel(x.to, x.from)
	if w.trace != nil {
		w.tracef("%s→%s %s%s\n", x.to, x.from, answerText(x.cmd, resp, err), lostText(ok))
	}
	if !ok {
		resp, err = nil, errUnreachable
	}
	w.in(d, func() { x.end(resp, err) })
}

// travel returns how long a message takes, and whether it arrives.
func (w *world) travel(from, to ServerID) (time.Duration, bool) {
	if w.cut[link{from, to}] {
		return w.lossNotice(), false
	}
	if w.delay == nil {
		return 0, true
	}
	d := w.delay(from, to)
	if d < 0 {
		return w.lossNotice(), false
	}
	if w.ordered != nil && w.ordered(from, to) {
		l := link{from, to}
		d = max(d, w.arrivals[l].Sub(w.now))
		w.arrivals[l] = w.now.Add(d)
	}
	return d, true
}

// lossNotice is how long it takes a sender to notice that no answer comes.
func (w *world) lossNotice() time.Duration {
	if w.delay == nil {
		return 0
	}
	return 200 * time.Millisecond
}

func (n *simNode) receive(cmd interface{}, payload []byte, reply func(interface{}, error)) {
	s := &served{make(chan RPCResponse, 1), reply}
	n.awaiting = append(n.awaiting, s)
	rpc := RPC{Command: cmd, RespChan: s.answer}
	if _, ok := cmd.(*InstallSnapshotRequest); ok {
		rpc.Reader = bytes.NewReader(payload)
	}
	n.step(rpc)
}

// simOutbound sends what a node's main hands over.
type simOutbound struct {
	n    *simNode
	life int
}

// then runs f on the node if it still lives the same life.
func (o simOutbound) then(f func() interface{}) {
	if o.n.life == o.life && o.n.raft != nil {
		o.n.step(f())
	}
}

func (o simOutbound) preVote(to Server, req *RequestPreVoteRequest, c *campaign) {
	o.n.w.send(o.n.id, to.ID, req, nil, func(resp interface{}, err error) {
		r, _ := resp.(*RequestPreVoteResponse)
		o.then(func() interface{} { return preVoteResult{c, to.ID, req.Term, r, err} })
	})
}

func (o simOutbound) vote(to Server, req *RequestVoteRequest, c *campaign) {
	o.n.w.send(o.n.id, to.ID, req, nil, func(resp interface{}, err error) {
		r, _ := resp.(*RequestVoteResponse)
		o.then(func() interface{} { return voteResult{c, to.ID, r, err} })
	})
}

func (o simOutbound) timeoutNow(to Server, req *TimeoutNowRequest, term uint64) {
	o.n.w.send(o.n.id, to.ID, req, nil, func(_ interface{}, err error) {
		o.then(func() interface{} { return transferResult{term, to.ID, err} })
	})
}

func (o simOutbound) openLane(ln *lane) { o.n.lanes = append(o.n.lanes, ln) }
func (o simOutbound) beat(b *beats)     { o.n.beats = append(o.n.beats, b) }

func (o simOutbound) sendSnapshot(in *install) {
	meta, source, err := openNewest(o.n.disk, in.upTo, hclog.NewNullLogger())
	if err != nil {
		o.n.w.in(0, func() { o.then(func() interface{} { return installResult{install: in, err: err} }) })
		return
	}
	payload, _ := io.ReadAll(source)
	req := installRequest(o.n.raft.header, in.lead.term, meta)
	o.n.w.send(o.n.id, in.to.ID, req, payload, func(resp interface{}, err error) {
		r, _ := resp.(*InstallSnapshotResponse)
		o.then(func() interface{} { return installResult{in, meta, r, err} })
	})
}

// sendLane carries one request of a lane. A lost one breaks the lane, as a lost
// connection does; requests of one lane may overtake each other, which is harsher
// than TCP.
func (n *simNode) sendLane(ln *lane, q *laneRequest) {
	o := simOutbound{n, n.life}
	if q.fetch > 0 {
		entries, err := readEntries(n.logs, q.req.PrevLogEntry+1, q.fetch, requestBytes)
		q.fetched(entries)
		n.w.in(0, func() { o.then(func() interface{} { return laneRead{ln, q, err} }) })
		if err != nil {
			return
		}
	}
	n.w.send(n.id, ln.to.ID, q.req, nil, func(resp interface{}, err error) {
		r, _ := resp.(*AppendEntriesResponse)
		o.then(func() interface{} { return laneResult{ln, q, r, err} })
	})
}

func (n *simNode) sendBeat(b *beats, bt *beat) {
	o := simOutbound{n, n.life}
	n.w.send(n.id, bt.to.ID, bt.req, nil, func(resp interface{}, err error) {
		r, _ := resp.(*AppendEntriesResponse)
		o.then(func() interface{} { return beatResult{b, bt, r, err} })
	})
}

// Calls, as a client makes them through the API.

func (n *simNode) apply(cmd string) *logFuture { return n.applyAll(cmd)[0] }

// applyAll makes several proposals at one time.
func (n *simNode) applyAll(cmds ...string) []*logFuture {
	var all []*logFuture
	for _, cmd := range cmds {
		f := newLogFuture(Log{Data: []byte(cmd)})
		n.raft.proposals.put(f, time.Nanosecond)
		all = append(all, f)
	}
	select {
	case <-n.raft.proposals.wake:
	default: // the queue is full
	}
	n.step(proposed{})
	return all
}

func (n *simNode) change(command ConfigurationChangeCommand, id ServerID, prev uint64) *logFuture {
	f := newLogFuture(Log{})
	n.step(&membershipCall{change: membershipChange{command, id, addrOf(id), prev}, future: f})
	return f
}

// clock is what time a node thinks it is.
func (n *simNode) clock() time.Time {
	if n.rate == 0 {
		return n.w.now
	}
	return simEpoch.Add(time.Duration(float64(n.w.now.Sub(simEpoch)) * n.rate))
}

type readFunc func(index uint64, err error)

func (f readFunc) done(index uint64, err error) { f(index, err) }

func (n *simNode) read(done readFunc) {
	n.raft.readers.put(done)
	<-n.raft.readers.wake
	n.step(reading{})
}

func (n *simNode) transfer(to ServerID) *future {
	f := newFuture()
	n.step(transferCall{&to, addrOf(to), f})
	return f
}

func (n *simNode) snapshot() *snapshotFuture {
	f := new(snapshotFuture)
	f.init()
	n.step(&snapshotCall{f})
	return f
}

// completed reports a future's result, if it has one.
func (f *future) completed() (bool, error) {
	if !f.set.Load() {
		return false, nil
	}
	return true, f.err
}

// simTransport is what newRaft needs of a transport; messages go through outbound.
type simTransport struct{ n *simNode }

func (t simTransport) Consumer() <-chan RPC                          { return nil }
func (t simTransport) LocalAddr() ServerAddress                      { return t.n.addr }
func (t simTransport) EncodePeer(_ ServerID, a ServerAddress) []byte { return []byte(a) }
func (t simTransport) DecodePeer(b []byte) ServerAddress             { return ServerAddress(b) }
func (t simTransport) SetHeartbeatHandler(func(RPC))                 {}
func (t simTransport) AppendEntriesPipeline(ServerID, ServerAddress) (AppendPipeline, error) {
	panic("sim: not by hand")
}
func (t simTransport) AppendEntries(ServerID, ServerAddress, *AppendEntriesRequest, *AppendEntriesResponse) error {
	panic("sim: not by hand")
}
func (t simTransport) RequestVote(ServerID, ServerAddress, *RequestVoteRequest, *RequestVoteResponse) error {
	panic("sim: not by hand")
}
func (t simTransport) RequestPreVote(ServerID, ServerAddress, *RequestPreVoteRequest, *RequestPreVoteResponse) error {
	panic("sim: not by hand")
}
func (t simTransport) InstallSnapshot(ServerID, ServerAddress, *InstallSnapshotRequest, *InstallSnapshotResponse, io.Reader) error {
	panic("sim: not by hand")
}
func (t simTransport) TimeoutNow(ServerID, ServerAddress, *TimeoutNowRequest, *TimeoutNowResponse) error {
	panic("sim: not by hand")
}

// journal is an FSM that remembers what it applied.
type journal struct{ cmds []string }

func (j *journal) Apply(e *Log) interface{} {
	j.cmds = append(j.cmds, string(e.Data))
	return len(j.cmds)
}

func (j *journal) Snapshot() (FSMSnapshot, error) { return journalState(slices.Clone(j.cmds)), nil }

func (j *journal) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	j.cmds = nil
	if len(b) > 0 {
		j.cmds = strings.Split(string(b), "\n")
	}
	return nil
}

type journalState []string

func (s journalState) Persist(sink SnapshotSink) error {
	if _, err := io.WriteString(sink, strings.Join(s, "\n")); err != nil {
		return err
	}
	return sink.Close()
}
func (journalState) Release() {}

// How messages look.

func describe(m interface{}) string {
	switch m := m.(type) {
	case *RequestPreVoteRequest:
		return fmt.Sprintf("prevote? term=%d last=%d@%d", m.Term, m.LastLogIndex, m.LastLogTerm)
	case *RequestPreVoteResponse:
		return fmt.Sprintf("prevote %t term=%d", m.Granted, m.Term)
	case *RequestVoteRequest:
		s := fmt.Sprintf("vote? term=%d last=%d@%d", m.Term, m.LastLogIndex, m.LastLogTerm)
		if m.LeadershipTransfer {
			s += " transfer"
		}
		return s
	case *RequestVoteResponse:
		return fmt.Sprintf("vote %t term=%d", m.Granted, m.Term)
	case *AppendEntriesRequest:
		if isHeartbeat(m) {
			if m.Lease {
				return fmt.Sprintf("beat term=%d promise?", m.Term)
			}
			return fmt.Sprintf("beat term=%d", m.Term)
		}
		return fmt.Sprintf("append term=%d prev=%d@%d %s commit=%d", m.Term, m.PrevLogEntry, m.PrevLogTerm,
			entriesString(m.Entries), m.LeaderCommitIndex)
	case *AppendEntriesResponse:
		if m.Success && m.Lease > 0 {
			return fmt.Sprintf("ok term=%d last=%d promise=%v", m.Term, m.LastLog, m.Lease)
		}
		if m.Success {
			return fmt.Sprintf("ok term=%d last=%d", m.Term, m.LastLog)
		}
		return fmt.Sprintf("no term=%d last=%d", m.Term, m.LastLog)
	case *InstallSnapshotRequest:
		return fmt.Sprintf("snapshot term=%d last=%d@%d", m.Term, m.LastLogIndex, m.LastLogTerm)
	case *InstallSnapshotResponse:
		return fmt.Sprintf("snapshot %t term=%d", m.Success, m.Term)
	case *TimeoutNowRequest:
		return "stand now"
	case *TimeoutNowResponse:
		return "stand now: heard"
	default:
		return fmt.Sprintf("%v", m)
	}
}
