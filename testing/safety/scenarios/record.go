package scenarios

import (
	"sync"

	"github.com/hashicorp/raft"
)

// record is the requests that a peer has got, in order.
type record struct {
	mu   sync.Mutex
	list []any
}

func (r *record) add(req any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, req)
}

// count returns how many requests a predicate holds for.
func (r *record) count(of func(any) bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, req := range r.list {
		if of(req) {
			n++
		}
	}
	return n
}

// forget empties the record.
func (r *record) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = nil
}

// isAppend reports whether a request is an append and no heartbeat.
func isAppend(req any) bool {
	_, ok := req.(*raft.AppendEntriesRequest)
	return ok && !isHeartbeat(req)
}

// carries returns a predicate for appends with an entry for which another holds.
func carries(match func(*raft.Log) bool) func(any) bool {
	return func(req any) bool {
		a, ok := req.(*raft.AppendEntriesRequest)
		if !ok {
			return false
		}
		for _, entry := range a.Entries {
			if match(entry) {
				return true
			}
		}
		return false
	}
}

// carriesData returns a predicate for appends with an entry of this command.
func carriesData(data string) func(any) bool {
	return carries(func(entry *raft.Log) bool { return string(entry.Data) == data })
}

func isSnapshot(req any) bool { _, ok := req.(*raft.InstallSnapshotRequest); return ok }
func isHandover(req any) bool { _, ok := req.(*raft.TimeoutNowRequest); return ok }
