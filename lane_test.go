package raft

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// hangingTransport answers heartbeats only after hang has passed.
type hangingTransport struct {
	simTransport
	hang  time.Duration
	calls chan time.Time
}

func (t *hangingTransport) AppendEntries(_ ServerID, _ ServerAddress, req *AppendEntriesRequest, resp *AppendEntriesResponse) error {
	t.calls <- time.Now()
	time.Sleep(t.hang)
	resp.Term = req.Term
	return nil
}

// Heartbeats that hang on dead connections do not keep later ones from being sent for
// longer than a HeartbeatTimeout.
func TestHungBeatsDoNotMutePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trans := &hangingTransport{hang: time.Minute, calls: make(chan time.Time, 100)}
		r := &Raft{trans: trans, results: make(chan interface{}, 100), ended: make(chan struct{}), stopping: make(chan struct{})}
		r.note = &notes{raft: r, logger: hclog.NewNullLogger(), notifier: newNotifier(nil)}
		r.config.Store(DefaultConfig())
		b := &beats{peer: &peer{metrics: r.note.peerMetrics("p")}}
		start := time.Now()
		for range 30 { // three seconds
			if b.put(&beat{req: &AppendEntriesRequest{Term: 1}}) {
				r.workers.Go(func() { r.runBeats(b) })
			}
			time.Sleep(100 * time.Millisecond)
		}
		r.workers.Wait()
		close(trans.calls)
		n, last := 0, start
		for at := range trans.calls {
			if gap := at.Sub(last); gap > DefaultConfig().HeartbeatTimeout+100*time.Millisecond {
				t.Errorf("the peer was mute for %v", gap)
			}
			n, last = n+1, at
		}
		if n < maxBeatCalls+2 || n > 4*maxBeatCalls {
			t.Errorf("%d heartbeats went out in three seconds, each hanging", n)
		}
	})
}
