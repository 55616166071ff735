package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/interop/node/control"
)

// enqueueTimeout bounds how long a call waits to be taken by the leader.
const enqueueTimeout = 3 * time.Second

// handler is the control interface.
func (n *node) handler() http.Handler {
	mux := http.NewServeMux()
	post := func(path string, f func(*http.Request) control.Result) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { reply(w, f(r)) })
	}
	post(control.Apply, n.apply)
	post(control.Barrier, func(*http.Request) control.Result { return n.result(n.raft.Barrier(enqueueTimeout)) })
	post(control.Verify, func(*http.Request) control.Result { return n.result(n.raft.VerifyLeader()) })
	post(control.Member, n.member)
	post(control.Transfer, n.transfer)
	post(control.Snapshot, func(*http.Request) control.Result { return n.result(n.raft.Snapshot()) })
	post(control.Restore, func(*http.Request) control.Result { return n.restore() })
	mux.HandleFunc("GET "+control.GetState, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.status()) })
	mux.HandleFunc("GET "+control.GetLog, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.log()) })
	mux.HandleFunc("GET "+control.Applied, func(w http.ResponseWriter, _ *http.Request) { reply(w, n.machine.applied()) })
	return mux
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// result waits for a future.
func (n *node) result(f raft.Future) control.Result {
	if err := f.Error(); err != nil {
		return control.Result{Outcome: outcome(err), Error: err.Error()}
	}
	return control.Result{Outcome: control.Acked, Term: n.term()}
}

// outcome is what the documentation of the API promises of an error.
func outcome(err error) control.Outcome {
	for _, refusal := range []error{raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout} {
		if errors.Is(err, refusal) {
			return control.Refused
		}
	}
	return control.Unknown
}

func (n *node) apply(r *http.Request) control.Result {
	cmd, err := io.ReadAll(r.Body)
	if err != nil {
		return control.Result{Outcome: control.Refused, Error: err.Error()}
	}
	f := n.raft.Apply(cmd, enqueueTimeout)
	if err := f.Error(); err != nil {
		return control.Result{Outcome: outcome(err), Error: err.Error()}
	}
	rec, ok := f.Response().(control.Record)
	if !ok || rec.Index != f.Index() {
		return control.Result{Outcome: control.Acked, Index: f.Index(),
			Error: fmt.Sprintf("success with response %v", f.Response())}
	}
	return control.Result{Outcome: control.Acked, Index: rec.Index, Term: rec.Term}
}

func (n *node) member(r *http.Request) control.Result {
	id, addr := raft.ServerID(r.FormValue("id")), raft.ServerAddress(r.FormValue("addr"))
	switch op := r.FormValue("op"); op {
	case "voter":
		return n.result(n.raft.AddVoter(id, addr, 0, enqueueTimeout))
	case "nonvoter":
		return n.result(n.raft.AddNonvoter(id, addr, 0, enqueueTimeout))
	case "demote":
		return n.result(n.raft.DemoteVoter(id, 0, enqueueTimeout))
	case "remove":
		return n.result(n.raft.RemoveServer(id, 0, enqueueTimeout))
	default:
		return control.Result{Outcome: control.Refused, Error: "unknown op " + op}
	}
}

func (n *node) transfer(r *http.Request) control.Result {
	if id := r.FormValue("id"); id != "" {
		return n.result(n.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(r.FormValue("addr"))))
	}
	return n.result(n.raft.LeadershipTransfer())
}

// restoreTimeout bounds how long a restore waits to be taken and to be committed.
const restoreTimeout = 8 * time.Second

// restore takes a snapshot and restores it, as a user does that comes with one.
func (n *node) restore() control.Result {
	taken := n.raft.Snapshot()
	if res := n.result(taken); res.Outcome != control.Acked {
		return res
	}
	meta, rc, err := taken.Open()
	if err != nil {
		return control.Result{Outcome: control.Unknown, Error: err.Error()}
	}
	defer rc.Close()
	if err := n.raft.Restore(meta, rc, restoreTimeout); err != nil {
		return control.Result{Outcome: control.Unknown, Error: err.Error()}
	}
	return control.Result{Outcome: control.Acked, Term: n.term()}
}

func (n *node) term() uint64 { return number(n.raft.Stats()["term"]) }

func number(s string) uint64 {
	v, _ := strconv.ParseUint(s, 10, 64)
	return v
}

// status reads state and term as of one instant: the state that was seen between
// two readings of the same term is that term's.
func (n *node) status() control.Status {
	var st control.Status
	for term, same := n.term(), false; !same; {
		stats := n.raft.Stats() // reads the state first, then the term
		st.State, st.Term = stats["state"], number(stats["term"])
		same, term = st.Term == term, st.Term
	}
	st.ID = string(n.id)
	_, leader := n.raft.LeaderWithID()
	st.Leader = string(leader)
	st.Commit = n.raft.CommitIndex()
	st.First, _ = n.store.FirstIndex()
	st.Last = n.raft.LastIndex()
	st.Snapshot = number(n.raft.Stats()["last_snapshot_index"])
	n.machine.describe(&st)
	if f := n.raft.GetConfiguration(); f.Error() == nil {
		for _, s := range f.Configuration().Servers {
			st.Servers = append(st.Servers, control.Server{
				ID: string(s.ID), Addr: string(s.Address), Suffrage: s.Suffrage.String()})
		}
	}
	return st
}

// log dumps the log store. What is compacted meanwhile is left out.
func (n *node) log() []control.Entry {
	first, _ := n.store.FirstIndex()
	last, _ := n.store.LastIndex()
	var entries []control.Entry
	for i := first; i > 0 && i <= last; i++ {
		var l raft.Log
		if err := n.store.GetLog(i, &l); err != nil {
			continue
		}
		e := control.Entry{Index: l.Index, Term: l.Term, Type: uint8(l.Type), Sum: sum(l.Data, l.Extensions)}
		if !l.AppendedAt.IsZero() {
			e.Appended = l.AppendedAt.UnixNano()
		}
		entries = append(entries, e)
	}
	return entries
}
