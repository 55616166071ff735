package raft

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
)

// do applies an event in words to a progress. Answers belong to the present epoch
// unless they are called late.
func (p *progress) do(t *testing.T, event string) {
	t.Helper()
	late, epoch := "", p.epoch
	if rest, ok := strings.CutPrefix(event, "late "); ok {
		late, event, epoch = "late ", rest, p.epoch-1
	}
	word, args, _ := strings.Cut(event, " ")
	var a, b uint64
	n, _ := fmt.Sscan(args, &a, &b)
	switch fmt.Sprint(word, n) {
	case "sent1": // so many entries of 10 bytes each
		p.sent(int(a), 10*int(a), 0)
	case "reading0": // a request whose entries a lane has to read
		p.fetching = true
		p.sent(0, 0, 0)
	case "read1":
		p.fetched(int(a), 10*int(a), 0)
	case "acked2": // match, entries of the request
		p.acked(a, 10*int(b), epoch)
	case "rejected2": // prev, hint; the leader's log reaches from 2 to 1,000,000
		if p.rejected(a, b, 0, epoch, 2, 1_000_000) {
			p.install()
		}
	case "failed0":
		p.failed()
	case "installed1":
		p.installed(a)
	case "restart1":
		p.restart(a)
	default:
		t.Fatalf("no event: %q", late+event)
	}
}

// The leader's log ends with 20, its floor is at 2. Each step is an event, what is
// known afterwards and whether a request should be sent.
func TestProgress(t *testing.T) {
	type step struct {
		event string
		want  string
		wants bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a follower that has everything", []step{
			{"sent 0", "probing match=0 next=21 inflight=1", false},
			{"acked 20 0", "streaming match=20 next=21 inflight=0", false},
		}},
		{"a window of requests while streaming, one while probing", []step{
			{"restart 4", "probing match=0 next=5 inflight=0", true},
			{"sent 2", "probing match=0 next=5 inflight=1", false},
			{"acked 6 2", "streaming match=6 next=7 inflight=0", true},
			{"sent 2", "streaming match=6 next=9 inflight=1", true},
			{"sent 2", "streaming match=6 next=11 inflight=2", false},
			{"acked 8 2", "streaming match=8 next=11 inflight=1", true},
			{"acked 10 2", "streaming match=10 next=11 inflight=0", true},
		}},
		{"the hint shows where a short log ends", []step{
			{"sent 0", "probing match=0 next=21 inflight=1", false},
			{"rejected 20 5", "probing match=0 next=6 inflight=0", true},
			{"sent 0", "probing match=0 next=6 inflight=1", false},
			{"acked 5 0", "streaming match=5 next=6 inflight=0", true},
		}},
		{"steps double", []step{
			{"sent 0", "probing match=0 next=21 inflight=1", false},
			{"rejected 20 99", "probing match=0 next=20 inflight=0", true},
			{"sent 0", "probing match=0 next=20 inflight=1", false},
			{"rejected 19 99", "probing match=0 next=18 inflight=0", true},
			{"sent 0", "probing match=0 next=18 inflight=1", false},
			{"rejected 17 99", "probing match=0 next=14 inflight=0", true},
			{"sent 0", "probing match=0 next=14 inflight=1", false},
			{"rejected 13 99", "probing match=0 next=6 inflight=0", true},
			{"sent 0", "probing match=0 next=6 inflight=1", false},
			{"rejected 5 99", "probing match=0 next=3 inflight=0", true}, // the floor
			{"sent 0", "probing match=0 next=3 inflight=1", false},
			{"rejected 2 99", "installing match=0 next=3 inflight=0", false},
		}},
		{"a hint below the floor", []step{
			{"sent 0", "probing match=0 next=21 inflight=1", false},
			{"rejected 20 0", "probing match=0 next=3 inflight=0", true},
		}},
		{"a follower that forgot what it had is searched from the bottom", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 3", "probing match=0 next=10 inflight=1", false},
			{"acked 12 3", "streaming match=12 next=13 inflight=0", true},
			{"sent 1", "streaming match=12 next=14 inflight=1", true},
			{"rejected 12 0", "probing match=0 next=3 inflight=0", true},
			{"sent 0", "probing match=0 next=3 inflight=1", false},
			{"rejected 2 0", "installing match=0 next=3 inflight=0", false},
		}},
		{"a follower that compacted what it acknowledged is asked for its last entry", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 3", "probing match=0 next=10 inflight=1", false},
			{"acked 12 3", "streaming match=12 next=13 inflight=0", true},
			{"failed", "probing match=12 next=13 inflight=0", true},
			{"sent 0", "probing match=12 next=13 inflight=1", false},
			{"rejected 12 40", "probing match=12 next=41 inflight=0", true},
			{"sent 0", "probing match=12 next=41 inflight=1", false},
			{"acked 40 0", "streaming match=40 next=41 inflight=0", false},
		}},
		{"the window waits for its answers after a rejection", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 0", "probing match=0 next=10 inflight=1", false},
			{"acked 9 0", "streaming match=9 next=10 inflight=0", true},
			{"sent 2", "streaming match=9 next=12 inflight=1", true},
			{"sent 2", "streaming match=9 next=14 inflight=2", false},
			{"rejected 11 10", "probing match=9 next=11 inflight=1", false},
			{"late rejected 13 10", "probing match=9 next=11 inflight=0", true}, // says nothing new
		}},
		{"a late answer does not end a search", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 1", "probing match=0 next=10 inflight=1", false},
			{"rejected 9 8", "probing match=0 next=9 inflight=0", true},
			{"sent 0", "probing match=0 next=9 inflight=1", false},
			{"late acked 4 1", "probing match=4 next=9 inflight=0", true},
		}},
		{"a broken lane forgets what was in flight", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 0", "probing match=0 next=10 inflight=1", false},
			{"acked 9 0", "streaming match=9 next=10 inflight=0", true},
			{"sent 3", "streaming match=9 next=13 inflight=1", true},
			{"failed", "probing match=9 next=10 inflight=0", true},
		}},
		{"a broken lane does not end a search", []step{
			{"sent 0", "probing match=0 next=21 inflight=1", false},
			{"rejected 20 99", "probing match=0 next=20 inflight=0", true},
			{"sent 0", "probing match=0 next=20 inflight=1", false},
			{"failed", "probing match=0 next=20 inflight=0", true},
			{"sent 0", "probing match=0 next=20 inflight=1", false},
			{"rejected 19 99", "probing match=0 next=18 inflight=0", true},
		}},
		{"nothing is sent past a request whose size is not known", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 0", "probing match=0 next=10 inflight=1", false},
			{"acked 9 0", "streaming match=9 next=10 inflight=0", true},
			{"reading", "streaming match=9 next=10 inflight=1", false},
			{"read 4", "streaming match=9 next=14 inflight=1", true},
			{"acked 13 4", "streaming match=13 next=14 inflight=0", true},
		}},
		{"a lane that breaks while it reads", []step{
			{"reading", "probing match=0 next=21 inflight=1", false},
			{"failed", "probing match=0 next=21 inflight=0", true},
		}},
		{"an answer while a snapshot is sent", []step{
			{"restart 3", "probing match=0 next=4 inflight=0", true},
			{"sent 0", "probing match=0 next=4 inflight=1", false},
			{"acked 3 0", "streaming match=3 next=4 inflight=0", true},
			{"sent 2", "streaming match=3 next=6 inflight=1", true},
			{"sent 2", "streaming match=3 next=8 inflight=2", false},
			{"rejected 3 0", "probing match=0 next=3 inflight=1", false},
			{"late acked 5 2", "probing match=5 next=6 inflight=0", true},
			{"sent 0", "probing match=5 next=6 inflight=1", false},
			{"rejected 5 5", "installing match=5 next=6 inflight=0", false},
			{"installed 12", "probing match=12 next=13 inflight=0", true},
		}},
		{"a snapshot below what is known", []step{
			{"restart 9", "probing match=0 next=10 inflight=0", true},
			{"sent 0", "probing match=0 next=10 inflight=1", false},
			{"acked 9 0", "streaming match=9 next=10 inflight=0", true},
			{"installed 5", "probing match=9 next=10 inflight=0", true},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProgress(20, 2)
			for i, s := range tt.steps {
				p.do(t, s.event)
				if got, wants := p.String(), p.wants(20, false); got != s.want || wants != s.wants {
					t.Fatalf("step %d, %s: %s wants=%t, want %s wants=%t", i, s.event, got, wants, s.want, s.wants)
				}
			}
		})
	}
}

// A streaming follower is told of the commit index when asked to, a request in
// flight or not; the bytes in flight are bounded however many requests they are.
func TestProgressWants(t *testing.T) {
	for _, tt := range []struct {
		name       string
		progress   progress
		tellCommit bool
		want       bool
	}{
		{"entries to send", progress{state: streaming, next: 20, window: 4}, false, true},
		{"nothing to send", progress{state: streaming, next: 21, window: 4}, false, false},
		{"the commit index to tell", progress{state: streaming, next: 21, window: 4}, true, true},
		{"the commit index, window full", progress{state: streaming, next: 21, window: 4, inflight: 4}, true, false},
		{"many bytes in flight", progress{state: streaming, next: 20, window: 4, inflight: 1, bytes: windowBytes}, false, false},
		{"fewer bytes in flight", progress{state: streaming, next: 20, window: 4, inflight: 1, bytes: windowBytes - 1}, false, true},
		{"a probe when there is nothing to send", progress{state: probing, next: 21, window: 4}, false, true},
		{"installing", progress{state: installing, next: 20, window: 4}, true, false},
	} {
		if got := tt.progress.wants(20, tt.tellCommit); got != tt.want {
			t.Errorf("%s: wants = %t", tt.name, got)
		}
	}
}

// A probe carries no entries while it is not known where they belong, unless there
// is no place lower.
func TestProgressProbesEmpty(t *testing.T) {
	p := newProgress(20, 4)
	if p.probesEmpty() {
		t.Error("the first probe may carry entries: most followers are up to date")
	}
	p.do(t, "sent 0")
	p.do(t, "rejected 20 9")
	if !p.probesEmpty() {
		t.Error("a searching probe carries entries")
	}
	p.do(t, "sent 0")
	p.do(t, "acked 9 0")
	if p.probesEmpty() {
		t.Error("a streaming request carries no entries")
	}
	q := progress{state: probing, next: 1, searching: true}
	if q.probesEmpty() {
		t.Error("the lowest probe fits any log: it may carry entries")
	}
}

// What a request told of the commit index is remembered, and never goes back.
func TestProgressSentCommit(t *testing.T) {
	p := newProgress(20, 4)
	for _, tt := range []struct{ commit, want uint64 }{{7, 7}, {5, 7}, {9, 9}} {
		p.sent(0, 0, tt.commit)
		if p.sentCommit != tt.want {
			t.Errorf("told of %d: %d, want %d", tt.commit, p.sentCommit, tt.want)
		}
	}
}

// walkRequest is a request in flight on a random walk.
type walkRequest struct {
	prev           uint64
	entries, epoch int
}

// No sequence of events, and no hint, breaks the invariants.
func TestProgressInvariant(t *testing.T) {
	const last, floor = 40, 5
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		p := newProgress(rng.Uint64N(last+1-floor)+floor, 1+rng.IntN(4))
		var inflight []walkRequest
		var trace strings.Builder
		for range 80 {
			before := p
			switch n := rng.IntN(12); {
			case n == 0:
				trace.WriteString(" failed")
				p.failed()
				inflight = nil
			case n == 1:
				trace.WriteString(" install")
				p.install()
			case n == 2 && p.state == installing:
				index := floor + rng.Uint64N(last-floor)
				fmt.Fprintf(&trace, " installed(%d)", index)
				p.installed(index)
			case n < 8 && p.wants(last, rng.IntN(4) == 0):
				k := 0
				if left := last + 1 - int(p.next); left > 0 && !p.probesEmpty() {
					k = rng.IntN(left + 1)
				}
				fmt.Fprintf(&trace, " sent(%d)", k)
				inflight = append(inflight, walkRequest{p.next - 1, k, p.epoch})
				p.sent(k, 10*k, 0)
			case len(inflight) > 0:
				r := inflight[0]
				inflight = inflight[1:]
				if n%2 == 0 {
					fmt.Fprintf(&trace, " acked(%d,%d)", r.prev+uint64(r.entries), r.epoch)
					p.acked(r.prev+uint64(r.entries), 10*r.entries, r.epoch)
					break
				}
				hint := []uint64{0, rng.Uint64N(last), ^uint64(0)}[rng.IntN(3)]
				fmt.Fprintf(&trace, " rejected(%d,%d,%d)", r.prev, hint, r.epoch)
				if p.rejected(r.prev, hint, 10*r.entries, r.epoch, floor, last) {
					if r.prev > max(before.match, floor) {
						t.Fatalf("seed %d: gave up at %d: %+v after%s", seed, r.prev, before, trace.String())
					}
					p.install()
				} else if r.epoch == before.epoch && p.next >= before.next && before.state == probing && (!p.climbed || before.climbed) {
					t.Fatalf("seed %d: the search does not move: %+v after%s", seed, p, trace.String())
				}
			}
			bytes := 0
			for _, r := range inflight {
				bytes += 10 * r.entries
			}
			switch {
			case p.match >= p.next, p.match < before.match && p.match > 0, p.next > last+1,
				p.inflight != len(inflight), p.inflight > p.window, p.bytes != bytes,
				p.epoch < before.epoch, p.next <= floor:
				t.Fatalf("seed %d: %+v after%s", seed, p, trace.String())
			}
		}
	}
}

// search plays a leader that looks for the last entry which a follower shares with
// it, and returns the round trips it takes and the last probe.
func search(t *testing.T, last, floor, common uint64, hint func() uint64) (trips int, prev uint64) {
	t.Helper()
	p := newProgress(last, 4)
	for p.state == probing {
		if !p.wants(last, false) {
			t.Fatalf("the search stands still: %v", &p)
		}
		prev = p.next - 1
		if prev < floor {
			t.Fatalf("probes %d below the floor %d", prev, floor)
		}
		entries := 0
		if !p.probesEmpty() {
			entries = int(min(searchSlack, last-prev))
		}
		p.sent(entries, 10*entries, 0)
		trips++
		if trips > 200 {
			t.Fatalf("the search does not end: %v", &p)
		}
		if prev <= common {
			common = max(common, prev+uint64(entries))
			p.acked(prev+uint64(entries), 10*entries, p.epoch)
		} else if p.rejected(prev, hint(), 10*entries, p.epoch, floor, last) {
			t.Fatalf("needs a snapshot, though entry %d above the floor %d is shared", common, floor)
		}
	}
	if p.state != streaming || p.next != p.match+1 {
		t.Fatalf("after the search: %v", &p)
	}
	return trips, prev
}

// A follower whose log has diverged is brought back in a logarithmic number of
// round trips (L11), without a snapshot, and without sending much twice.
func TestProgressSearch(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		last := 1 + rng.Uint64N(1<<(1+rng.IntN(21)))
		common := rng.Uint64N(last + 1)
		if rng.IntN(2) == 0 {
			common = last - min(last, rng.Uint64N(100)) // most logs differ at the end
		}
		floor := rng.Uint64N(common + 1)
		follower := common + rng.Uint64N(2*last) // the follower's last entry
		trips, prev := search(t, last, floor, common, func() uint64 { return follower })
		name := fmt.Sprintf("seed %d: last %d floor %d common %d follower %d", seed, last, floor, common, follower)
		if most := 2*bits.Len64(last) + 3; trips > most {
			t.Errorf("%s: %d round trips, want %d at most", name, trips, most)
		}
		if prev+searchSlack < common {
			t.Errorf("%s: sends again from %d on", name, prev+1)
		}
	}
}

// A follower that merely lags is found at once: its hint is the answer.
func TestProgressSearchBehind(t *testing.T) {
	for _, follower := range []uint64{0, 1, 500, 999_999} {
		trips, prev := search(t, 1_000_000, 0, follower, func() uint64 { return follower })
		if trips != 2 || prev != follower {
			t.Errorf("follower at %d: %d round trips, last probe %d", follower, trips, prev)
		}
	}
}

// A hint that lies costs round trips or entries sent twice, but the search ends.
func TestProgressSearchHostileHints(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		last := 1 + rng.Uint64N(1<<20)
		common := rng.Uint64N(last + 1)
		floor := rng.Uint64N(common + 1)
		trips, _ := search(t, last, floor, common, func() uint64 {
			return []uint64{0, 1, floor, rng.Uint64N(last + 1), last, ^uint64(0)}[rng.IntN(6)]
		})
		if most := 2*bits.Len64(last) + 3; trips > most {
			t.Errorf("seed %d: last %d floor %d common %d: %d round trips, want %d at most", seed, last, floor, common, trips, most)
		}
	}
}

// The search for one divergence takes no longer because of an earlier one.
func TestProgressSearchAgain(t *testing.T) {
	p := newProgress(100_000, 4)
	for _, hint := range []uint64{99_999, 99_998, 99_996, 99_992} {
		p.do(t, "sent 0")
		p.do(t, fmt.Sprintf("rejected %d %d", p.next-1, hint))
	}
	p.do(t, "sent 0")
	p.do(t, fmt.Sprintf("acked %d 0", p.next-1))
	if p.state != streaming {
		t.Fatalf("after the first search: %v", &p)
	}
	p.do(t, "sent 5")
	prev := p.next - 1
	p.do(t, "sent 1")
	p.do(t, fmt.Sprintf("rejected %d %d", prev, prev))
	if p.next != prev {
		t.Errorf("the second search begins at %d, want %d", p.next-1, prev-1)
	}
}
