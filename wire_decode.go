package raft

import (
	"errors"
	"time"

	"github.com/hashicorp/raft/internal/msgpack"
)

// This file decodes the messages; it owns no state. What an older, newer or
// foreign sender may do (fields in any order, unknown or missing ones, a struct
// as an array) is accepted; what it claims allocates nothing (R17).

// The names of a struct's fields in Go's order of declaration, in which they
// stand when a struct comes as an array. The header's come first.
func fieldNames(names ...string) *msgpack.Names {
	return msgpack.NewNames(append([]string{"ProtocolVersion", "ID", "Addr"}, names...)...)
}

var (
	appendEntriesRequestFields    = fieldNames("Term", "Leader", "PrevLogEntry", "PrevLogTerm", "Entries", "LeaderCommitIndex", "Lease")
	appendEntriesResponseFields   = fieldNames("Term", "LastLog", "Success", "NoRetryBackoff", "Lease")
	requestVoteRequestFields      = fieldNames("Term", "Candidate", "LastLogIndex", "LastLogTerm", "LeadershipTransfer")
	requestVoteResponseFields     = fieldNames("Term", "Peers", "Granted")
	requestPreVoteRequestFields   = fieldNames("Term", "LastLogIndex", "LastLogTerm")
	requestPreVoteResponseFields  = fieldNames("Term", "Granted")
	installSnapshotRequestFields  = fieldNames("SnapshotVersion", "Term", "Leader", "LastLogIndex", "LastLogTerm", "Peers", "Configuration", "ConfigurationIndex", "Size")
	installSnapshotResponseFields = fieldNames("Term", "Success")
	headerFields                  = fieldNames()

	logFields = msgpack.NewNames("Index", "Term", "Type", "Data", "Extensions", "AppendedAt")
)

// maxRequestEntries is how many entries a request may have. Senders stay far
// below: hashicorp/raft at 1024, this library at what fits in a request's bytes.
// An entry needs much more memory than an empty one takes on the wire, so
// without a bound a stream of them would be a cheap way to exhaust it.
const maxRequestEntries = 1 << 16

// A request gets room for so many of the entries that it claims to have, and for
// pointers to so many, before they have arrived.
const (
	preallocatedEntries  = 64
	preallocatedPointers = 1024
)

var errTooManyEntries = errors.New("too many entries in one request")

// decodeField reads the value of a field of the header.
func (h *RPCHeader) decodeField(d *msgpack.Stream, name string) {
	switch name {
	case "ProtocolVersion":
		h.ProtocolVersion = ProtocolVersion(d.Int())
	case "ID":
		h.ID = d.Bytes()
	case "Addr":
		h.Addr = d.Bytes()
	}
}

func (r *AppendEntriesRequest) decode(d *msgpack.Stream) {
	f := d.Struct(appendEntriesRequestFields)
	if f.Nil {
		*r = AppendEntriesRequest{}
	}
	r.Lease = false // left out if it is
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "Leader":
			r.Leader = d.Bytes()
		case "PrevLogEntry":
			r.PrevLogEntry = d.Uint()
		case "PrevLogTerm":
			r.PrevLogTerm = d.Uint()
		case "Entries":
			r.Entries = decodeLogs(d)
		case "LeaderCommitIndex":
			r.LeaderCommitIndex = d.Uint()
		case "Lease":
			r.Lease = d.Bool()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func decodeLogs(d *msgpack.Stream) []*Log {
	n, isNil := d.Array()
	if isNil {
		return nil
	}
	if n > maxRequestEntries {
		d.Fail(errTooManyEntries)
		return nil
	}
	entries := make([]*Log, 0, min(n, preallocatedPointers))
	var room []Log // entries are allocated some at a time
	for ; n > 0 && d.Err() == nil; n-- {
		if len(room) == 0 {
			room = make([]Log, min(n, preallocatedEntries))
		}
		if !decodeLog(d, &room[0], int(n)) {
			entries = append(entries, nil)
			continue
		}
		entries = append(entries, &room[0])
		room = room[1:]
	}
	return entries
}

// decodeLog reads one of the entries that are left, and reports whether it is not nil. A
// nil one is for the core to refuse.
func decodeLog(d *msgpack.Stream, e *Log, left int) bool {
	f := d.Struct(logFields)
	if f.Nil {
		return false
	}
	for f.Next() {
		switch f.Name {
		case "Index":
			e.Index = d.Uint()
		case "Term":
			e.Term = d.Uint()
		case "Type":
			e.Type = LogType(d.Uint8())
		case "Data":
			e.Data = d.ShortBytes(left)
		case "Extensions":
			e.Extensions = d.ShortBytes(left)
		case "AppendedAt":
			e.AppendedAt = d.Time()
		}
	}
	return true
}

func (r *AppendEntriesResponse) decode(d *msgpack.Stream) {
	f := d.Struct(appendEntriesResponseFields)
	if f.Nil {
		*r = AppendEntriesResponse{}
	}
	r.Lease = 0 // left out if it is
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "LastLog":
			r.LastLog = d.Uint()
		case "Success":
			r.Success = d.Bool()
		case "NoRetryBackoff":
			r.NoRetryBackoff = d.Bool()
		case "Lease":
			r.Lease = time.Duration(d.Int())
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *RequestVoteRequest) decode(d *msgpack.Stream) {
	f := d.Struct(requestVoteRequestFields)
	if f.Nil {
		*r = RequestVoteRequest{}
	}
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "Candidate":
			r.Candidate = d.Bytes()
		case "LastLogIndex":
			r.LastLogIndex = d.Uint()
		case "LastLogTerm":
			r.LastLogTerm = d.Uint()
		case "LeadershipTransfer":
			r.LeadershipTransfer = d.Bool()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *RequestVoteResponse) decode(d *msgpack.Stream) {
	f := d.Struct(requestVoteResponseFields)
	if f.Nil {
		*r = RequestVoteResponse{}
	}
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "Peers":
			r.Peers = d.Bytes()
		case "Granted":
			r.Granted = d.Bool()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *RequestPreVoteRequest) decode(d *msgpack.Stream) {
	f := d.Struct(requestPreVoteRequestFields)
	if f.Nil {
		*r = RequestPreVoteRequest{}
	}
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "LastLogIndex":
			r.LastLogIndex = d.Uint()
		case "LastLogTerm":
			r.LastLogTerm = d.Uint()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *RequestPreVoteResponse) decode(d *msgpack.Stream) {
	f := d.Struct(requestPreVoteResponseFields)
	if f.Nil {
		*r = RequestPreVoteResponse{}
	}
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "Granted":
			r.Granted = d.Bool()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *InstallSnapshotRequest) decode(d *msgpack.Stream) {
	f := d.Struct(installSnapshotRequestFields)
	if f.Nil {
		*r = InstallSnapshotRequest{}
	}
	for f.Next() {
		switch f.Name {
		case "SnapshotVersion":
			r.SnapshotVersion = SnapshotVersion(d.Int())
		case "Term":
			r.Term = d.Uint()
		case "Leader":
			r.Leader = d.Bytes()
		case "LastLogIndex":
			r.LastLogIndex = d.Uint()
		case "LastLogTerm":
			r.LastLogTerm = d.Uint()
		case "Peers":
			r.Peers = d.Bytes()
		case "Configuration":
			r.Configuration = d.Bytes()
		case "ConfigurationIndex":
			r.ConfigurationIndex = d.Uint()
		case "Size":
			r.Size = d.Int64()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *InstallSnapshotResponse) decode(d *msgpack.Stream) {
	f := d.Struct(installSnapshotResponseFields)
	if f.Nil {
		*r = InstallSnapshotResponse{}
	}
	for f.Next() {
		switch f.Name {
		case "Term":
			r.Term = d.Uint()
		case "Success":
			r.Success = d.Bool()
		default:
			r.decodeField(d, f.Name)
		}
	}
}

func (r *TimeoutNowRequest) decode(d *msgpack.Stream) {
	if decodeHeaderOnly(d, &r.RPCHeader) {
		*r = TimeoutNowRequest{}
	}
}

func (r *TimeoutNowResponse) decode(d *msgpack.Stream) {
	if decodeHeaderOnly(d, &r.RPCHeader) {
		*r = TimeoutNowResponse{}
	}
}

// decodeHeaderOnly reads a struct that has nothing but the header, and reports
// whether there was nil in its place.
func decodeHeaderOnly(d *msgpack.Stream, h *RPCHeader) (isNil bool) {
	f := d.Struct(headerFields)
	for f.Next() {
		h.decodeField(d, f.Name)
	}
	return f.Nil
}
