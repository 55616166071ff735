// Package hashi measures a library with the API of hashicorp/raft. The same source is
// built against v1.8.0 and against this repository; what differs between the two is in
// [Library]. Configurations are the default ones, but that no snapshots are taken.
//
// Nodes talk TCP over the loopback interface. They live in one process, or, with
// -processes, in one each: then the program starts itself again for every node but the
// first (remote.go). Long logs and large snapshots are not made by writing to a cluster
// but put into the stores before nodes start (past.go), for both libraries alike.
//
// Files: node.go is a server, cluster.go several; workloads.go, repair.go and
// failover.go are what is measured; store.go has stores and machine.go the FSM.
package hashi

import (
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// Library is what a program knows of the library that it is built with.
type Library struct {
	// Stores are stores by the name that -store gives them. Those that every library
	// can have are known here: mem, and raft-wal. A name with +cache is that of a store
	// behind a raft.LogCache.
	Stores map[string]OpenStore

	// Reads are ways for a leader to make sure that it may answer a read, by the name
	// that -method gives them. VerifyLeader is known here.
	Reads map[string]ReadMethod
}

// A ReadMethod is a way to read.
type ReadMethod struct {
	Configure func(*raft.Config) // what it needs of every node; nil for nothing
	Read      func(*raft.Raft) error
}

// Main is the program. See [load.Main].
func Main(lib Library) {
	if load.IsChild() {
		serveRemote(lib)
		return
	}
	workloads := make(map[string]func(load.Flags) (load.Metrics, error))
	for name, workload := range map[string]func(Library, load.Flags) (load.Metrics, error){
		"write":    write,
		"read":     read,
		"idle":     idle,
		"restart":  restart,
		"catchup":  catchup,
		"snapshot": snapshot,
		"failover": failover,
	} {
		workloads[name] = func(f load.Flags) (load.Metrics, error) { return workload(lib, f) }
	}
	load.Main(workloads)
}
