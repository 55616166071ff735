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
