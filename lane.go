package raft

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// lane is one session of AppendEntries with a peer, run by two goroutines: one
// calls the pipeline, which may block, the other waits for its answers. The first
// failure ends it, and a new session has a new lane, so an answer always says
// which session it belongs to (R6).
type lane struct {
	to   Server
	lead *leadership
	peer *peer // main's; the goroutines hand it back, and know its metrics

	reqs chan *laneRequest // has room for a whole window
	done chan struct{}     // closed by main: the session is over
}

// laneRequest is one request on its way through a lane.
type laneRequest struct {
	req    *AppendEntriesRequest
	fetch  int // read up to so many entries from the store first
	bytes  int
	commit uint64    // when main handed it over
	epoch  int       // of the progress
	round  uint64    // of the reads
	sent   time.Time // when main handed it over
}

// match is the last index that an answer of success vouches for.
func (q *laneRequest) match() uint64 {
	return q.req.PrevLogEntry + uint64(len(q.req.Entries))
}

// fetched adds the entries that were read from the store.
func (q *laneRequest) fetched(entries []*Log) {
	q.req.Entries = entries
	q.req.LeaderCommitIndex = min(q.commit, q.match())
}

func newLane(p *peer, l *leadership) *lane {
	return &lane{
		to: p.server, lead: l, peer: p,
		reqs: make(chan *laneRequest, p.progress.window+1),
		done: make(chan struct{}),
	}
}

// laneResult is the event of an answer, or of the end of a lane.
type laneResult struct {
	lane *lane
	req  *laneRequest
	resp *AppendEntriesResponse
	err  error // the lane is broken
}

// laneRead is the event of a request whose entries have been read from the store,
// or could not be. It comes before the request's answer.
type laneRead struct {
	lane *lane
	req  *laneRequest
	err  error // the request was not sent
}

var errNoTerm = errors.New("answer without a term")

// runLane serves a lane until it breaks or is closed.
func (r *Raft) runLane(ln *lane) {
	pipe, err := r.trans.AppendEntriesPipeline(ln.to.ID, ln.to.Address)
	if errors.Is(err, ErrPipelineReplicationNotSupported) {
		r.runSerialLane(ln)
		return
	}
	if err != nil {
		r.report(laneResult{lane: ln, err: err})
		return
	}
	sent := make(chan *laneRequest, cap(ln.reqs))
	r.workers.Go(func() { r.receive(ln, pipe, sent) })
	for {
		select {
		case q := <-ln.reqs:
			if !r.fetch(ln, q) {
				continue
			}
			sent <- q // has room: main never has more requests in flight
			if _, err := pipe.AppendEntries(q.req, new(AppendEntriesResponse)); err != nil {
				r.report(laneResult{lane: ln, req: q, err: err})
				return
			}
		case <-ln.done:
			return
		case <-r.stopping:
			return
		}
	}
}

// receive reports the answers that come out of a pipeline, in the order sent, and
// closes it when the session is over: that also frees a sender that is stuck in it.
// Nothing is expected of a pipeline that was closed.
func (r *Raft) receive(ln *lane, pipe AppendPipeline, sent <-chan *laneRequest) {
	defer pipe.Close()
	for {
		select {
		case f := <-pipe.Consumer():
			e := laneResult{lane: ln, req: <-sent, resp: f.Response(), err: f.Error()}
			if e.err == nil && e.resp.Term == 0 {
				e.err = errNoTerm
			}
			if e.err == nil {
				ln.peer.metrics.rpc.since(f.Start())
				ln.peer.metrics.logs.add(len(f.Request().Entries))
			}
			r.report(e)
			if e.err != nil {
				return
			}
		case <-ln.done:
			return
		case <-r.stopping:
			return
		}
	}
}

// runSerialLane is runLane for transports without pipelines.
func (r *Raft) runSerialLane(ln *lane) {
	for {
		select {
		case q := <-ln.reqs:
			if !r.fetch(ln, q) {
				continue
			}
			e := laneResult{lane: ln, req: q, resp: new(AppendEntriesResponse)}
			e.err = r.trans.AppendEntries(ln.to.ID, ln.to.Address, q.req, e.resp)
			if e.err == nil && e.resp.Term == 0 {
				e.err = errNoTerm
			}
			r.report(e)
		case <-ln.done:
			return
		case <-r.stopping:
			return
		}
	}
}

// fetch reads the entries that a request should carry, if main left them to the
// lane. It reports whether the request can be sent.
func (r *Raft) fetch(ln *lane, q *laneRequest) bool {
	if q.fetch == 0 {
		return true
	}
	entries, err := readEntries(r.logs, q.req.PrevLogEntry+1, q.fetch, requestBytes)
	q.fetched(entries)
	r.report(laneRead{ln, q, err})
	return err == nil
}

// beats is what a peer is to hear: of heartbeats that have not gone out yet only the
// newest. A goroutine takes them while there are any, and a hung call does not stop the
// next.
type beats struct {
	peer *peer
	lead *leadership
	hung atomic.Int32 // calls that have taken long

	mu    sync.Mutex
	next  *beat // nil: none waits
	taken bool  // by a goroutine
}

type beat struct {
	to    Server
	req   *AppendEntriesRequest
	round uint64
	sent  time.Time
	match uint64 // what the peer had acknowledged by then
}

// beatResult is the event of an answered or failed heartbeat.
type beatResult struct {
	beats *beats
	beat  *beat
	resp  *AppendEntriesResponse
	err   error
}

// put makes bt the next heartbeat, and reports whether nobody is there to take it.
func (b *beats) put(bt *beat) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first = !b.taken
	b.next, b.taken = bt, true
	return first
}

// take returns the next heartbeat. After nil, for none, the caller takes no more.
func (b *beats) take() *beat {
	b.mu.Lock()
	defer b.mu.Unlock()
	bt := b.next
	b.next, b.taken = nil, bt != nil
	return bt
}

// cancel drops the next heartbeat.
func (b *beats) cancel() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = nil
}

// maxBeatCalls is how many heartbeats to one peer may hang before the next waits for a
// HeartbeatTimeout: calls on dead connections must not pile up, nor keep a healed one
// from being used.
const maxBeatCalls = 4

// runBeats sends the heartbeats that there are. A peer that answers more slowly than
// rounds of reads follow each other skips some. If a call takes long another goroutine
// sends the rest.
func (r *Raft) runBeats(b *beats) {
	for bt := b.take(); bt != nil; bt = b.take() {
		r.workers.Add(1) // for the relief, which may begin as this goroutine ends
		relief := time.AfterFunc(r.beatPatience(b), func() {
			defer r.workers.Done()
			b.hung.Add(1)
			r.runBeats(b)
		})
		r.sendBeat(b, bt)
		if !relief.Stop() {
			b.hung.Add(-1)
			return
		}
		r.workers.Done()
	}
}

// beatPatience is how long a heartbeat may take before the next one does not wait for it.
func (r *Raft) beatPatience(b *beats) time.Duration {
	patience := r.config.Load().HeartbeatTimeout
	if b.hung.Load() < maxBeatCalls-1 {
		patience /= 10
	}
	return patience
}

func (r *Raft) sendBeat(b *beats, bt *beat) {
	resp := new(AppendEntriesResponse)
	start := time.Now()
	err := r.trans.AppendEntries(bt.to.ID, bt.to.Address, bt.req, resp)
	if err == nil && resp.Term == 0 {
		err = errNoTerm
	}
	if err == nil {
		b.peer.metrics.heartbeat.since(start)
	}
	r.report(beatResult{b, bt, resp, err})
}

// dialer is the outbound of a running node: a goroutine for each conversation.
type dialer struct{ *Raft }

func (d dialer) preVote(to Server, req *RequestPreVoteRequest, c *campaign) {
	d.workers.Go(func() {
		defer d.note.since([]string{"raft", "candidate", "preElectSelf"}, time.Now())
		resp := new(RequestPreVoteResponse)
		err := d.preVoter.RequestPreVote(to.ID, to.Address, req, resp)
		d.report(preVoteResult{c, to.ID, req.Term, resp, err})
	})
}

func (d dialer) vote(to Server, req *RequestVoteRequest, c *campaign) {
	d.workers.Go(func() {
		defer d.note.since([]string{"raft", "candidate", "electSelf"}, time.Now())
		resp := new(RequestVoteResponse)
		err := d.trans.RequestVote(to.ID, to.Address, req, resp)
		d.report(voteResult{c, to.ID, resp, err})
	})
}

func (d dialer) openLane(ln *lane)        { d.workers.Go(func() { d.runLane(ln) }) }
func (d dialer) beat(b *beats)            { d.workers.Go(func() { d.runBeats(b) }) }
func (d dialer) sendSnapshot(in *install) { d.workers.Go(func() { d.runInstall(in) }) }

func (d dialer) timeoutNow(to Server, req *TimeoutNowRequest, term uint64) {
	d.workers.Go(func() {
		err := d.trans.TimeoutNow(to.ID, to.Address, req, new(TimeoutNowResponse))
		d.report(transferResult{term, to.ID, err})
	})
}
