package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// The FSM keeps what raft asks of one. A snapshot lists the keys in any order, so
// states are compared by their hash.
func TestFSMConforms(t *testing.T) {
	rafttest.CheckFSM(t, func() raft.FSM { return newFSM() }, randomCommand,
		rafttest.FSMState(func(f raft.FSM) any {
			s := f.(*fsm).summary()
			s.restores = 0
			return s
		}))
}

// randomCommand is a command of any kind, or one that can't be decoded.
func randomCommand(rng *rand.Rand) []byte {
	key, member := fmt.Sprint("dir/", rng.IntN(50)), fmt.Sprint("n", rng.IntN(3))
	switch rng.IntN(10) {
	case 0:
		return []byte("\xffnonsense")
	case 1, 2:
		return command{op: opDelete, key: key}.encode()
	case 3:
		return command{op: opSetMember, key: member, value: []byte(key)}.encode()
	case 4:
		return command{op: opForgetMember, key: member}.encode()
	default:
		return command{op: opPut, key: key, value: fmt.Append(nil, rng.Uint64())}.encode()
	}
}
