package raft

import (
	"math"
	"testing"
	"time"
)

// newLeaseStage returns a cluster with LeaseReads, which n1 leads.
func newLeaseStage(t *testing.T, servers string) *stage {
	s := newStage(t)
	s.options["leases"] = "on"
	s.do([]string{"cluster", servers})
	s.do([]string{"lead", "n1"})
	return s
}

// What a peer claims to promise makes a lease no longer than this leader's own patience,
// and a nonsensical promise makes none (R17). Scripts have the rest: lease_reads.txt.
func TestPromiseOfAPeerIsBounded(t *testing.T) {
	const most = 900 * time.Millisecond // HeartbeatTimeout less a tenth
	for _, tt := range []struct{ claimed, want time.Duration }{
		{time.Second, most},
		{2 * time.Second, most},
		{math.MaxInt64, most},
		{100 * time.Millisecond, 90 * time.Millisecond},
		{0, 0},
		{-time.Second, 0},
		{math.MinInt64, 0},
	} {
		s := newLeaseStage(t, "3")
		s.now = s.now.Add(5 * time.Second)
		r := s.node("n1").raft
		r.beginStep(s.now)
		r.promisedBy(r.lead.peer("n2"), s.now, tt.claimed)
		r.updateLease()
		got := max(0, r.lead.readLease.Sub(s.now))
		if got != tt.want {
			t.Errorf("%v claimed: a lease of %v, want %v", tt.claimed, got, tt.want)
		}
	}
}

// A promise lasts from when it was asked for: the voter may have made it long before its
// answer is heard (R6).
func TestPromiseCountsFromTheQuestion(t *testing.T) {
	s := newLeaseStage(t, "3")
	r := s.node("n1").raft
	r.beginStep(s.now.Add(5 * time.Second))
	p, sent := r.lead.peer("n2"), r.now.Add(-300*time.Millisecond)
	r.handleBeatResult(beatResult{p.beats, &beat{sent: sent}, &AppendEntriesResponse{
		Term: r.hard.term, LastLog: r.log.last.index, Success: true, Lease: time.Second,
	}, nil})
	if want := sent.Add(900 * time.Millisecond); !p.promised.Equal(want) {
		t.Errorf("promised until %v after it was asked, want 900ms", p.promised.Sub(sent))
	}
}

// Until an entry of its own term is committed a leader knows nothing of what is (R5).
func TestNoLeaseBeforeOwnEntry(t *testing.T) {
	s := newLeaseStage(t, "3")
	r := s.node("n1").raft
	r.beginStep(s.now)
	if r.updateLease(); r.lead.readLease.IsZero() {
		t.Fatal("no lease to begin with")
	}
	r.lead.start = r.commit + 1
	if r.updateLease(); !r.lead.readLease.IsZero() {
		t.Error("a lease before the first entry of the term is committed")
	}
}

// A server alone needs nobody's promise, and one whose vote is gone has none of its own.
func TestLeaseOfOneVoter(t *testing.T) {
	s := newLeaseStage(t, "1")
	s.do([]string{"wait", "100ms", "n1"}) // to the next heartbeat
	if _, ok := s.node("n1").raft.leasedIndex(s.node("n1").clock); !ok {
		t.Error("a single voter has no lease")
	}
	s.do([]string{"add", "n2"})
	s.node("n1").change(AddVoter, "n2", 0)
	if _, ok := s.node("n1").raft.leasedIndex(s.node("n1").clock); ok {
		t.Error("it has one although another voter has promised nothing")
	}
}

// What was promised stays so when a new configuration makes promises shorter.
func TestPromiseIsKept(t *testing.T) {
	s := newLeaseStage(t, "3")
	r := s.node("n2").raft
	r.beginStep(s.now)
	end := r.now.Add(r.promise(true))
	c := *r.conf()
	c.HeartbeatTimeout /= 10
	r.config.Store(&c)
	r.beginStep(s.now)
	if got := r.promise(true); got != c.HeartbeatTimeout || !r.promised.Equal(end) {
		t.Errorf("promised %v, nothing before %v, want %v", got, r.promised, end)
	}
}

// Whoever has seen an entry applied elsewhere finds it in a read by the lease: a leader
// publishes its commit index before it tells the others, in the middle of a step.
func TestLeaseReadsWhatOthersAreTold(t *testing.T) {
	s := newLeaseStage(t, "3")
	n1 := s.node("n1")
	n1.apply("x")
	r := n1.raft
	r.lead.peer("n2").progress.match, r.lead.peer("n3").progress.match = 3, 3 // both have it
	r.flushLeader()
	if index, ok := r.leasedIndex(n1.clock); !ok || index != 3 || r.commit != 3 {
		t.Errorf("reads at %d (%v) when %d is committed", index, ok, r.commit)
	}
}

// A transfer waits for heartbeats to be answered that release the voters: an answer to
// entries says nothing about promises.
func TestTransferWaitsForRelease(t *testing.T) {
	s := newLeaseStage(t, "3")
	s.do([]string{"wait", "100ms", "n1"})
	lost := 0
	s.refuses = func(_ ServerID, cmd interface{}) bool {
		m, ok := cmd.(*AppendEntriesRequest)
		if !ok || !isHeartbeat(m) || m.Lease || lost == 4 {
			return false
		}
		lost++
		return true
	}
	s.do([]string{"apply", "n1", "x", "y"})
	s.do([]string{"run", "2"})
	f := s.node("n1").transfer("n3")
	s.do([]string{"wait", "900ms", "n1"})
	if done, err := f.completed(); !done || err != nil || lost < 4 {
		t.Errorf("transfer: %v, %v, with %d heartbeats lost\n%s", done, err, lost, s.log.String())
	}
}

// How long promises have been is forgotten when the last long one is over: it is how long
// a server that starts again gives no vote.
func TestLongestPromiseShrinks(t *testing.T) {
	s := newLeaseStage(t, "3")
	n2 := s.node("n2")
	promise := func(length time.Duration) {
		c := *n2.raft.conf()
		c.HeartbeatTimeout, c.ElectionTimeout = length, length
		n2.raft.config.Store(&c)
		s.do([]string{"beat", "n1"})
		s.do([]string{"run"})
	}
	check := func(want time.Duration) {
		t.Helper()
		if got, err := loadPromise(n2.disk); err != nil || got != want {
			t.Errorf("the disk has promises of up to %v (%v), want %v", got, err, want)
		}
	}
	promise(10 * time.Minute)
	check(10 * time.Minute)
	s.now = s.now.Add(10*time.Minute - 1100*time.Millisecond)
	promise(time.Second)
	check(10 * time.Minute)
	s.now = s.now.Add(200 * time.Millisecond)
	promise(time.Second)
	check(time.Second)
}
