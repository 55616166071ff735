package rafttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// party is a server that notes the requests it gets, by their term, and answers each
// with the same term. It scribbles over votes: each delivery must be a copy.
type party struct {
	*endpoint
	mu   sync.Mutex
	seen []uint64
}

func join(t *testing.T, n *Network, addr raft.ServerAddress) *party {
	p := &party{endpoint: n.join(addr)}
	t.Cleanup(p.close)
	go func() {
		for {
			select {
			case rpc := <-p.Consumer():
				p.handle(rpc)
			case <-p.closed:
				return
			}
		}
	}()
	return p
}

func (p *party) handle(rpc raft.RPC) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch req := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		p.seen = append(p.seen, req.Term)
		rpc.Respond(&raft.RequestVoteResponse{Term: req.Term}, nil)
		req.Term += 1000
	case *raft.AppendEntriesRequest:
		p.seen = append(p.seen, req.Term)
		rpc.Respond(&raft.AppendEntriesResponse{Term: req.Term}, nil)
	}
}

func (p *party) got() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// ask sends a request of some term, and returns how long that took.
func (p *party) ask(to *party, term uint64) (time.Duration, error) {
	start := time.Now()
	var resp raft.RequestVoteResponse
	err := p.RequestVote("", to.addr, &raft.RequestVoteRequest{Term: term}, &resp)
	if err == nil && resp.Term != term {
		err = fmt.Errorf("answer of term %d to a request of term %d", resp.Term, term)
	}
	return time.Since(start), err
}

// onNetwork runs a test with three parties in a bubble.
func onNetwork(t *testing.T, test func(t *testing.T, n *Network, a, b, c *party)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		test(t, n, join(t, n, "a"), join(t, n, "b"), join(t, n, "c"))
	})
}

func expectSeen(t *testing.T, p *party, want ...uint64) {
	t.Helper()
	synctest.Wait()
	if got := p.got(); !slices.Equal(got, want) {
		t.Errorf("%s got requests %v, want %v", p.addr, got, want)
	}
}

// expectOutcome says how a request must end, and when.
func expectOutcome(t *testing.T, from, to *party, term uint64, want error, after time.Duration) {
	t.Helper()
	took, err := from.ask(to, term)
	if !errors.Is(err, want) || took != after {
		t.Errorf("request from %s to %s ended with %v after %v, want %v after %v", from.addr, to.addr, err, took, want, after)
	}
}

func TestNetworkLatency(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		expectOutcome(t, a, b, 1, nil, 0)
		n.SetLatency(3*time.Millisecond, 3*time.Millisecond)
		expectOutcome(t, a, b, 2, nil, 6*time.Millisecond)

		n.SetLatency(10*time.Millisecond, 20*time.Millisecond)
		times := map[time.Duration]bool{}
		for range 50 {
			took, err := a.ask(b, 3)
			if err != nil || took < 20*time.Millisecond || took > 40*time.Millisecond {
				t.Errorf("took %v, error %v", took, err)
			}
			times[took] = true
		}
		if len(times) < 10 {
			t.Errorf("only %d different times", len(times))
		}
	})
}

func TestNetworkLoss(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		n.SetLoss(1)
		expectOutcome(t, a, b, 1, errTimeout, requestTimeout)
		expectSeen(t, b)

		n.SetLoss(0.3)
		failed := 0
		for range 100 {
			if took, err := a.ask(b, 2); err != nil {
				failed++
				if took != requestTimeout {
					t.Errorf("a failure after %v", took)
				}
			}
		}
		// One of two messages is lost with probability 0.51. A lost answer leaves a
		// request that was seen.
		if seen := len(b.got()); failed < 30 || failed > 70 || seen <= 100-failed {
			t.Errorf("%d of 100 have failed, %d were seen", failed, seen)
		}
		if got := n.Counts(); got.Lost != failed+1 {
			t.Errorf("%+v, want %d lost", got, failed+1)
		}
		n.SetLoss(0)
		expectOutcome(t, a, b, 3, nil, 0)
	})
}

// A cut is of one direction: requests that way are lost, and answers to requests of
// the other.
func TestNetworkCut(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, c *party) {
		n.Cut("a", "b")
		expectOutcome(t, a, b, 1, errTimeout, requestTimeout)
		expectSeen(t, b)
		expectOutcome(t, b, a, 2, errTimeout, requestTimeout)
		expectSeen(t, a, 2)
		expectOutcome(t, a, c, 3, nil, 0)
		n.Heal()
		expectOutcome(t, a, b, 4, nil, 0)

		// What is under way is lost too.
		n.SetLatency(10*time.Millisecond, 10*time.Millisecond)
		time.AfterFunc(5*time.Millisecond, func() { n.Cut("a", "b") })
		time.AfterFunc(15*time.Millisecond, n.Heal)
		expectOutcome(t, a, b, 5, errTimeout, requestTimeout)
		expectSeen(t, b, 4)

		// What is sent over a cut link is lost, although it is healed at once.
		n.Cut("a", "b")
		time.AfterFunc(5*time.Millisecond, n.Heal)
		expectOutcome(t, a, b, 6, errTimeout, requestTimeout)
		expectSeen(t, b, 4)
	})
}

func TestNetworkPartition(t *testing.T) {
	addrs := []raft.ServerAddress{"a", "b", "c"}
	for _, tt := range []struct {
		name string
		cut  func(*Network)
		want string // the links that work
	}{
		{"none", func(*Network) {}, "ab ac ba bc ca cb"},
		{"isolate", func(n *Network) { n.Isolate("b") }, "ac ca"},
		{"partition", func(n *Network) { n.Partition(addrs[:2]) }, "ab ba"},
		{"sides", func(n *Network) { n.Partition(addrs[:1], addrs[1:2]) }, ""},
		{"one side of all", func(n *Network) { n.Partition(addrs) }, "ab ac ba bc ca cb"},
		{"added", func(n *Network) { n.Cut("a", "b"); n.Isolate("c") }, "ba"},
		{"heal", func(n *Network) { n.Isolate("b"); n.Heal() }, "ab ac ba bc ca cb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := NewNetwork(1)
			for _, addr := range addrs {
				n.Join(addr)
			}
			tt.cut(n)
			var links []string
			for _, from := range addrs {
				for _, to := range addrs {
					if from != to && !n.fabric.Load().cuts[link{from, to}] {
						links = append(links, string(from+to))
					}
				}
			}
			if got := strings.Join(links, " "); got != tt.want {
				t.Errorf("links %q, want %q", got, tt.want)
			}
		})
	}
}

// A server that is down refuses, and one that goes down stops asking.
func TestNetworkDown(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		n.SetLatency(time.Millisecond, time.Millisecond)
		nobody := &party{endpoint: newEndpoint(n, "nobody")}
		for _, down := range []*party{nobody, b} {
			down.close()
			took, err := a.ask(down, 1)
			if err == nil || errors.Is(err, errTimeout) || took != 2*time.Millisecond {
				t.Errorf("%s: error %v after %v, want a refusal", down.addr, err, took)
			}
		}
		if got := n.Counts().Refused; got != 2 {
			t.Errorf("%d refusals", got)
		}
		expectOutcome(t, b, a, 2, raft.ErrTransportShutdown, 0)

		// A new server in the place of one that has a call under way.
		n.Stall("a")
		time.AfterFunc(time.Millisecond, func() { join(t, n, "a") })
		expectOutcome(t, a, b, 3, raft.ErrTransportShutdown, time.Millisecond)
	})
}

func TestNetworkDuplication(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		n.SetDuplication(1)
		for term := range uint64(10) {
			expectOutcome(t, a, b, term, nil, 0)
		}
		expectSeen(t, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		time.Sleep(maxLateness)
		synctest.Wait()
		repeats := b.got()[10:]
		if slices.IsSorted(repeats) {
			t.Errorf("repeats come in order: %v", repeats)
		}
		slices.Sort(repeats)
		if !slices.Equal(repeats, []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) || n.Counts().Duplicated != 10 {
			t.Errorf("repeats of %v, counts %+v", repeats, n.Counts())
		}

		// The answer to a repeat is nobody's, not even if the request was lost.
		for term := range uint64(10) {
			n.SetLoss(1)
			time.AfterFunc(time.Nanosecond, func() { n.SetLoss(0) })
			expectOutcome(t, a, b, term, errTimeout, requestTimeout)
		}
		time.Sleep(maxLateness)
		synctest.Wait()
		if got := b.got()[20:]; len(got) != 10 {
			t.Errorf("repeats of lost requests: %v", got)
		}
	})
}

// What a stalled server sends and is sent comes when it goes on, in order, although
// nobody waits for it any more.
func TestNetworkStall(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, c *party) {
		n.Stall("b")
		for term := range uint64(5) {
			expectOutcome(t, a, b, term, errTimeout, requestTimeout)
			expectOutcome(t, b, a, 10+term, errTimeout, requestTimeout)
		}
		expectOutcome(t, a, c, 1, nil, 0)
		expectSeen(t, b)
		expectSeen(t, a)

		n.Stall("a") // what b releases is held up for a
		n.Resume("b")
		expectSeen(t, b)
		n.Resume("a")
		expectSeen(t, b, 0, 1, 2, 3, 4)
		expectSeen(t, a, 10, 11, 12, 13, 14)
		expectOutcome(t, a, b, 5, nil, 0)
		if got := n.Counts(); got.Lost != 0 || got.Stalled != 10 {
			t.Errorf("%+v, want 10 stalled, 0 lost", got)
		}
	})
}

// A server that does not take its requests loses none of them.
func TestNetworkBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		a, lazy := join(t, n, "a"), &party{endpoint: n.join("lazy")}
		defer lazy.close()
		const requests = inboxSize + 100
		for range requests {
			go a.ask(lazy, 1)
			synctest.Wait()
		}
		time.Sleep(requestTimeout)
		for i := range requests {
			select {
			case rpc := <-lazy.Consumer():
				rpc.Respond(nil, nil)
			case <-time.After(time.Second):
				t.Fatalf("only %d of %d requests", i, requests)
			}
		}
	})
}

func TestNetworkIntercept(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		broken := errors.New("broken")
		var seen []string
		n.Intercept(func(m Message) error {
			seen = append(seen, fmt.Sprintf("%s%s %T", m.From, m.To, m.Request))
			if m.Request.(*raft.RequestVoteRequest).Term == 2 {
				return broken
			}
			time.Sleep(time.Second)
			return nil
		})
		expectOutcome(t, a, b, 2, broken, 0)
		took, _ := a.ask(b, 1)
		if took < requestTimeout {
			t.Errorf("the hook did not block: %v", took)
		}
		n.Intercept(nil)
		expectOutcome(t, b, a, 2, nil, 0)
		if want := []string{"ab *raft.RequestVoteRequest", "ab *raft.RequestVoteRequest"}; !slices.Equal(seen, want) {
			t.Errorf("saw %q", seen)
		}
	})
}

// A request is copied: what the sender does with its own has no effect.
func TestNetworkCopies(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		n.SetLatency(time.Millisecond, time.Millisecond)
		req := &raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1}}}
		p, err := a.AppendEntriesPipeline("", "b")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		f, err := p.AppendEntries(req, new(raft.AppendEntriesResponse))
		if err != nil {
			t.Fatal(err)
		}
		req.Term, req.Entries[0] = 2, nil
		if err := f.Error(); err != nil || f.Response().Term != 1 {
			t.Errorf("answer %+v, error %v", f.Response(), err)
		}
	})
}

// pipe opens a pipeline and sends requests of terms 1 to count, one each millisecond.
func pipe(t *testing.T, a, b *party, count int) (raft.AppendPipeline, []raft.AppendFuture) {
	t.Helper()
	p, err := a.AppendEntriesPipeline("", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	var futures []raft.AppendFuture
	for i := range count {
		f, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: uint64(i + 1)}, new(raft.AppendEntriesResponse))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
		time.Sleep(time.Millisecond)
	}
	return p, futures
}

func terms(count int) (all []uint64) {
	for i := range count {
		all = append(all, uint64(i+1))
	}
	return all
}

// However the latencies are drawn, what is sent over a pipeline arrives in order and
// is answered in order, and is under way at the same time.
func TestNetworkPipeline(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		const count, latency = 100, 50 * time.Millisecond
		n.SetLatency(0, latency)
		start := time.Now()
		p, futures := pipe(t, a, b, count)
		for i, want := range futures {
			if got := <-p.Consumer(); got != want || got.Error() != nil || got.Response().Term != uint64(i+1) {
				t.Fatalf("answer %d is to a request of term %d, error %v", i+1, got.Request().Term, got.Error())
			}
		}
		expectSeen(t, b, terms(count)...)
		if took := time.Since(start); took > count*time.Millisecond+2*latency {
			t.Errorf("took %v", took)
		}
		n.SetLatency(0, 0)
		p.AppendEntries(&raft.AppendEntriesRequest{Term: 7}, new(raft.AppendEntriesResponse))
		if f := <-p.Consumer(); f.Response().Term != 7 {
			t.Errorf("answer %+v", f.Response())
		}
	})
}

// Nothing passes a lost message of a pipeline, and when its time is up the pipeline
// is of no use.
func TestNetworkPipelineBreaks(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		for name, fault := range map[string]func(){
			"loss":            func() { n.SetLoss(1) },
			"cut":             func() { n.Cut("a", "b") },
			"cut of answers":  func() { n.Cut("b", "a") },
			"stalled":         func() { n.Stall("b") },
			"hook":            func() { n.Intercept(func(Message) error { return errTimeout }) },
			"sender closed":   func() { a.close() },
			"receiver closed": func() { b.close() },
		} {
			a, b = join(t, n, "a"), join(t, n, "b")
			p, futures := pipe(t, a, b, 3)
			for _, f := range futures {
				if err := f.Error(); err != nil {
					t.Errorf("%s: error %v before it", name, err)
				}
			}
			seen := len(b.got())
			fault()
			sent := time.Now()
			f, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 4}, new(raft.AppendEntriesResponse))
			synctest.Wait()
			n.SetLoss(0)
			n.Heal()
			n.Intercept(nil)
			if err == nil {
				p.AppendEntries(&raft.AppendEntriesRequest{Term: 5}, new(raft.AppendEntriesResponse))
				err = f.Error()
			}
			if err == nil || time.Since(sent) > requestTimeout {
				t.Errorf("%s: ended with %v after %v", name, err, time.Since(sent))
			}
			if got := b.got()[seen:]; name != "cut of answers" && len(got) != 0 {
				t.Errorf("%s: %v arrived", name, got)
			}
			n.Resume("b")
			p.Close()
			for range 20 {
				if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 6}, new(raft.AppendEntriesResponse)); err == nil {
					t.Errorf("%s: a closed pipeline takes a request", name)
				}
			}
		}
	})
}

// Requests that the stalled end of a pipeline was sent arrive in order when it goes on.
func TestNetworkPipelineStall(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		n.SetLatency(0, 30*time.Millisecond)
		time.AfterFunc(20*time.Millisecond, func() { n.Stall("b") })
		time.AfterFunc(200*time.Millisecond, func() { n.Resume("b") })
		_, futures := pipe(t, a, b, 100)
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if got := len(b.got()); got > 30 {
			t.Errorf("%d requests have arrived at a stalled server", got)
		}
		for _, f := range futures {
			if err := f.Error(); err != nil {
				t.Fatal(err)
			}
		}
		expectSeen(t, b, terms(100)...)
	})
}

// A pipeline that nobody takes answers from makes senders wait, and loses nothing.
func TestNetworkPipelineWindow(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *Network, a, b, _ *party) {
		p, err := a.AppendEntriesPipeline("", "b")
		if err != nil {
			t.Fatal(err)
		}
		const count = 3 * pipelineWindow
		go func() {
			for i := range count {
				p.AppendEntries(&raft.AppendEntriesRequest{Term: uint64(i)}, new(raft.AppendEntriesResponse))
			}
		}()
		time.Sleep(time.Minute)
		if got := len(b.got()); got >= count {
			t.Errorf("%d requests were sent, of which no answer was taken", got)
		}
		for i := range count {
			if f := <-p.Consumer(); f.Error() != nil || f.Response().Term != uint64(i) {
				t.Fatalf("answer %d: %+v, error %v", i, f.Response(), f.Error())
			}
		}
		p.Close()
	})
}

// snapshotReceiver takes one InstallSnapshot and hands its reader to read.
func snapshotReceiver(t *testing.T, n *Network, read func(io.Reader) error) {
	e := n.join("receiver")
	t.Cleanup(e.close)
	go func() {
		rpc := <-e.Consumer()
		rpc.Respond(&raft.InstallSnapshotResponse{Term: 1, Success: true}, read(rpc.Reader))
	}()
}

func TestNetworkSnapshot(t *testing.T) {
	const size = 1000
	state := bytes.Repeat([]byte("0123456789"), size/10)
	half := func(r io.Reader) error {
		_, err := io.CopyN(io.Discard, r, size/2)
		return err
	}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		data   io.Reader
		fault  func(*Network) // in the middle of the stream
		want   error          // of the sender, nil for none
		reader error          // of the receiver, in the middle
		took   time.Duration
	}{
		{"all well", bytes.NewReader(state), func(*Network) {}, nil, nil, 0},
		{"more than announced", io.MultiReader(bytes.NewReader(state), strings.NewReader("x")), func(*Network) {}, nil, nil, 0},
		{"cut", bytes.NewReader(state), func(n *Network) { n.Isolate("receiver") }, errTimeout, errSenderGone, snapshotTimeout},
		{"stalled", bytes.NewReader(state), func(n *Network) {
			n.Stall("sender")
			time.AfterFunc(time.Second, func() { n.Resume("sender") })
		}, nil, nil, time.Second},
		{"stalled for too long", bytes.NewReader(state), func(n *Network) { n.Stall("receiver") }, errTimeout, errSenderGone, snapshotTimeout},
		{"sender closed", bytes.NewReader(state), func(n *Network) {
			n.Stall("sender")
			n.join("sender").close()
		}, raft.ErrTransportShutdown, errSenderGone, 0},
		{"source fails", io.MultiReader(bytes.NewReader(state[:size/2+1]), errReader{broken}), func(*Network) {}, broken, broken, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork(1)
				n.SetDuplication(1) // not of these
				sender := n.join("sender")
				t.Cleanup(sender.close)
				var rest []byte
				var readErr error
				snapshotReceiver(t, n, func(r io.Reader) error {
					if err := half(r); err != nil {
						return err
					}
					tt.fault(n)
					rest, readErr = io.ReadAll(r)
					return readErr
				})
				start := time.Now()
				var resp raft.InstallSnapshotResponse
				err := sender.InstallSnapshot("", "receiver", &raft.InstallSnapshotRequest{Size: size}, &resp, tt.data)
				took := time.Since(start)
				synctest.Wait()
				if !errors.Is(err, tt.want) || took != tt.took || resp.Success != (tt.want == nil) {
					t.Errorf("sender: error %v after %v, answer %+v, want %v after %v", err, took, resp, tt.want, tt.took)
				}
				if !errors.Is(readErr, tt.reader) || tt.reader == nil && len(rest) != size/2 {
					t.Errorf("receiver: error %v after %d bytes more, want %v", readErr, len(rest), tt.reader)
				}
				if got := n.Counts().Duplicated; got != 0 {
					t.Errorf("%d repeats", got)
				}
			})
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// The receiver never reads once the sender's call has returned.
func TestNetworkSnapshotRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		sender := n.join("sender")
		t.Cleanup(sender.close)
		readers := make(chan io.Reader, 1)
		snapshotReceiver(t, n, func(r io.Reader) error {
			readers <- r
			return nil
		})
		data := strings.NewReader("state")
		req := &raft.InstallSnapshotRequest{Size: 5}
		if err := sender.InstallSnapshot("", "receiver", req, new(raft.InstallSnapshotResponse), data); err != nil {
			t.Fatal(err)
		}
		if k, err := (<-readers).Read(make([]byte, 5)); k != 0 || err != errSenderGone || data.Len() != 5 {
			t.Errorf("read %d bytes, error %v", k, err)
		}
		if err := sender.InstallSnapshot("", "receiver", &raft.InstallSnapshotRequest{Size: -1}, nil, data); err != errNegativeSize {
			t.Errorf("negative size: %v", err)
		}
	})
}
