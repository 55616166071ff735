package rafttest

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// This file is the messages that CheckTransport sends: made and compared by
// reflection, so that a field that is added later is covered too.

// exchange is a request with the answer that it gets. Data follows an
// InstallSnapshotRequest.
type exchange struct {
	request, response any
	data              []byte
}

// exchanges returns two of each kind, and a heartbeat.
func exchanges() []exchange {
	var all []exchange
	for _, seed := range []uint64{1 << 40, math.MaxUint64 - 100} {
		all = append(all,
			exchange{request: fullAppendEntries(seed), response: fullAppendResponse(seed)},
			exchange{request: fill(new(raft.RequestVoteRequest), seed), response: fill(new(raft.RequestVoteResponse), seed)},
			exchange{request: fill(new(raft.RequestPreVoteRequest), seed), response: fill(new(raft.RequestPreVoteResponse), seed)},
			exchange{request: fill(new(raft.TimeoutNowRequest), seed), response: fill(new(raft.TimeoutNowResponse), seed)},
		)
		install := snapshotExchange(pattern(100_000, 1))
		install.request = fill(install.request.(*raft.InstallSnapshotRequest), seed)
		install.request.(*raft.InstallSnapshotRequest).Size = int64(len(install.data))
		all = append(all, install)
	}
	return append(all, exchange{request: heartbeat(5), response: &raft.AppendEntriesResponse{Term: 5, Success: true}})
}

// fullAppendEntries is a request that is no heartbeat, with every field set.
func fullAppendEntries(term uint64) *raft.AppendEntriesRequest {
	req := fill(new(raft.AppendEntriesRequest), 1<<40)
	req.Term = term
	req.Entries = append(logEntries(11, 13, 7), &raft.Log{Index: 14, Term: 7})
	return req
}

func fullAppendResponse(seed uint64) *raft.AppendEntriesResponse {
	return fill(new(raft.AppendEntriesResponse), seed)
}

func fullRequestVote() *raft.RequestVoteRequest {
	return fill(new(raft.RequestVoteRequest), 1<<40)
}

// heartbeat is a request as leaders send it between entries.
func heartbeat(term uint64) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("id"), Addr: []byte("addr")},
		Term:      term,
		Leader:    []byte("addr"),
	}
}

func snapshotExchange(data []byte) exchange {
	return exchange{
		request:  &raft.InstallSnapshotRequest{SnapshotVersion: 1, Term: 5, LastLogIndex: 7, Size: int64(len(data))},
		response: &raft.InstallSnapshotResponse{Term: 5, Success: true},
		data:     data,
	}
}

// fill sets every field of a message but the entries to a value of its own.
func fill[M any](message *M, seed uint64) *M {
	fillValue(reflect.ValueOf(message).Elem(), &seed)
	return message
}

func fillValue(v reflect.Value, seed *uint64) {
	*seed++
	switch v.Interface().(type) {
	case raft.ProtocolVersion:
		v.SetInt(3)
	case raft.SnapshotVersion:
		v.SetInt(1)
	case int64, time.Duration:
		v.SetInt(int64(*seed >> 1))
	case uint64:
		v.SetUint(*seed)
	case bool:
		v.SetBool(true)
	case []byte:
		v.SetBytes(fmt.Appendf(nil, "\x00bytes\xff %d", *seed))
	default:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && f.Type() != reflect.TypeFor[[]*raft.Log]() {
				fillValue(f, seed)
			}
		}
	}
}

// zeroResponse returns an empty response to a request.
func zeroResponse(request any) any {
	switch request.(type) {
	case *raft.AppendEntriesRequest:
		return new(raft.AppendEntriesResponse)
	case *raft.RequestVoteRequest:
		return new(raft.RequestVoteResponse)
	case *raft.RequestPreVoteRequest:
		return new(raft.RequestPreVoteResponse)
	case *raft.InstallSnapshotRequest:
		return new(raft.InstallSnapshotResponse)
	default:
		return new(raft.TimeoutNowResponse)
	}
}

// junkResponse returns a response to a request, full of what must not stay.
func junkResponse(request any) any {
	resp := zeroResponse(request)
	seed := uint64(77)
	fillValue(reflect.ValueOf(resp).Elem(), &seed)
	return resp
}

// diffMessage says how a message differs from the one wanted, "" if it does not.
// Nil and empty are the same.
func diffMessage(got, want any) string {
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	if got == nil || g.Type() != w.Type() || g.IsNil() {
		return fmt.Sprintf("it is %v, a %T, want a %T", got, got, want)
	}
	return strings.Join(diffFields("", g.Elem(), w.Elem()), "; ")
}

func diffFields(name string, got, want reflect.Value) (diffs []string) {
	switch w := want.Interface().(type) {
	case []*raft.Log:
		return diffEntries(got.Interface().([]*raft.Log), w)
	case []byte:
		if g := got.Bytes(); !bytes.Equal(g, w) {
			diffs = append(diffs, fmt.Sprintf("%s is %s, want %s", name, shorten(g), shorten(w)))
		}
		return diffs
	}
	if want.Kind() != reflect.Struct {
		if got.Interface() != want.Interface() {
			diffs = append(diffs, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
		return diffs
	}
	for i := range want.NumField() {
		if f := want.Type().Field(i); f.IsExported() {
			diffs = append(diffs, diffFields(f.Name, got.Field(i), want.Field(i))...)
		}
	}
	return diffs
}

func diffEntries(got, want []*raft.Log) (diffs []string) {
	if len(got) != len(want) {
		return []string{fmt.Sprintf("%d Entries, want %d", len(got), len(want))}
	}
	for i := range want {
		switch {
		case got[i] == nil:
			diffs = append(diffs, fmt.Sprintf("entry %d of Entries is nil", i))
		default:
			if diff := diffLog(got[i], want[i]); diff != "" {
				diffs = append(diffs, fmt.Sprintf("entry %d of Entries: %s", i, diff))
			}
		}
	}
	return diffs
}

// responder answers requests with what it was set to, and keeps what it has seen.
type responder struct {
	mu   sync.Mutex
	next exchange
	got  any
	data []byte
}

// set says what the next request is answered with.
func (r *responder) set(e exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next, r.got, r.data = e, nil, nil
}

func (r *responder) respond(rpc raft.RPC) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = rpc.Command
	var err error
	if rpc.Reader != nil {
		r.data, err = io.ReadAll(rpc.Reader)
	}
	rpc.Respond(r.next.response, err)
}

// received returns the last request, and what followed it.
func (r *responder) received() (request any, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got, r.data
}
