package rafttest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// Two servers by hand, without a node: one asks, the other answers, and then its
// answers get lost.
func ExampleNetwork() {
	network := rafttest.NewNetwork(1)
	a, b := network.Join("a"), network.Join("b")

	ask := func() {
		go func() {
			rpc := <-b.Consumer()
			rpc.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
		}()
		var answer raft.RequestVoteResponse
		err := a.RequestVote("b", "b", &raft.RequestVoteRequest{Term: 7}, &answer)
		fmt.Println(answer.Granted, err)
	}
	ask()
	network.Cut("b", "a")
	ask()
	// Output:
	// true <nil>
	// false b: no answer in time
}

// A disk fills up in the middle of a write and then loses power.
func ExampleDisk() {
	disk := rafttest.NewMemDisk(8)
	logs := disk.LogStore()
	if err := logs.StoreLog(&raft.Log{Index: 1}); err != nil {
		fmt.Println(err)
	}
	disk.Fail(errors.New("no space left on device"))
	fmt.Println(logs.StoreLogs([]*raft.Log{{Index: 2}, {Index: 3}, {Index: 4}}))
	last, err := logs.LastIndex()
	fmt.Println(last, err) // some of them are there

	disk.Crash()
	_, err = logs.LastIndex()
	fmt.Println(err)
	last, err = disk.LogStore().LastIndex() // what a server finds that starts again
	fmt.Println(last, err)
	// Output:
	// no space left on device
	// 3 <nil>
	// the disk has crashed
	// 3 <nil>
}

// words is the FSM of a service that counts words.
type words struct {
	mu     sync.Mutex
	counts map[string]int
}

func newWords() raft.FSM { return &words{counts: map[string]int{}} }

func (w *words) Apply(log *raft.Log) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[string(log.Data)]++
	return w.counts[string(log.Data)]
}

func (w *words) count(word string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[word]
}

func (w *words) Snapshot() (raft.FSMSnapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return wordsSnapshot(maps.Clone(w.counts)), nil
}

func (w *words) Restore(snapshot io.ReadCloser) error {
	defer snapshot.Close()
	counts := map[string]int{}
	if err := json.NewDecoder(snapshot).Decode(&counts); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts = counts
	return nil
}

type wordsSnapshot map[string]int

func (s wordsSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		sink.Cancel()
		return err
	}
	return sink.Close()
}

func (s wordsSnapshot) Release() {}

// A history of calls, held to the log. Here a read that came after a write does not see
// it. The log is that of the leader, or what an FSM has recorded; each entry has the
// Extensions of its operation, as [raft.Raft.ApplyLog] gives them.
func ExampleModel() {
	history := rafttest.NewHistory()

	write := history.Begin(rafttest.Operation{Kind: rafttest.Write, Client: 1, Server: "a", Command: []byte("raft")})
	committed := []raft.Log{{Index: 2, Data: write.Command, Extensions: write.Extensions()}}
	history.End(write, func(op *rafttest.Operation) {
		op.Outcome, op.Index, op.Result = rafttest.OutcomeOf(nil), 2, 1
	})

	read := history.Begin(rafttest.Operation{Kind: rafttest.Read, Client: 2, Server: "b", Query: "raft"})
	history.End(read, func(op *rafttest.Operation) {
		op.Outcome, op.Result = rafttest.Done, 0
	})

	model := rafttest.Model{
		NewFSM: newWords,
		Read:   func(fsm raft.FSM, query any) any { return fsm.(*words).count(query.(string)) },
	}
	err := model.Check(history.Operations(), committed)
	var v *rafttest.Violation
	fmt.Println(errors.As(err, &v), v.Property)
	// Output:
	// true stale read
}

// How a service is tested: its FSM on five servers, in virtual time. Messages get
// lost and come twice while leaders crash; no acknowledged word may be forgotten.
func TestExampleService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := rafttest.MakeClusterCustom(t, &rafttest.MakeClusterOpts{
			Peers:       5,
			Bootstrap:   true,
			Seed:        1,
			MakeFSMFunc: newWords,
			MakeDisk:    func(raft.ServerID) (*rafttest.Disk, error) { return rafttest.NewMemDisk(1), nil },
		})
		c.Network().SetLatency(time.Millisecond, 10*time.Millisecond)
		c.Network().SetLoss(0.01)
		c.Network().SetDuplication(0.05)

		acknowledged := 0
		for range 10 {
			for range 20 {
				if c.Leader().Apply([]byte("word"), 0).Error() == nil {
					acknowledged++
				}
			}
			crashed := c.LeaderNode()
			crashed.Crash()
			c.Leader() // the others go on without it
			if err := crashed.Start(); err != nil {
				t.Fatal(err)
			}
		}

		c.Network().SetLoss(0)
		barrier := c.Leader().Apply([]byte("end"), 0)
		if err := barrier.Error(); err != nil {
			t.Fatal(err)
		}
		c.WaitForApplied(barrier.Index())
		var counts []string
		for _, n := range c.Nodes() {
			got := n.FSM().(*words).count("word")
			if got < acknowledged {
				t.Errorf("%s knows of %d words, %d were acknowledged", n.ID(), got, acknowledged)
			}
			counts = append(counts, fmt.Sprint(got))
		}
		t.Logf("%d acknowledged, counted: %s", acknowledged, strings.Join(counts, " "))
	})
}
