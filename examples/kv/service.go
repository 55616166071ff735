package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// watchInterval is how often a service looks whether Raft has stopped by itself:
// because a disk failed, or because this node was removed from the cluster.
const watchInterval = time.Second

var errRaftStopped = errors.New("raft has stopped: see the log; if this node was removed from the cluster that is why")

// A service is a node, its HTTP server, and the goroutines that belong to them.
// It ends with stop.
type service struct {
	node   *node
	server *server

	failed chan error // the first reason why it can't go on
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// startService starts a node and serves it. It returns before the node has found
// or joined a cluster.
func startService(conf config, log hclog.Logger) (*service, error) {
	listener, err := net.Listen("tcp", conf.httpAddr)
	if err != nil {
		return nil, fmt.Errorf("listening for clients: %w", err)
	}
	addr := conf.httpAdvertise
	if addr == "" {
		addr = listener.Addr().String()
	}
	n, err := openNode(conf, addr, log)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &service{node: n, server: newServer(n, log), failed: make(chan error, 1), cancel: cancel}
	s.run(func() error { return s.server.serve(listener) })
	s.run(func() error { n.announceLeadership(ctx); return nil })
	s.run(func() error { return n.watch(ctx) })
	if len(conf.seeds()) > 0 {
		s.run(func() error { return s.server.joinCluster(ctx) })
	}
	log.Info("serving", "id", conf.id, "http", addr, "raft", n.raftAddr)
	return s, nil
}

// run starts a goroutine that stop waits for. The service fails if it does.
func (s *service) run(task func() error) {
	s.tasks.Go(func() {
		err := task()
		if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, http.ErrServerClosed) {
			return
		}
		select {
		case s.failed <- err:
		default: // there is a reason already
		}
	})
}

// watch returns when Raft stops or ctx ends.
func (n *node) watch(ctx context.Context) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if n.raft.State() == raft.Shutdown {
				return errRaftStopped
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop hands leadership over, answers the requests under way (the new leader
// helps), then stops the node.
func (s *service) stop() error {
	s.cancel()
	s.node.handOver()
	err := errors.Join(s.server.shutdown(), s.node.stop())
	s.tasks.Wait()
	return err
}
