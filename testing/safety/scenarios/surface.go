package scenarios

import (
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// This file: the transports' own promises.
var surface = []scenario{
	{"A6a", "a TCP transport is to advertise a host name", hostName},
	{"A6b", "a server was restarted on its address; the next request to it", staleConnection},
	{"A15", "the in-memory transport and the heartbeat handler", inmemHeartbeats},
}

// name is an address that is no IP.
type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }

// A6. Names are what orchestrators give out.
func hostName(s *stage) {
	t, err := raft.NewTCPTransport("127.0.0.1:0", name("localhost:7000"), 3, time.Second, io.Discard)
	if err != nil {
		s.violated("refused: %v", err)
	}
	if t.LocalAddr() != "localhost:7000" {
		s.violated("it advertises %s", t.LocalAddr())
	}
}

// A6. The pooled connection is to the old process.
func staleConnection(s *stage) {
	t := s.tcp()
	first := s.tcp()
	go serve(s, first, "b", func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) {})
	addr := first.LocalAddr()
	ask := func() error {
		return t.RequestVote("b", addr, &raft.RequestVoteRequest{RPCHeader: headerOf(t, "n"), Term: 2}, new(raft.RequestVoteResponse))
	}
	s.must(ask())
	first.CloseStreams()
	s.must(first.Close())
	var second *raft.NetworkTransport
	s.await("the address to be free", func() (ok bool) {
		var err error
		second, err = raft.NewTCPTransport(string(addr), nil, 3, time.Minute, io.Discard)
		return err == nil
	})
	go serve(s, second, "b", func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) {})
	time.Sleep(settle) // the old connections end
	if err := ask(); err != nil {
		s.violated("it fails, on a connection that was dead before: %v", err)
	}
}

// A15. Tests with it must see what production sees.
func inmemHeartbeats(s *stage) {
	addrA, a := raft.NewInmemTransport("a")
	addrB, b := raft.NewInmemTransport("b")
	a.Connect(addrB, b)
	b.Connect(addrA, a)
	handled := make(chan bool, 2)
	b.SetHeartbeatHandler(func(rpc raft.RPC) {
		handled <- true
		rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
	})
	go func() {
		for rpc := range b.Consumer() {
			handled <- false
			rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
		}
	}()
	s.must(a.AppendEntries("b", addrB, &raft.AppendEntriesRequest{RPCHeader: headerOf(a, "a"), Term: 1}, new(raft.AppendEntriesResponse)))
	if !<-handled {
		s.violated("heartbeats do not take the fast path that every other transport has")
	}
}
