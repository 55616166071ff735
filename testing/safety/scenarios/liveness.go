package scenarios

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// This file: what must not stop a cluster, or a server.
var liveness = []scenario{
	{"L1", "the leader's disk hangs, its heartbeats go on", hungLeader},
	{"L2", "a server whose disk refuses every write is the first to stand, always", failingLeader},
	{"L4", "under load, a follower refuses one request of a pipeline", wedgedPipeline},
	{"L5", "a transfer is interrupted by the loss of the leadership; then the server leads again", interruptedTransfer},
	{"L6", "a transfer is under way to one server, another one is elected", transferToAnother},
	{"L12", "nobody reads NotifyCh", unreadNotify},
	{"L13", "leadership is won, lost and won again while nobody reads NotifyCh; then it is read", lateNotify},
	{"L15", "a follower has accepted the connection and answers nothing; Shutdown", shutdownWithStalledPeer},
	{"A9", "nobody reads the channel of a blocking observer", unreadObserver},
}

// L1. Three servers. The leader cannot write any more; the others are sound.
func hungLeader(s *stage) {
	cluster := s.cluster("a", "b", "c")
	s.await("a write", func() bool { return s.writes(cluster, nil, patience) })
	lead := s.leaderOf(cluster)
	var hung gate
	hung.shut()
	lead.disk.logs.before(func(operation) error { hung.pass(); return nil })
	lead.Apply([]byte("stuck"), 0)
	if !s.writes(cluster, lead, prompt) {
		s.violated("no write succeeds any more, and nobody else is elected")
	}
}

// cluster starts servers that know each other.
func (s *stage) cluster(ids ...raft.ServerID) (list []*server) {
	for _, id := range ids {
		list = append(list, s.server(id).timeouts(500*time.Millisecond).holds(logOf(voters(ids...))...))
	}
	for _, n := range list {
		n.start()
	}
	return list
}

// leaderOf waits for a leader.
func (s *stage) leaderOf(cluster []*server) (lead *server) {
	s.await("a leader", func() bool {
		for _, n := range cluster {
			if n.State() == raft.Leader {
				lead = n
			}
		}
		return lead != nil
	})
	return lead
}

// writes reports whether a write succeeds in time, on another server than one.
func (s *stage) writes(cluster []*server, not *server, limit time.Duration) bool {
	return within(limit, func() bool {
		for _, n := range cluster {
			if n == not || n.State() != raft.Leader {
				continue
			}
			if err, ended := ends(time.Second, n.Apply([]byte("after"), time.Second).Error); ended && err == nil {
				return true
			}
		}
		return false
	})
}

// L2. The other two would do, but stand later.
func failingLeader(s *stage) {
	ids := []raft.ServerID{"a", "b", "c"}
	var cluster []*server
	for _, id := range ids {
		cluster = append(cluster, s.server(id).timeouts(3*time.Second).holds(logOf(voters(ids...))...))
	}
	bad := cluster[0].timeouts(150 * time.Millisecond)
	bad.disk.logs.before(func(op operation) error {
		if op.name == "store" {
			return errors.New("no space left on device")
		}
		return nil
	})
	notify := make(chan bool, 1000)
	bad.conf.NotifyCh = notify
	for _, n := range cluster {
		n.start()
	}
	done := make(chan bool, 1)
	go func() { done <- s.writes(cluster, bad, patience) }()
	elected := 0
	for {
		select {
		case gained := <-notify:
			if gained {
				elected++
			}
			if elected > 5 {
				s.violated("it was elected more than 5 times, and could never write")
			}
		case ok := <-done:
			if !ok {
				s.violated("no write succeeds")
			}
			return
		}
	}
}

// L4. A real network transport at both ends. The follower's script is behind its
// Consumer: it accepts slowly, so that the pipeline is full, and refuses once.
func wedgedPipeline(s *stage) {
	n := s.server("n")
	n.transport = s.tcp()
	n.addr = n.transport.LocalAddr()
	follower := s.tcp()
	refuse := make(chan struct{}, 1)
	go serve(s, follower, "b", func(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) {
		if isHeartbeat(req) || len(req.Entries) == 0 {
			return
		}
		time.Sleep(2 * time.Millisecond) // a disk
		select {
		case <-refuse:
			resp.Success, resp.LastLog, resp.NoRetryBackoff = false, req.PrevLogEntry, true
		default:
		}
	})
	conf := raft.Configuration{Servers: []raft.Server{{ID: "n", Address: n.addr}, {ID: "b", Address: follower.LocalAddr()}}}
	n.holds(logOf(conf)...).start()
	s.must(follower.AppendEntries(n.id, n.addr, &raft.AppendEntriesRequest{RPCHeader: headerOf(follower, "b"), Term: 2}, new(raft.AppendEntriesResponse)))
	s.must(follower.TimeoutNow(n.id, n.addr, &raft.TimeoutNowRequest{RPCHeader: headerOf(follower, "b")}, new(raft.TimeoutNowResponse)))
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })

	var applied atomic.Int64
	for range 64 {
		go func() {
			for n.Apply(make([]byte, 100), 0).Error() == nil {
				applied.Add(1)
			}
		}()
	}
	for range 20 {
		before := applied.Load()
		s.await("the load", func() bool { return applied.Load() > before+200 })
		refuse <- struct{}{}
		before = applied.Load()
		if !within(prompt, func() bool { return applied.Load() > before+400 }) {
			s.hangs("nothing is replicated any more after one refused request")
		}
	}
}

// tcp returns a network transport of the library under test.
func (s *stage) tcp() *raft.NetworkTransport {
	t, err := raft.NewTCPTransport("127.0.0.1:0", nil, 3, time.Minute, discard{})
	s.must(err)
	return t
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func headerOf(t raft.Transport, id raft.ServerID) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: t.EncodePeer(id, t.LocalAddr())}
}

// serve answers what comes to a transport as a follower that grants and accepts
// everything, but for what edit changes.
func serve(s *stage, t raft.Transport, id raft.ServerID, edit func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse)) {
	p := &peer{endpoint: &endpoint{id: id, addr: t.LocalAddr()}, stage: s}
	for rpc := range t.Consumer() {
		answer, err := p.answer(rpc.Command, rpc.Reader)
		if resp, ok := answer.(*raft.AppendEntriesResponse); ok {
			edit(rpc.Command.(*raft.AppendEntriesRequest), resp)
		}
		rpc.Respond(answer, err)
	}
}

// L5. b has not answered the TimeoutNow when the leader learns of another one. Elected
// again, it must take writes.
func interruptedTransfer(s *stage) {
	n, _, c, transfer := s.transferUnderWay()
	c.append(n, n.CurrentTerm()+1, 1, 1, 1)
	s.await("the end of the leadership", func() bool { return n.State() != raft.Leader })
	_ = s.mustEnd(transfer.Error, "the transfer's future does not end with the leadership")
	n.leads(c)
	var err error
	if !within(prompt, func() bool {
		err = n.Apply([]byte("x"), time.Second).Error()
		return err == nil
	}) {
		s.violated("leading again, it refuses all writes: %v", err)
	}
}

// L6. The future must not say that b leads.
func transferToAnother(s *stage) {
	n, _, c, transfer := s.transferUnderWay()
	c.append(n, n.CurrentTerm()+1, 1, 1, 1)
	if s.mustEnd(transfer.Error, "the transfer's future does not end with the leadership") == nil {
		s.violated("the transfer to b reports success; c leads")
	}
}

// transferUnderWay returns a leader n that hands over to b, which takes its time.
func (s *stage) transferUnderWay() (n *server, b, c *peer, transfer raft.Future) {
	n = s.server("n").timeouts(time.Second).holds(logOf(voters("n", "b", "c"))...).start()
	b, c = s.peer("b"), s.peer("c")
	n.leads(c)
	n.settled()
	var slow gate
	slow.shut()
	b.behave(func(req any) (any, error) {
		if isHandover(req) {
			slow.pass()
		}
		return nil, nil
	})
	transfer = n.LeadershipTransferToServer(b.id, b.addr)
	s.await("the TimeoutNow", slow.held)
	return n, b, c, transfer
}

// L12. A single server: it must lead and take writes all the same.
func unreadNotify(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...)
	n.conf.NotifyCh = make(chan bool)
	n.start()
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	s.must(s.mustEnd(func() error { return n.Apply([]byte("x"), 0).Error() }, "the server does nothing until NotifyCh is read"))
}

// L13. All changes must be there, in order.
func lateNotify(s *stage) {
	notify := make(chan bool)
	n := s.server("n").holds(logOf(voters("n", "b", "c"))...)
	n.conf.NotifyCh = notify
	n.start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	term := n.CurrentTerm()
	s.must(s.mustEnd(func() error {
		_, err := c.tryAppend(n, term+1, 1, 1, 1)
		return err
	}, "the server answers nobody until NotifyCh is read"))
	n.leads(c)
	for i, want := range []bool{true, false, true} {
		select {
		case got := <-notify:
			if got != want {
				s.violated("change %d is missing", i+1)
			}
		case <-time.After(prompt):
			s.violated("change %d is missing", i+1)
		}
	}
}

// A9. As above.
func unreadObserver(s *stage) {
	n := s.server("n").timeouts(100 * time.Millisecond).holds(logOf(voters("n"))...).start()
	n.RegisterObserver(raft.NewObserver(make(chan raft.Observation), true, nil))
	if !within(prompt, func() bool { return n.Apply([]byte("x"), time.Second).Error() == nil }) {
		s.hangs("the server does nothing until the observer's channel is read")
	}
}

// L15. A real network transport, whose deadlines are far away.
func shutdownWithStalledPeer(s *stage) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	stalled := make(chan struct{}, 100)
	go func() {
		for {
			if _, err := listener.Accept(); err != nil {
				return
			}
			stalled <- struct{}{}
		}
	}()
	n := s.server("n")
	n.transport = s.tcp()
	n.addr = n.transport.LocalAddr()
	b := s.tcp()
	go serve(s, b, "b", func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) {})
	conf := raft.Configuration{Servers: []raft.Server{
		{ID: "n", Address: n.addr}, {ID: "b", Address: b.LocalAddr()}, {ID: "c", Address: raft.ServerAddress(listener.Addr().String())},
	}}
	n.holds(logOf(conf)...).start()
	s.must(b.AppendEntries(n.id, n.addr, &raft.AppendEntriesRequest{RPCHeader: headerOf(b, "b"), Term: 2}, new(raft.AppendEntriesResponse)))
	s.must(b.TimeoutNow(n.id, n.addr, &raft.TimeoutNowRequest{RPCHeader: headerOf(b, "b")}, new(raft.TimeoutNowResponse)))
	s.await("the node to lead", func() bool { return n.State() == raft.Leader })
	n.settled()
	<-stalled
	_ = s.mustEnd(func() error { return n.Shutdown().Error() }, "Shutdown waits for the server that does not answer")
}
