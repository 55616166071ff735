package main

import (
	"bytes"
	"maps"
)

// state is everything that is replicated. Equal sequences of commands lead to
// equal states and equal hashes on all nodes.
type state struct {
	index   uint64 // of the last command applied
	data    *table
	members map[string]string // server ID to HTTP address
}

// frozenState is the state at one moment. It never changes.
type frozenState struct {
	index   uint64
	data    *frozenTable
	members map[string]string
}

// A change is a command made ready: what can be computed without the state is.
type change struct {
	command
	sum digest // of the new key and value, for opPut
}

func newState() *state {
	return &state{data: newTable(), members: make(map[string]string)}
}

// prepare makes a change of an encoded command, which it does not keep.
func prepare(b []byte) (change, error) {
	c, err := decodeCommand(b)
	if err != nil {
		return change{}, err
	}
	ch := change{command: c}
	if c.op == opPut {
		ch.value = bytes.Clone(c.value)
		ch.sum = digestOf(factKey, c.key, c.value)
	}
	return ch, nil
}

func (s *state) apply(c change) {
	switch c.op {
	case opPut:
		s.data.put(c.key, entry{value: c.value, sum: c.sum})
	case opDelete:
		s.data.delete(c.key)
	case opSetMember:
		s.members[c.key] = string(c.value)
	case opForgetMember:
		delete(s.members, c.key)
	}
}

func (s *state) hash() digest { return hashOf(s.data.sum, s.members) }

func (s *state) freeze() *frozenState {
	return &frozenState{index: s.index, data: s.data.freeze(), members: maps.Clone(s.members)}
}

func (f *frozenState) hash() digest { return hashOf(f.data.sum, f.members) }

// hashOf adds the members, which are few, to the sum of the data.
func hashOf(data digest, members map[string]string) digest {
	for id, addr := range members {
		data.add(digestOf(factMember, id, []byte(addr)))
	}
	return data
}
