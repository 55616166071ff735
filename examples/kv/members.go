package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Raft knows where nodes talk to each other. Where they serve clients is part of
// the replicated state: a new leader writes its own address there, so followers
// know where to forward to.

const announceRetry = 200 * time.Millisecond

// announceLeadership writes this node's HTTP address to the state each time it
// becomes the leader, until ctx ends.
func (n *node) announceLeadership(ctx context.Context) {
	for {
		select {
		case leads := <-n.raft.LeaderCh():
			if leads {
				n.announce(ctx)
			}
		case <-ctx.Done():
			return
		}
	}
}

// announce tries until it succeeds or this node leads no longer.
func (n *node) announce(ctx context.Context) {
	for n.isLeader() && ctx.Err() == nil {
		err := n.setMember(ctx, n.conf.id, n.httpAddr)
		if err == nil {
			return
		}
		n.log.Warn("could not announce this leader's address", "error", err)
		select {
		case <-time.After(announceRetry):
		case <-ctx.Done():
		}
	}
}

func (n *node) setMember(ctx context.Context, id, httpAddr string) error {
	_, err := n.propose(ctx, command{op: opSetMember, key: id, value: []byte(httpAddr)}.encode())
	return err
}

// leaderHTTP returns the leader's ID and HTTP address; either is "" if this node
// doesn't know it.
func (n *node) leaderHTTP() (id, addr string) {
	_, leader := n.raft.LeaderWithID()
	if leader == "" {
		return "", ""
	}
	return string(leader), n.fsm.member(leader)
}

// addMember makes a server a voter. It does nothing if it is one at this address.
func (n *node) addMember(ctx context.Context, m joinRequest) error {
	id, addr := raft.ServerID(m.ID), raft.ServerAddress(m.RaftAddr)
	for _, s := range n.servers() {
		if s.Address == addr && s.ID != id {
			return conflict("%s is the address of node %s", addr, s.ID)
		}
	}
	if n.fsm.member(id) != m.HTTPAddr {
		if err := n.setMember(ctx, m.ID, m.HTTPAddr); err != nil {
			return err
		}
	}
	if n.isVoter(id, addr) {
		return nil
	}
	return n.await(ctx, n.raft.AddVoter(id, addr, 0, n.conf.requestTimeout))
}

func (n *node) isVoter(id raft.ServerID, addr raft.ServerAddress) bool {
	for _, s := range n.servers() {
		if s.ID == id && s.Address == addr && s.Suffrage == raft.Voter {
			return true
		}
	}
	return false
}

// removeMember removes a server. Its HTTP address goes too unless this node has
// just removed itself; an address that stays is never asked for again.
func (n *node) removeMember(ctx context.Context, id string) error {
	if !n.isMember(raft.ServerID(id)) {
		return notFound("no node %q in the cluster", id)
	}
	if id == n.conf.id && !n.hasPeers() {
		return conflict("%s is the only voter: stop it instead", id)
	}
	if err := n.await(ctx, n.raft.RemoveServer(raft.ServerID(id), 0, n.conf.requestTimeout)); err != nil {
		return err
	}
	if id == n.conf.id {
		return nil
	}
	if _, err := n.propose(ctx, command{op: opForgetMember, key: id}.encode()); err != nil {
		return fmt.Errorf("removed, but its address is still listed: %w", err)
	}
	return nil
}

func (n *node) isMember(id raft.ServerID) bool {
	for _, s := range n.servers() {
		if s.ID == id {
			return true
		}
	}
	return false
}
