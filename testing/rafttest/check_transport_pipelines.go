package rafttest

import (
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// This file is the checks of pipelines of CheckTransport.

func (n *transportProbe) checkPipelineOrder() {
	const requests = 200
	n.open(2, longTimeout)
	n.serve(1, echo)
	pipe := n.pipeline()
	start := time.Now()
	sent := make(chan *raft.AppendEntriesRequest, requests)
	n.spawn(func() {
		defer close(sent)
		for term := range uint64(requests) {
			req := fullAppendEntries(term + 1)
			if _, err := pipe.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				n.errorf("AppendEntries %d of a pipeline: %v", term+1, err)
				return
			}
			sent <- req
		}
	})
	for term := uint64(1); term <= requests; term++ {
		req, ok := <-sent
		if !ok {
			return
		}
		f := <-pipe.Consumer()
		if err := f.Error(); err != nil || f.Response() == nil || f.Response().Term != term {
			n.fatalf("future %d of a pipeline has the answer %+v, error %v", term, f.Response(), err)
		}
		if diff := diffMessage(f.Request(), req); diff != "" {
			n.errorf("future %d of a pipeline has another request: %s", term, diff)
		}
		if f.Start().Before(start) || f.Start().After(time.Now()) {
			n.errorf("future %d of a pipeline was sent %v after the pipeline was opened", term, f.Start().Sub(start))
		}
	}
}

func (n *transportProbe) checkPipelineRefusal() {
	n.open(2, longTimeout)
	n.serve(1, func(rpc raft.RPC) {
		if rpc.Command.(*raft.AppendEntriesRequest).Term == 2 {
			rpc.Respond(nil, errors.New("refused"))
			return
		}
		echo(rpc)
	})
	pipe := n.pipeline()
	n.sendTo(pipe, 1)
	if f := <-pipe.Consumer(); f.Error() != nil || f.Response().Term != 1 {
		n.errorf("future 1 of a pipeline has the answer %+v, error %v", f.Response(), f.Error())
	}
	n.sendTo(pipe, 2)
	f := <-pipe.Consumer()
	if err := f.Error(); err == nil || !strings.Contains(err.Error(), "refused") {
		n.errorf("a request of a pipeline was refused with %q, but its future has the error %v", "refused", err)
	}
	if diff := diffMessage(f.Response(), &raft.AppendEntriesResponse{}); diff != "" {
		n.errorf("the response of a refused request is not zero: %s", diff)
	}
}

func (n *transportProbe) checkPipelineBound() {
	const tooMany = 5000
	n.open(2, shortTimeout)
	n.serve(1, func(raft.RPC) {})
	pipe := n.pipeline()
	done := n.spawn(func() {
		req := fullAppendEntries(1)
		for range tooMany {
			if _, err := pipe.AppendEntries(req, new(raft.AppendEntriesResponse)); err != nil {
				return
			}
		}
		n.errorf("a pipeline took %d requests without one answer", tooMany)
	})
	select {
	case <-done:
	case <-time.After(10 * shortTimeout):
		n.must(pipe.Close(), "Close of a pipeline")
		<-done
	}
}

func (n *transportProbe) checkPipelineClose() {
	n.open(2, longTimeout)
	arrived := make(chan struct{}, 1000)
	n.serve(1, func(raft.RPC) { arrived <- struct{}{} })
	pipe := n.pipeline()
	resp := &raft.AppendEntriesResponse{Term: 99, Success: true}
	f, err := pipe.AppendEntries(fullAppendEntries(1), resp)
	n.must(err, "AppendEntries of a pipeline")
	<-arrived
	sender := n.spawn(func() {
		for {
			if _, err := pipe.AppendEntries(fullAppendEntries(2), new(raft.AppendEntriesResponse)); err != nil {
				return
			}
		}
	})
	for range 2 {
		n.must(pipe.Close(), "Close of a pipeline")
	}
	<-sender
	if err := f.Error(); err == nil {
		n.errorf("a request that was not answered has no error when its pipeline is closed")
	}
	if diff := diffMessage(f.Response(), &raft.AppendEntriesResponse{}); diff != "" {
		n.errorf("a request that was not answered has a response that is not zero: %s", diff)
	}
}
