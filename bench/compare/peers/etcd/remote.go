package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/hashicorp/raft/bench/compare/load"
)

// A remote is a process with one node. It says its address, is told those of all nodes,
// and answers every word with a report.
type remote struct {
	id      uint64
	address string
	child   *load.Child
}

// startRemote starts a process with the node id of a cluster of so many.
func startRemote(dir string, id, members uint64) (*remote, error) {
	child, err := load.StartChild(dir, strconv.FormatUint(id, 10), strconv.FormatUint(members, 10))
	if err != nil {
		return nil, fmt.Errorf("node %d: %w", id, err)
	}
	r := &remote{id: id, child: child}
	if err := child.Receive(&r.address); err != nil {
		return nil, errors.Join(fmt.Errorf("address of node %d: %w", id, err), r.stop())
	}
	return r, nil
}

func (r *remote) send(v any) error {
	if err := r.child.Send(v); err != nil {
		return fmt.Errorf("process of node %d: %w", r.id, err)
	}
	return nil
}

// Report implements [load.Remote].
func (r *remote) Report() (report load.Report, err error) {
	if err := r.send("report"); err != nil {
		return load.Report{}, err
	}
	if err := r.child.Receive(&report); err != nil {
		return load.Report{}, fmt.Errorf("report of node %d: %w", r.id, err)
	}
	return report, nil
}

// stop ends the process and waits for that.
func (r *remote) stop() error {
	if err := r.child.Stop(); err != nil {
		return fmt.Errorf("process of node %d: %w", r.id, err)
	}
	return nil
}

// runMember is the other side of a remote.
func runMember(args []string, stdin io.Reader, stdout io.Writer) (err error) {
	if len(args) != 3 {
		return fmt.Errorf("%d arguments, not directory, node and members", len(args))
	}
	id, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	members, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("members: %w", err)
	}
	n, err := newNode(args[0], id, members)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	return n.serve(json.NewDecoder(stdin), json.NewEncoder(stdout))
}

// serve runs the node and answers the process that measures, until that ends.
func (n *node) serve(in *json.Decoder, out *json.Encoder) error {
	if err := out.Encode(n.address()); err != nil {
		return fmt.Errorf("node %d: %w", n.id, err)
	}
	var addresses map[uint64]string
	if err := in.Decode(&addresses); err != nil {
		return fmt.Errorf("addresses for node %d: %w", n.id, err)
	}
	if err := errors.Join(n.connect(addresses), n.start()); err != nil {
		return err
	}
	for {
		var word string
		switch err := in.Decode(&word); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("node %d: %w", n.id, err)
		}
		report, err := n.report()
		if err != nil {
			return err
		}
		if err := out.Encode(report); err != nil {
			return fmt.Errorf("node %d: %w", n.id, err)
		}
	}
}

func (n *node) report() (load.Report, error) {
	usage, err := load.Self()
	if err != nil {
		return load.Report{}, err
	}
	usage.Flushes = n.disk.flushes.Load()
	return load.Report{State: n.machine.State(), Usage: usage}, nil
}
