package main

import (
	"fmt"
	"strings"
)

// A testCase is a load and who is put under it, side by side.
type testCase struct {
	group    string // cases of a group are rows of one table
	row      string // name within the group, "" for a group of one case
	load     workload
	entrants []entrant // the first is what the others are compared with
}

func (c testCase) name() string {
	if c.row == "" {
		return c.group
	}
	return c.group + "/" + c.row
}

func (c testCase) measurement(e entrant) measurement {
	return measurement{peer: e.peer, args: e.args(c.load)}
}

// An entrant is a peer with one of its stores, and with one of its ways to read.
type entrant struct{ peer, store, method string }

func (e entrant) String() string {
	return strings.TrimSpace(e.peer + "+" + e.store + " " + e.method)
}

// A workload is what a peer is asked for, but for the store and the time. Fields that
// are 0 are left to the peer.
type workload struct {
	name                                              string
	nodes, processes, clients, writers, size, entries int
}

// args returns the command line for an entrant.
func (e entrant) args(w workload) string {
	args := fmt.Sprintf("-workload %s -store %s", w.name, e.store)
	if e.method != "" {
		args += " -method " + e.method
	}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"nodes", w.nodes}, {"processes", w.processes}, {"clients", w.clients},
		{"writers", w.writers}, {"size", w.size}, {"entries", w.entries},
	} {
		if f.value != 0 {
			args += fmt.Sprintf(" -%s %d", f.name, f.value)
		}
	}
	return args
}

var (
	baseline = entrant{peer: "upstream", store: "bolt"}
	etcd     = entrant{peer: "etcd", store: "wal"}
)

// entrants are who is compared in a group, by the store that this library has there.
// What others would be used with instead of BoltDB is in the comparison of the store
// with one flush per batch.
var entrants = map[string][]entrant{
	"bolt":     {baseline, {peer: "ours", store: "bolt"}, etcd},
	"wal":      {baseline, {peer: "ours", store: "wal"}, {peer: "upstream", store: "raft-wal"}, etcd},
	"raft-wal": {baseline, {peer: "ours", store: "raft-wal"}, {peer: "upstream", store: "raft-wal"}},
	"mem":      {{peer: "upstream", store: "mem"}, {peer: "ours", store: "mem"}},
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// allCases returns all cases, in the order in which a round runs them: first what
// matters most, and side by side what is compared.
func allCases() []testCase {
	var all []testCase
	stores := func(names ...string) func(group, row string, w workload) {
		return func(group, row string, w workload) {
			for _, s := range names {
				all = append(all, testCase{group + "/" + s, row, w, entrants[s]})
			}
		}
	}
	durable := stores("bolt", "wal")
	write := workload{name: "write", nodes: 3, processes: 1, size: 256}

	for _, clients := range []int{1, 16, 64, 256, 1024} {
		w := write
		w.clients = clients
		stores("bolt", "wal", "raft-wal", "mem")("write", fmt.Sprintf("c%d", clients), w)
		if clients == 64 { // the next, so that it has the same weather as the empty log
			big := w
			big.entries = 1_000_000
			durable("biglog", "c64", big)
		}
	}
	for _, size := range []struct{ kib, most int }{{4, 256}, {64, 64}} {
		for _, clients := range []int{1, 64, 256} {
			if clients <= size.most {
				w := write
				w.size, w.clients = size.kib*kib, clients
				durable(fmt.Sprintf("write-%dKiB", size.kib), fmt.Sprintf("c%d", clients), w)
			}
		}
	}
	for _, nodes := range []int{1, 3, 5, 7} {
		for _, clients := range []int{64, 256} {
			w := write
			w.nodes, w.clients = nodes, clients
			durable("nodes", fmt.Sprintf("n%d/c%d", nodes, clients), w)
		}
	}
	for _, clients := range []int{1, 64, 1024} {
		w := write
		w.processes, w.clients = 3, clients
		durable("processes", fmt.Sprintf("c%d", clients), w)
	}
	return append(append(all, readCases()...), taskCases()...)
}

// readCases are reads of the leader's state that are linearizable, without and with
// writers beside them.
func readCases() []testCase {
	var all []testCase
	for _, writers := range []int{0, 16} {
		for _, clients := range []int{1, 64, 256} {
			group := "read/quiet"
			if writers > 0 {
				group = "read/writers"
			}
			all = append(all, testCase{group, fmt.Sprintf("c%d", clients),
				workload{name: "read", nodes: 3, processes: 1, clients: clients, writers: writers, size: 256},
				[]entrant{
					{peer: "upstream", store: "bolt", method: "verify"},
					{peer: "ours", store: "bolt", method: "verify"},
					{peer: "ours", store: "bolt", method: "readindex"},
					{peer: "ours", store: "bolt", method: "lease"},
				}})
		}
	}
	return all
}

// taskCases are what a cluster does once in a while, or while it does nothing.
func taskCases() []testCase {
	ours, oursWAL := entrant{peer: "ours", store: "bolt"}, entrant{peer: "ours", store: "wal"}
	two, three := []entrant{baseline, ours}, []entrant{baseline, ours, oursWAL}
	return []testCase{
		{"catchup", "", workload{name: "catchup", nodes: 3, size: 256, entries: 200_000}, three},
		{"snapshot", "", workload{name: "snapshot", nodes: 3, size: 256 * mib}, two},
		{"restart", "", workload{name: "restart", nodes: 1, size: 256, entries: 500_000}, three},
		{"failover", "", workload{name: "failover", nodes: 3, size: 256}, three},
		{"idle", "", workload{name: "idle", nodes: 3}, three},
	}
}

// shortened returns cases with less to write before a measurement, and less to transfer
// in it, for a run that shows that everything works and nothing else.
func shortened(cases []testCase) []testCase {
	short := make([]testCase, 0, len(cases))
	for _, c := range cases {
		c.load.entries /= 100
		if c.load.name == "snapshot" {
			c.load.size /= 64
		}
		short = append(short, c)
	}
	return short
}
