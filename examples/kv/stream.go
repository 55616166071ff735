package main

import (
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// peerStream is the network between nodes: plain TCP. It is a [raft.StreamLayer],
// and the place for TLS.
type peerStream struct {
	net.Listener
	advertise net.Addr // nil: where it listens
	conf      config
}

// listenForPeers listens for other nodes. The caller closes the stream.
func listenForPeers(conf config) (*peerStream, error) {
	s := &peerStream{conf: conf}
	if conf.raftAdvertise != "" {
		addr, err := net.ResolveTCPAddr("tcp", conf.raftAdvertise)
		if err != nil {
			return nil, err
		}
		s.advertise = addr
	}
	var err error
	s.Listener, err = net.Listen("tcp", conf.raftAddr)
	return s, err
}

// Addr is the address that other nodes are told.
func (s *peerStream) Addr() net.Addr {
	if s.advertise != nil {
		return s.advertise
	}
	return s.Listener.Addr()
}

// Dial implements [raft.StreamLayer].
func (s *peerStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.conf.dialer(timeout).Dial("tcp", string(addr))
}
