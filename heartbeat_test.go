package raft

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Only a heartbeat that changes nothing but the time of the last contact is answered
// without main (R2).
func TestAnswerHeartbeat(t *testing.T) {
	for _, tt := range []struct {
		name   string
		node   string // n1 leads
		change func(s *stage, r *Raft, req *AppendEntriesRequest)
		want   bool
	}{
		{"of the leader", "n2", nil, true},
		{"of a leader that is known by another address", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) {
			req.Addr = []byte("elsewhere")
		}, false},
		{"of somebody else", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) {
			req.ID, req.Addr = []byte("n3"), []byte(addrOf("n3"))
		}, false},
		{"of an older term", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) { req.Term-- }, false},
		{"of a newer term", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) { req.Term++ }, false},
		{"of a version that is not spoken", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) {
			req.ProtocolVersion = ProtocolVersionMax + 1
		}, false},
		{"that asks for a promise", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) { req.Lease = true }, false},
		{"that ends a promise", "n2", func(_ *stage, r *Raft, _ *AppendEntriesRequest) { r.released = false }, false},
		{"with entries", "n2", func(_ *stage, _ *Raft, req *AppendEntriesRequest) { req.Entries = []*Log{{}} }, false},
		{"when the term is not on disk", "n2", func(_ *stage, r *Raft, _ *AppendEntriesRequest) { r.writer.setHard(r.hard) }, false},
		{"when no leader is known", "n2", func(s *stage, r *Raft, _ *AppendEntriesRequest) {
			r.beginStep(s.now)
			r.setLeader(candidate{})
		}, false},
		{"of nobody, when no leader is known", "n2", func(s *stage, r *Raft, req *AppendEntriesRequest) {
			r.beginStep(s.now)
			r.setLeader(candidate{})
			req.RPCHeader, req.Leader = RPCHeader{ProtocolVersionMax, nil, []byte{}}, nil
		}, false},
		{"to a candidate", "n2", func(s *stage, r *Raft, req *AppendEntriesRequest) {
			s.connect([]string{"cut", "n2"})
			s.timeout(s.node("n2"))
			req.Term = r.hard.term
		}, false},
		{"to the leader", "n1", func(_ *stage, r *Raft, _ *AppendEntriesRequest) { r.released = true }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.do([]string{"cluster", "3"})
			s.do([]string{"lead", "n1"})
			n := s.node(tt.node)
			req := &AppendEntriesRequest{RPCHeader: s.node("n1").raft.header, Term: n.raft.hard.term, Leader: []byte(addrOf("n1"))}
			if tt.change != nil {
				tt.change(s, n.raft, req)
			}
			s.now = s.now.Add(time.Second)
			before, answer := n.raft.heard, make(chan RPCResponse, 1)
			got := n.raft.answerHeartbeat(RPC{Command: req, RespChan: answer}, func() time.Time {
				if n.raft.mu.TryLock() {
					t.Error("main may be in a step meanwhile")
				}
				return s.now
			})
			if got != tt.want || len(answer) > 0 != tt.want {
				t.Fatalf("answered: %t, with %d answers, want %t", got, len(answer), tt.want)
			}
			if !tt.want {
				if !n.raft.heard.Equal(before) {
					t.Error("it counts as contact")
				}
				return
			}
			resp := (<-answer).Response.(*AppendEntriesResponse)
			if !resp.Success || resp.Term != req.Term || resp.LastLog != n.raft.log.last.index {
				t.Errorf("answer %+v", resp)
			}
			if !n.raft.heard.Equal(s.now) || !n.raft.LastContact().Equal(s.now) {
				t.Errorf("heard of the leader at %v, published %v, want %v", n.raft.heard, n.raft.LastContact(), s.now)
			}
		})
	}
}

// watchedTransport notes what a node does with its handler.
type watchedTransport struct {
	*InmemTransport
	handler  func(RPC)
	consumed func()
}

func (w *watchedTransport) SetHeartbeatHandler(f func(RPC)) { w.handler = f }

func (w *watchedTransport) Consumer() <-chan RPC {
	w.consumed()
	return w.InmemTransport.Consumer()
}

// writerFunc is an io.Writer.
type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// newWatchedNode returns a node at rest without a configuration. It calls out for each line
// that it logs, and consumed whenever it asks for the transport's channel.
func newWatchedNode(t *testing.T, out func(), consumed func(*Raft)) (*Raft, *watchedTransport) {
	conf := DefaultConfig()
	conf.LocalID = "a"
	conf.Logger = hclog.New(&hclog.LoggerOptions{Output: writerFunc(func([]byte) { out() })})
	_, inmem := NewInmemTransport("a")
	trans := &watchedTransport{InmemTransport: inmem}
	r, err := newRaft(conf, &journal{}, NewInmemStore(), NewInmemStore(), NewInmemSnapshotStore(), trans)
	must(t, err)
	trans.consumed = func() { consumed(r) }
	return r, trans
}

// Heartbeats are answered while main waits, and not while it is in a step.
func TestHeartbeatsBetweenSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *Raft
		steps, waits := 0, 0
		r, _ = newWatchedNode(t, func() {
			if r != nil { // it runs: it warns that it knows no peers
				steps++
				if r.mu.TryLock() {
					r.mu.Unlock()
					t.Error("a heartbeat could be answered in the middle of a step")
				}
			}
		}, func(r *Raft) {
			waits++
			if !r.mu.TryLock() {
				t.Error("no heartbeat can be answered while main waits")
				return
			}
			r.mu.Unlock()
		})
		r.start()
		time.Sleep(time.Minute)
		must(t, r.Shutdown().Error())
		if steps == 0 || waits == 0 {
			t.Errorf("saw %d steps and %d waits", steps, waits)
		}
	})
}

// beat gives a heartbeat of b in term 7 to the handler, and returns the answer.
func (w *watchedTransport) beat() RPCResponse {
	answer := make(chan RPCResponse, 1)
	w.handler(RPC{RespChan: answer, Command: &AppendEntriesRequest{
		RPCHeader: RPCHeader{ProtocolVersionMax, []byte("b"), []byte("b")}, Term: 7,
	}})
	return <-answer
}

// What the handler can't answer reaches main, until the node has ended.
func TestHeartbeatHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, trans := newWatchedNode(t, func() {}, func(*Raft) {})
		r.start()
		for range 3 { // the first makes b the leader
			got := trans.beat()
			if resp, ok := got.Response.(*AppendEntriesResponse); !ok || !resp.Success || resp.Term != 7 {
				t.Errorf("%+v", got)
			}
		}
		if _, id := r.LeaderWithID(); id != "b" {
			t.Errorf("follows %q", id)
		}
		must(t, r.Shutdown().Error())
		if got := trans.beat(); got.Error != ErrRaftShutdown {
			t.Errorf("answered after the end: %+v", got)
		}
	})
}

// A node that has ended refuses heartbeats at once, whatever its observers do.
func TestHeartbeatWhileObserversEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newWatchedNode(t, func() {}, func(*Raft) {})
		seen := false
		r.RegisterObserver(NewObserver(make(chan Observation, 10), false, func(*Observation) bool {
			time.Sleep(notifierPatience / 2) // time passes when main waits, too
			seen = true
			if !r.mu.TryLock() {
				t.Error("a heartbeat would wait for this observer")
				return true
			}
			r.mu.Unlock()
			return true
		}))
		r.start()
		must(t, r.Shutdown().Error())
		if !seen {
			t.Error("nothing was observed")
		}
	})
}

// Contacts come from two sides, and the time of the last one does not go back. With the
// race detector this is about r.heard and the published time, too.
func TestHeartbeatsBesideMain(t *testing.T) {
	r, trans := newWatchedNode(t, func() {}, func(*Raft) {})
	r.start()
	defer func() { must(t, r.Shutdown().Error()) }()
	trans.beat()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10000 { // refused, as there is no such entry, and a contact
			answer := make(chan RPCResponse, 1)
			r.submit(RPC{RespChan: answer, Command: &AppendEntriesRequest{
				RPCHeader: RPCHeader{ProtocolVersionMax, []byte("b"), []byte("b")}, Term: 7, PrevLogEntry: 1, PrevLogTerm: 1,
			}}, func(err error) { t.Error(err) })
			<-answer
		}
	}()
	var last time.Time
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		trans.beat()
		r.mu.Lock()
		if r.heard.Before(last) {
			t.Errorf("heard of the leader %v earlier than before", last.Sub(r.heard))
		}
		last = r.heard
		r.mu.Unlock()
		r.LastContact()
	}
}
