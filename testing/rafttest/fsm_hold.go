package rafttest

import (
	"io"

	"github.com/hashicorp/raft"
)

// heldBy returns an FSM that waits at a gate before each call of fsm. It has exactly
// the optional methods that fsm has.
func heldBy(fsm raft.FSM, g *gate) raft.FSM {
	h := &heldFSM{fsm, g}
	batching, isBatching := fsm.(raft.BatchingFSM)
	store, isStore := fsm.(raft.ConfigurationStore)
	switch {
	case isBatching && isStore:
		return struct {
			*heldFSM
			heldBatches
			heldConfigurations
		}{h, heldBatches{batching, g}, heldConfigurations{store, g}}
	case isBatching:
		return struct {
			*heldFSM
			heldBatches
		}{h, heldBatches{batching, g}}
	case isStore:
		return struct {
			*heldFSM
			heldConfigurations
		}{h, heldConfigurations{store, g}}
	default:
		return h
	}
}

type heldFSM struct {
	fsm  raft.FSM
	gate *gate
}

func (h *heldFSM) Apply(log *raft.Log) any {
	h.gate.pass(nil)
	return h.fsm.Apply(log)
}

func (h *heldFSM) Snapshot() (raft.FSMSnapshot, error) {
	h.gate.pass(nil)
	return h.fsm.Snapshot()
}

func (h *heldFSM) Restore(snapshot io.ReadCloser) error {
	h.gate.pass(nil)
	return h.fsm.Restore(snapshot)
}

type heldBatches struct {
	batching raft.BatchingFSM
	held     *gate
}

func (h heldBatches) ApplyBatch(logs []*raft.Log) []any {
	h.held.pass(nil)
	return h.batching.ApplyBatch(logs)
}

type heldConfigurations struct {
	store raft.ConfigurationStore
	held  *gate
}

func (h heldConfigurations) StoreConfiguration(index uint64, configuration raft.Configuration) {
	h.held.pass(nil)
	h.store.StoreConfiguration(index, configuration)
}
