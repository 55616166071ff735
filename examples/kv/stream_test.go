package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestDialFrom holds that all connections to other nodes come from the address
// that the user chose.
func TestDialFrom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has 127.0.0.2 without setting it up")
	}
	conf := testConfig(t, "n1")
	conf.dialFrom = "127.0.0.2"
	s, err := listenForPeers(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Dial(raft.ServerAddress(s.Addr().String()), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var forwardedFrom string
	leader := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		forwardedFrom = r.RemoteAddr
	}))
	defer leader.Close()
	client := http.Client{Transport: newPeerTransport(conf)}
	defer client.CloseIdleConnections()
	resp, err := client.Get(leader.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, addr := range []string{in.RemoteAddr().String(), forwardedFrom} {
		if host, _, err := net.SplitHostPort(addr); err != nil || host != conf.dialFrom {
			t.Errorf("a connection comes from %s (%v), want %s", addr, err, conf.dialFrom)
		}
	}
}

// TestAdvertise holds that other nodes are told -raft-advertise.
func TestAdvertise(t *testing.T) {
	conf := testConfig(t, "n1")
	conf.raftAdvertise = "127.0.0.1:7777"
	s, err := listenForPeers(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Addr().String(); got != conf.raftAdvertise {
		t.Errorf("advertised is %s, want %s", got, conf.raftAdvertise)
	}
}
