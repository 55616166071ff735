package main

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	headerTimeout   = 5 * time.Second
	readTimeout     = time.Minute     // for a whole request, the body included
	writeTimeout    = 2 * time.Minute // from the end of the header to the end of the answer
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second // for requests under way when the node stops
)

// A server turns HTTP requests into calls of a node.
type server struct {
	node   *node
	values budget
	peers  *http.Transport // to other nodes
	mux    *http.ServeMux
	http   *http.Server
}

// handler is an http.HandlerFunc that leaves the answer to the caller if it fails.
type handler func(http.ResponseWriter, *http.Request) error

func newServer(n *node, log hclog.Logger) *server {
	s := &server{
		node:   n,
		values: budget{limit: n.conf.maxInflight},
		peers:  newPeerTransport(n.conf),
		mux:    http.NewServeMux(),
	}
	s.handle("GET /status", s.getStatus)
	s.handle("GET /hash", s.getHash)
	s.handle("POST /cluster/join", s.onLeader(s.join))
	s.handle("DELETE /cluster/{id}", s.onLeader(s.leave))
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s
}

// ServeHTTP takes keys out of the path itself: a ServeMux would redirect those
// that contain "//" or "..".
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, ok := strings.CutPrefix(r.URL.Path, "/kv/")
	if !ok {
		s.mux.ServeHTTP(w, r)
		return
	}
	if err := s.serveKey(w, r, key); err != nil {
		writeProblem(w, r, err)
	}
}

func (s *server) handle(pattern string, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			writeProblem(w, r, err)
		}
	})
}

// serve answers requests until shutdown.
func (s *server) serve(l net.Listener) error { return s.http.Serve(l) }

// shutdown accepts no more requests, waits a little for those under way, and
// cuts off the rest.
func (s *server) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	defer s.peers.CloseIdleConnections()
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}
