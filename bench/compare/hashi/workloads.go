package hashi

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// write measures writing.
func write(lib Library, f load.Flags) (load.Metrics, error) {
	return withCluster(lib, f, func(c *cluster) (load.Metrics, error) {
		return load.Write(c, f.Options())
	})
}

// read measures what it costs a leader to make sure that it may answer a read.
func read(lib Library, f load.Flags) (load.Metrics, error) {
	method, ok := lib.Reads[f.Method]
	switch {
	case f.Method == "verify":
		method.Read = func(r *raft.Raft) error { return r.VerifyLeader().Error() }
	case !ok:
		return nil, fmt.Errorf("method %q: %w", f.Method, load.ErrUnsupported)
	}
	return withCluster(lib, f, func(c *cluster) (load.Metrics, error) {
		leader := c.nodes[0].raft
		return load.Read(c, f.Options(), func(int) error { return method.Read(leader) })
	})
}

// idle measures a cluster that nobody calls.
func idle(lib Library, f load.Flags) (load.Metrics, error) {
	return withCluster(lib, f, func(c *cluster) (load.Metrics, error) {
		return load.Idle(c, f.Options())
	})
}

// withCluster runs a workload on the cluster that f describes.
func withCluster(lib Library, f load.Flags, workload func(*cluster) (load.Metrics, error)) (load.Metrics, error) {
	c, err := startCluster(lib, f)
	if err != nil {
		return nil, err
	}
	m, err := workload(c)
	return m, errors.Join(err, c.stop())
}
