package raft

import "fmt"

// progress is what a leader knows about one follower's log. It is a state machine
// without side effects: replication.go turns its answers into requests.
//
//	            acked                       probing:   one request at a time
//	probing ───────────► streaming          streaming: a window of requests
//	   ▲  ▲ rejected, failed │              installing: a snapshot is under way
//	   │  └──────────────────┘
//	   └──────── installing ◄── the follower needs what was compacted
//
// Invariant: match < next.
type progress struct {
	state progressState
	match uint64 // the follower has the leader's log through here
	next  uint64 // the next entry to send

	inflight int // unanswered requests
	bytes    int // of entries in them
	window   int // how many requests may be unanswered while streaming

	// fetching is true while a lane reads entries from the store: how many it
	// sends is not known yet.
	fetching bool

	// epoch counts the returns to probing. An answer to a request of an earlier
	// epoch says nothing about the search under way.
	epoch int

	// The search for the last common entry. ceiling is the highest index that
	// may still match; step is the distance of the last move back, doubled each
	// time; once a match was found below the ceiling the search bisects.
	ceiling   uint64
	step      uint64
	searching bool
	climbed   bool // a refusal at match has sent the search upward once

	sentCommit uint64
}

type progressState int

const (
	probing progressState = iota
	streaming
	installing
)

func (s progressState) String() string {
	return [...]string{"probing", "streaming", "installing"}[s]
}

func (p *progress) String() string {
	return fmt.Sprintf("%v match=%d next=%d inflight=%d", p.state, p.match, p.next, p.inflight)
}

const (
	// windowBytes bounds the entries in unanswered requests to one follower.
	windowBytes = 16 << 20

	// searchSlack is how close the search for the last common entry comes
	// before it just sends what may be missing.
	searchSlack = 64
)

// newProgress expects a follower to have everything up to last.
func newProgress(last uint64, window int) progress {
	return progress{next: last + 1, ceiling: last, window: window}
}

// wants reports whether a request should be sent now: entries up to last, or a
// commit index that the follower has not been told.
func (p *progress) wants(last uint64, tellCommit bool) bool {
	switch p.state {
	case probing:
		return p.inflight == 0 && !p.fetching
	case streaming:
		return !p.fetching && p.inflight < p.window && p.bytes < windowBytes && (p.next <= last || tellCommit)
	default:
		return false
	}
}

// probesEmpty reports whether the next request should carry no entries, because
// where the logs part is still being searched.
func (p *progress) probesEmpty() bool { return p.state == probing && p.searching && p.next > 1 }

// sent records a request with entries of so many bytes in all.
func (p *progress) sent(entries, bytes int, commit uint64) {
	p.inflight++
	p.bytes += bytes
	p.sentCommit = max(p.sentCommit, commit)
	if p.state == streaming {
		p.next += uint64(entries)
	}
}

// fetched records that a request whose entries a lane had to read has so many.
func (p *progress) fetched(entries, bytes int, commit uint64) {
	p.fetching = false
	p.sentCommit = max(p.sentCommit, commit)
	p.bytes += bytes
	if p.state == streaming {
		p.next += uint64(entries)
	}
}

// acked records that the follower has the log through match.
func (p *progress) acked(match uint64, bytes, epoch int) {
	p.replied(bytes)
	if match > p.match {
		p.match, p.climbed = match, false
	}
	p.next = max(p.next, p.match+1)
	if epoch != p.epoch || p.state != probing {
		return
	}
	if p.searching && p.ceiling > p.match+searchSlack {
		p.bisect()
		return
	}
	p.state, p.searching, p.step, p.next = streaming, false, 0, p.match+1
}

// rejected records that the follower lacks the entry at prev, and has none above
// hint. floor and last are the ends of the leader's log as far as it knows their terms. It
// reports whether only a snapshot can help.
func (p *progress) rejected(prev, hint uint64, bytes, epoch int, floor, last uint64) (needsSnapshot bool) {
	p.replied(bytes)
	if epoch != p.epoch {
		return false
	}
	switch {
	case prev > max(p.match, floor):
	case prev <= p.match && hint > prev && !p.climbed:
		// It has compacted what it acknowledged: it is further than we know.
		p.epoch++
		p.state, p.searching, p.step, p.climbed = probing, true, 1, true
		p.ceiling = min(hint, last)
		p.probeAt(p.ceiling)
		return false
	case prev <= p.match && hint < prev && prev > floor:
		p.match = 0 // this is not the disk that acknowledged it: nothing is known any more
	default:
		return true // there is nothing lower to try
	}
	p.epoch++
	p.state = probing
	p.ceiling = min(prev-1, max(hint, p.match)) // a peer's hint is not to be trusted
	if p.searching && p.step == 0 {
		p.bisect()
		return false
	}
	p.searching = true
	p.step = max(1, 2*p.step)
	p.probeAt(max(p.match, floor, min(p.ceiling, prev-min(prev, p.step))))
	return false
}

// bisect probes the middle of what is left between match and ceiling.
func (p *progress) bisect() {
	p.step = 0
	p.probeAt(p.match + (p.ceiling-p.match+1)/2)
}

func (p *progress) probeAt(prev uint64) { p.next = prev + 1 }

// failed forgets all requests in flight; their answers are not coming.
func (p *progress) failed() {
	p.inflight, p.bytes, p.fetching = 0, 0, false
	p.epoch++
	if p.state == streaming {
		p.state = probing
		p.next, p.ceiling = p.match+1, p.match
		p.searching, p.step = false, 0
	}
}

// install records that a snapshot is sent instead of entries.
func (p *progress) install() {
	p.state = installing
	p.epoch++
}

// installed records that the follower has a snapshot through index.
func (p *progress) installed(index uint64) {
	p.match = max(p.match, index)
	p.restart(p.match)
}

// restart begins to probe at an index.
func (p *progress) restart(prev uint64) {
	p.state = probing
	p.epoch++
	p.next, p.ceiling = max(prev, p.match)+1, max(prev, p.match)
	p.searching, p.step = false, 0
}

func (p *progress) replied(bytes int) {
	assert(p.inflight > 0, "reply to a request that was not sent: %v", p)
	p.inflight--
	p.bytes -= bytes
}
