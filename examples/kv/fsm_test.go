package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"
)

// randomLog is a log of n entries, with entries that are no commands and
// commands that can't be decoded among them.
func randomLog(seed uint64, n int) []*raft.Log {
	rnd := rand.New(rand.NewPCG(seed, 0))
	var logs []*raft.Log
	for i := range n {
		l := &raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogCommand}
		key := fmt.Sprint("dir/", rnd.IntN(50))
		switch rnd.IntN(10) {
		case 0:
			l.Type = raft.LogConfiguration
		case 1:
			l.Data = []byte("\xffnonsense")
		case 2:
			l.Data = command{op: opDelete, key: key}.encode()
		case 3:
			l.Data = command{op: opSetMember, key: fmt.Sprint("n", rnd.IntN(3)), value: []byte(key)}.encode()
		case 4:
			l.Data = command{op: opForgetMember, key: fmt.Sprint("n", rnd.IntN(3))}.encode()
		default:
			l.Data = command{op: opPut, key: key, value: []byte(fmt.Sprint(i))}.encode()
		}
		logs = append(logs, l)
	}
	return logs
}

// However a log is cut into batches, and whether through snapshots or not, it
// leads to the same state.
func TestFSMIsDeterministic(t *testing.T) {
	logs := randomLog(1, 2000)
	want := newFSM()
	for _, l := range logs {
		want.Apply(l)
	}
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		got := newFSM()
		for rest := logs; len(rest) > 0; {
			n := min(1+rnd.IntN(64), len(rest))
			got.ApplyBatch(rest[:n])
			rest = rest[n:]
			if rnd.IntN(10) == 0 {
				got = copyBySnapshot(t, got)
			}
		}
		w, g := want.summary(), got.summary()
		w.restores, g.restores = 0, 0
		if w != g {
			t.Errorf("seed %d: %+v, want %+v", seed, g, w)
		}
	}
}

// The running hash is what one gets by adding up the state anew.
func TestFSMHashIsOfItsContent(t *testing.T) {
	f := newFSM()
	f.ApplyBatch(randomLog(2, 1000))
	want := sumOf(f.state.data.freeze().content())
	for id, addr := range f.state.members {
		want.add(digestOf(factMember, id, []byte(addr)))
	}
	if got := f.summary().hash; got != want {
		t.Errorf("hash %v, want %v", got, want)
	}
}

func TestFSMBadCommandChangesNothing(t *testing.T) {
	f := newFSM()
	f.Apply(&raft.Log{Index: 1, Data: command{op: opPut, key: "a", value: []byte("1")}.encode()})
	before := f.summary()
	result := f.Apply(&raft.Log{Index: 2, Data: []byte("\xff")})
	if err, ok := result.(error); !ok || !errors.Is(err, errBadCommand) {
		t.Errorf("result %v, want %v", result, errBadCommand)
	}
	after := f.summary()
	if after.hash != before.hash || after.keys != before.keys || after.index != 2 {
		t.Errorf("%+v became %+v", before, after)
	}
}

// Raft reuses an entry's memory: the state must not share it.
func TestFSMKeepsNoEntry(t *testing.T) {
	f := newFSM()
	l := &raft.Log{Index: 1, Data: command{op: opPut, key: "a", value: []byte("right")}.encode()}
	f.Apply(l)
	for i := range l.Data {
		l.Data[i] = 'x'
	}
	if e, found, _ := f.get("a"); !found || string(e.value) != "right" {
		t.Errorf("%q, %v", e.value, found)
	}
}
