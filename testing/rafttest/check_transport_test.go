package rafttest

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// faultyTransport is a good transport but for what its functions do instead.
type faultyTransport struct {
	*raft.InmemTransport
	addr      func(*raft.InmemTransport) raft.ServerAddress
	decode    func(raft.ServerAddress) raft.ServerAddress
	append    func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error
	vote      func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error
	install   func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error
	heartbeat func(t *raft.InmemTransport, cb func(raft.RPC))
	pipeline  func(raft.AppendPipeline) raft.AppendPipeline
	close     func(*raft.InmemTransport) error
	consumer  <-chan raft.RPC
}

func (f *faultyTransport) LocalAddr() raft.ServerAddress {
	if f.addr != nil {
		return f.addr(f.InmemTransport)
	}
	return f.InmemTransport.LocalAddr()
}

func (f *faultyTransport) DecodePeer(b []byte) raft.ServerAddress {
	if f.decode != nil {
		return f.decode(raft.ServerAddress(b))
	}
	return raft.ServerAddress(b)
}

func (f *faultyTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if f.append != nil {
		return f.append(f.InmemTransport, target, req, resp)
	}
	return f.InmemTransport.AppendEntries(id, target, req, resp)
}

func (f *faultyTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if f.vote != nil {
		return f.vote(f.InmemTransport, target, req, resp)
	}
	return f.InmemTransport.RequestVote(id, target, req, resp)
}

func (f *faultyTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if f.install != nil {
		return f.install(f.InmemTransport, target, req, resp, data)
	}
	return f.InmemTransport.InstallSnapshot(id, target, req, resp, data)
}

func (f *faultyTransport) SetHeartbeatHandler(cb func(raft.RPC)) {
	if f.heartbeat != nil {
		f.heartbeat(f.InmemTransport, cb)
		return
	}
	f.InmemTransport.SetHeartbeatHandler(cb)
}

func (f *faultyTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	pipe, err := f.InmemTransport.AppendEntriesPipeline(id, target)
	if err == nil && f.pipeline != nil {
		pipe = f.pipeline(pipe)
	}
	return pipe, err
}

func (f *faultyTransport) Close() error {
	if f.close != nil {
		return f.close(f.InmemTransport)
	}
	return f.InmemTransport.Close()
}

func (f *faultyTransport) Consumer() <-chan raft.RPC {
	if f.consumer != nil {
		return f.consumer
	}
	return f.InmemTransport.Consumer()
}

// faultyPipeline is a good pipeline but for what its functions do instead.
type faultyPipeline struct {
	raft.AppendPipeline
	append   func(p raft.AppendPipeline, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error)
	consumer <-chan raft.AppendFuture
	close    func(raft.AppendPipeline) error
}

func (f *faultyPipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if f.append != nil {
		return f.append(f.AppendPipeline, req, resp)
	}
	return f.AppendPipeline.AppendEntries(req, resp)
}

func (f *faultyPipeline) Consumer() <-chan raft.AppendFuture {
	if f.consumer != nil {
		return f.consumer
	}
	return f.AppendPipeline.Consumer()
}

func (f *faultyPipeline) Close() error {
	if f.close != nil {
		return f.close(f.AppendPipeline)
	}
	return f.AppendPipeline.Close()
}

// faultyFuture is a good future but for what is set.
type faultyFuture struct {
	raft.AppendFuture
	request  *raft.AppendEntriesRequest
	start    *time.Time
	response *raft.AppendEntriesResponse
	silent   bool // no error
}

func (f *faultyFuture) Request() *raft.AppendEntriesRequest {
	if f.request != nil {
		return f.request
	}
	return f.AppendFuture.Request()
}

func (f *faultyFuture) Start() time.Time {
	if f.start != nil {
		return *f.start
	}
	return f.AppendFuture.Start()
}

func (f *faultyFuture) Response() *raft.AppendEntriesResponse {
	if f.response != nil {
		return f.response
	}
	return f.AppendFuture.Response()
}

func (f *faultyFuture) Error() error {
	if err := f.AppendFuture.Error(); !f.silent {
		return err
	}
	return nil
}

// futures is a pipeline whose futures are changed on their way out, each time the
// given number of them has come.
func futures(group int, change func([]raft.AppendFuture)) func(raft.AppendPipeline) raft.AppendPipeline {
	return func(pipe raft.AppendPipeline) raft.AppendPipeline {
		changed, closed := make(chan raft.AppendFuture, 1000), make(chan struct{})
		go func() {
			var all []raft.AppendFuture
			for {
				select {
				case f := <-pipe.Consumer():
					all = append(all, f)
				case <-closed:
					return
				}
				if len(all) < group {
					continue
				}
				change(all)
				for _, f := range all {
					changed <- f
				}
				all = nil
			}
		}()
		var once sync.Once
		return &faultyPipeline{AppendPipeline: pipe, consumer: changed, close: func(pipe raft.AppendPipeline) error {
			once.Do(func() { close(closed) })
			return pipe.Close()
		}}
	}
}

// faultyTransports is the suite for transports with faults over good ones, which are
// shown to note.
func faultyTransports(open func() faultyTransport, note func(*raft.InmemTransport)) suite {
	return transportSuite(func(n int, timeout time.Duration) ([]raft.Transport, error) {
		all, err := openInmem(n, timeout)
		for i := range all {
			f := open()
			f.InmemTransport = all[i].(*raft.InmemTransport)
			note(f.InmemTransport)
			all[i] = &f
		}
		return all, err
	})
}

// delivering is the suite for transports whose AppendEntries arrive as deliver makes
// them.
func delivering(deliver func(request any, answer chan raft.RPCResponse) raft.RPC) suite {
	return transportSuite(func(n int, timeout time.Duration) ([]raft.Transport, error) {
		all, err := openInmem(n, timeout)
		queues := map[raft.ServerAddress]chan raft.RPC{}
		for i, trans := range all {
			queues[trans.LocalAddr()] = make(chan raft.RPC, 1)
			all[i] = &faultyTransport{InmemTransport: trans.(*raft.InmemTransport), consumer: queues[trans.LocalAddr()],
				append: func(_ *raft.InmemTransport, target raft.ServerAddress, req *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) error {
					answer := make(chan raft.RPCResponse, 1)
					queues[target] <- deliver(req, answer)
					return (<-answer).Error
				}}
		}
		return all, err
	})
}

func TestCheckTransportFindsFaults(t *testing.T) {
	const hangs = 2 * time.Second
	var faults []fault
	add := func(name string, open func() faultyTransport, found map[string]string) *fault {
		faults = append(faults, fault{name: name, found: found, suite: faultyTransports(open, func(*raft.InmemTransport) {})})
		return &faults[len(faults)-1]
	}
	// What hangs is ended by closing the transports under the faulty ones.
	addHang := func(name string, open func(released <-chan struct{}) faultyTransport, found map[string]string) {
		var mu sync.Mutex
		var opened []*raft.InmemTransport
		released := make(chan struct{})
		faults = append(faults, fault{name: name, found: found, limit: hangs, suite: faultyTransports(
			func() faultyTransport { return open(released) },
			func(t *raft.InmemTransport) {
				mu.Lock()
				defer mu.Unlock()
				opened = append(opened, t)
			}), release: func() {
			close(released)
			mu.Lock()
			defer mu.Unlock()
			for _, t := range opened {
				_ = t.Close() // never fails
			}
		}})
	}
	appends := func(spoil func(*raft.AppendEntriesRequest)) func() faultyTransport {
		return func() faultyTransport {
			return faultyTransport{append: func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
				sent := *req
				spoil(&sent)
				return t.AppendEntries("", target, &sent, resp)
			}}
		}
	}
	votes := func(after func(resp *raft.RequestVoteResponse, err error) error) func() faultyTransport {
		return func() faultyTransport {
			return faultyTransport{vote: func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
				return after(resp, t.RequestVote("", target, req, resp))
			}}
		}
	}
	installs := func(install func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error) func() faultyTransport {
		return func() faultyTransport { return faultyTransport{install: install} }
	}
	pipes := func(wrap func(raft.AppendPipeline) raft.AppendPipeline) func() faultyTransport {
		return func() faultyTransport { return faultyTransport{pipeline: wrap} }
	}

	add("addresses are shortened", func() faultyTransport {
		return faultyTransport{decode: func(a raft.ServerAddress) raft.ServerAddress { return a[:8] }}
	}, map[string]string{"Addresses": "is encoded and decoded to"})
	var calls atomic.Int64
	add("the address changes", func() faultyTransport {
		return faultyTransport{addr: func(t *raft.InmemTransport) raft.ServerAddress {
			return t.LocalAddr() + raft.ServerAddress(rune('a'+calls.Add(1)%2))
		}}
	}, map[string]string{"Addresses": "LocalAddr of transport 0"})
	add("PrevLogTerm is lost", appends(func(r *raft.AppendEntriesRequest) { r.PrevLogTerm = 0 }), map[string]string{"EveryField": "PrevLogTerm is 0"})
	add("the header is lost", appends(func(r *raft.AppendEntriesRequest) { r.RPCHeader = raft.RPCHeader{} }), map[string]string{"EveryField": "Addr is"})
	add("the sender's entries are lost behind the 500th", appends(func(r *raft.AppendEntriesRequest) { r.Entries = r.Entries[:min(len(r.Entries), 500)] }), map[string]string{"LargeEntries": "500 Entries, want 1000"})
	add("an entry's extensions are lost", appends(func(r *raft.AppendEntriesRequest) {
		for i, e := range r.Entries {
			bare := *e
			bare.Extensions = nil
			r.Entries = append(append(r.Entries[:i:i], &bare), r.Entries[i+1:]...)
		}
	}), map[string]string{"EveryField": "Extensions is"})
	add("a vote is always granted", votes(func(resp *raft.RequestVoteResponse, err error) error {
		resp.Granted = true
		return err
	}), map[string]string{"LateAnswer": "got the answer to another one"})
	add("a response keeps what was in it", func() faultyTransport {
		return faultyTransport{vote: func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
			var got raft.RequestVoteResponse
			err := t.RequestVote("", target, req, &got)
			if peers := resp.Peers; len(got.Peers) == 0 {
				got.Peers = peers
			}
			*resp = got
			return err
		}}
	}, map[string]string{"Snapshot": "Peers is"})
	add("errors have no text", votes(func(_ *raft.RequestVoteResponse, err error) error {
		if err != nil {
			return errFault
		}
		return nil
	}), map[string]string{"HandlersError": "but the sender gets no, thanks"})
	add("a refusal breaks what follows it", func() faultyTransport {
		var refused atomic.Bool
		return faultyTransport{vote: func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
			if refused.Load() {
				return errFault
			}
			err := t.RequestVote("", target, req, resp)
			refused.Store(err != nil)
			return err
		}}
	}, map[string]string{"HandlersError": "after a refused one: no, thanks"})
	add("errors are lost", votes(func(*raft.RequestVoteResponse, error) error { return nil }), map[string]string{
		"HandlersError": "but the sender gets <nil>", "SilentPeer": "returns no error", "UnknownPeer": "returns no error",
		"ClosedPeer": "returns no error", "Close": "returns no error", "LateAnswer": "not answered returns no error"})
	add("the receiver shares the sender's request", nil, map[string]string{"RequestIsTheReceivers": "has changed: Term is 99"}).suite =
		delivering(func(request any, answer chan raft.RPCResponse) raft.RPC {
			return raft.RPC{Command: request, RespChan: answer}
		})
	add("a request has a Reader without a snapshot", nil, map[string]string{"RequestIsTheReceivers": "came with Reader"}).suite =
		delivering(func(request any, answer chan raft.RPCResponse) raft.RPC {
			return raft.RPC{Command: request, RespChan: answer, Reader: failingReader{}}
		})
	add("there is no room for an answer", nil, map[string]string{"RequestIsTheReceivers": "has no room for an answer"}).suite =
		delivering(func(request any, answer chan raft.RPCResponse) raft.RPC {
			narrow := make(chan raft.RPCResponse)
			go func() { answer <- <-narrow }()
			return raft.RPC{Command: request, RespChan: narrow}
		})
	add("two calls at once swap their answers", func() faultyTransport {
		var mu sync.Mutex
		var last uint64
		return faultyTransport{append: func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
			err := t.AppendEntries("", target, req, resp)
			mu.Lock()
			defer mu.Unlock()
			resp.Term, last = last, resp.Term
			return err
		}}
	}, map[string]string{"ConcurrentCalls": "got answer"})
	add("heartbeats are lost while there is a handler", func() faultyTransport {
		return faultyTransport{heartbeat: func(t *raft.InmemTransport, cb func(raft.RPC)) {
			if cb == nil {
				t.SetHeartbeatHandler(nil)
				return
			}
			t.SetHeartbeatHandler(func(rpc raft.RPC) { rpc.Respond(&raft.AppendEntriesResponse{}, nil) })
		}}
	}, map[string]string{"Heartbeats": "heartbeat 1 got answer 0"})
	add("a heartbeat handler stays", func() faultyTransport {
		return faultyTransport{heartbeat: func(t *raft.InmemTransport, cb func(raft.RPC)) {
			if cb != nil {
				t.SetHeartbeatHandler(cb)
			}
		}}
	}, map[string]string{"Heartbeats": "a handler that was removed was called"})
	add("a snapshot is cut at 1 MiB", installs(func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
		sent := *req
		sent.Size = min(sent.Size, 1<<20)
		return t.InstallSnapshot("", target, &sent, resp, io.LimitReader(data, sent.Size))
	}), map[string]string{"Snapshot": "1048576 bytes followed, not the 4194304"})
	add("a short snapshot is filled up", installs(func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
		b, _ := io.ReadAll(data)
		b = append(b, make([]byte, int(req.Size)-len(b))...)
		return t.InstallSnapshot("", target, req, resp, bytes.NewReader(b))
	}), map[string]string{"BrokenSnapshot": "was sent without an error"})
	add("a refusal of a snapshot is lost", installs(func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
		_ = t.InstallSnapshot("", target, req, resp, data)
		return nil
	}), map[string]string{"UnreadSnapshot": "but the sender gets no error", "BrokenSnapshot": "was sent without an error"})
	addHang("a refused snapshot must be read", func(released <-chan struct{}) faultyTransport {
		return faultyTransport{install: func(t *raft.InmemTransport, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
			r, w := io.Pipe()
			done := make(chan error, 1)
			go func() { done <- t.InstallSnapshot("", target, req, resp, r) }()
			go func() {
				<-released
				r.Close()
			}()
			if _, err := io.Copy(w, data); err != nil {
				return err
			}
			w.Close()
			return <-done
		}}
	}, map[string]string{"UnreadSnapshot": "a call has not returned"})
	addHang("a call waits for ever", func(released <-chan struct{}) faultyTransport {
		return faultyTransport{vote: func(*raft.InmemTransport, raft.ServerAddress, *raft.RequestVoteRequest, *raft.RequestVoteResponse) error {
			<-released
			return errFault
		}}
	}, map[string]string{"SilentPeer": "a call has not returned", "UnknownPeer": "a call has not returned"})
	addHang("Close leaves calls alone", func(<-chan struct{}) faultyTransport {
		return faultyTransport{close: func(*raft.InmemTransport) error { return nil }}
	}, map[string]string{"Close": "a call has not returned"})
	addHang("closing a pipeline does nothing", func(<-chan struct{}) faultyTransport {
		return faultyTransport{pipeline: func(pipe raft.AppendPipeline) raft.AppendPipeline {
			return &faultyPipeline{AppendPipeline: pipe, close: func(raft.AppendPipeline) error { return nil }}
		}}
	}, map[string]string{"PipelineClose": "a call has not returned"})
	add("a second Close fails", func() faultyTransport {
		var closed atomic.Bool
		return faultyTransport{close: func(t *raft.InmemTransport) error {
			if closed.Swap(true) {
				return errFault
			}
			return t.Close()
		}}
	}, map[string]string{"Close": "a second Close: no, thanks"})
	add("a pipeline's futures are out of order", pipes(futures(2, func(f []raft.AppendFuture) { f[0], f[1] = f[1], f[0] })),
		map[string]string{"PipelineOrder": "future 1 of a pipeline has the answer"})
	add("a pipeline's futures have other requests", pipes(futures(1, func(f []raft.AppendFuture) {
		f[0] = &faultyFuture{AppendFuture: f[0], request: &raft.AppendEntriesRequest{}}
	})), map[string]string{"PipelineOrder": "has another request"})
	add("a pipeline's futures don't know when they were sent", pipes(futures(1, func(f []raft.AppendFuture) {
		f[0] = &faultyFuture{AppendFuture: f[0], start: new(time.Time)}
	})), map[string]string{"PipelineOrder": "after the pipeline was opened"})
	add("a pipeline's refusals are lost", pipes(futures(1, func(f []raft.AppendFuture) { f[0] = &faultyFuture{AppendFuture: f[0], silent: true} })),
		map[string]string{"PipelineRefusal": "but its future has the error <nil>"})
	add("a refused response is not zero", pipes(futures(1, func(f []raft.AppendFuture) {
		if f[0].Error() != nil {
			f[0] = &faultyFuture{AppendFuture: f[0], response: &raft.AppendEntriesResponse{Success: true}}
		}
	})), map[string]string{"PipelineRefusal": "Success is true"})
	add("a pipeline takes everything", pipes(func(pipe raft.AppendPipeline) raft.AppendPipeline {
		return &faultyPipeline{AppendPipeline: pipe, append: func(raft.AppendPipeline, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
			return nil, nil
		}}
	}), map[string]string{"PipelineOfSilentPeer": "took 5000 requests"})
	add("a closed pipeline's requests have no error", pipes(func(pipe raft.AppendPipeline) raft.AppendPipeline {
		return &faultyPipeline{AppendPipeline: pipe, append: func(p raft.AppendPipeline, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
			f, err := p.AppendEntries(req, resp)
			if err != nil {
				return nil, err
			}
			return &faultyFuture{AppendFuture: f, silent: true}, nil
		}}
	}), map[string]string{"PipelineClose": "has no error when its pipeline is closed", "Close": "has no error when the transport is closed"})
	add("open fails", nil, map[string]string{"EveryField": "open 2 transports: no, thanks"}).suite =
		transportSuite(func(int, time.Duration) ([]raft.Transport, error) { return nil, errFault })
	add("open returns too few", nil, map[string]string{"EveryField": "open returned 1 transports"}).suite =
		transportSuite(func(_ int, timeout time.Duration) ([]raft.Transport, error) { return openInmem(1, timeout) })
	testFaults(t, faults)
}
