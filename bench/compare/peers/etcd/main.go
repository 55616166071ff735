// The peer with go.etcd.io/raft/v3 and the WAL of etcd. It can write, to that store.
//
// Raft is used as its fastest users do: a RawNode and asynchronous storage writes, all
// proposals that wait appended in one step, all that waits for a disk or a connection
// written at once.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/raft/bench/compare/load"
)

func main() {
	if load.IsChild() {
		if err := runMember(os.Args[1:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	load.Main(map[string]func(load.Flags) (load.Metrics, error){"write": write})
}

func write(f load.Flags) (load.Metrics, error) {
	switch {
	case f.Store != "wal":
		return nil, fmt.Errorf("store %q: %w", f.Store, load.ErrUnsupported)
	case f.Entries != 0:
		return nil, fmt.Errorf("a log with entries: %w", load.ErrUnsupported)
	case f.Processes != 1 && f.Processes != f.Nodes:
		return nil, fmt.Errorf("%d nodes in %d processes: %w", f.Nodes, f.Processes, load.ErrUnsupported)
	}
	c, err := newCluster(f.Dir, f.Nodes, f.Processes > 1)
	if err != nil {
		return nil, err
	}
	m, err := load.Write(c, f.Options())
	return m, errors.Join(err, c.stop())
}
