package main

import "context"

// waitReadable returns once a read of this node's state is linearizable: it sees
// every write that was acknowledged, by whatever node, before the call. Only the
// leader can promise that.
func (n *node) waitReadable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.conf.requestTimeout)
	defer cancel()
	_, err := n.raft.ReadIndex(ctx)
	return err
}

// waitApplied returns once this node has applied the log up to index.
func (n *node) waitApplied(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, n.conf.requestTimeout)
	defer cancel()
	return n.raft.WaitApplied(ctx, index)
}
