package main

import (
	"net/http"
	"net/http/httputil"
	"time"
)

// forwardedHeader marks a request that a follower passed on. It is not passed on
// again: while nodes disagree on who leads, it would go round in circles.
const forwardedHeader = "Kv-Forwarded-By"

const (
	peerDialTimeout = 2 * time.Second
	peerIdleConns   = 64
)

func newPeerTransport(conf config) *http.Transport {
	return &http.Transport{
		DialContext:         conf.dialer(peerDialTimeout).DialContext,
		MaxIdleConnsPerHost: peerIdleConns,
		IdleConnTimeout:     idleTimeout / 2, // before the other side gives up
		// The leader answers within its own timeout, and knows better what
		// became of the request.
		ResponseHeaderTimeout: conf.requestTimeout + time.Second,
		DisableCompression:    true,
	}
}

// onLeader calls h if this node is the leader, else it passes the request on.
func (s *server) onLeader(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.node.isLeader() {
			return h(w, r)
		}
		return s.forward(w, r)
	}
}

// forward passes the request on to the leader, and the answer back, as streams.
func (s *server) forward(w http.ResponseWriter, r *http.Request) error {
	if by := r.Header.Get(forwardedHeader); by != "" {
		return unavailable("node %s took this node, %s, for the leader", by, s.node.conf.id)
	}
	id, addr := s.node.leaderHTTP()
	switch {
	case id == "":
		return unavailable("no leader is known")
	case addr == "":
		return unavailable("leader %s has not announced its address yet", id)
	case id == s.node.conf.id:
		return unavailable("this node has just ceased to be the leader, or is about to become it")
	}
	var failed error
	proxy := httputil.ReverseProxy{
		Transport: s.peers,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", addr
			p.Out.Header.Set(forwardedHeader, s.node.conf.id)
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     s.http.ErrorLog,
	}
	proxy.ServeHTTP(w, r)
	return failed
}
