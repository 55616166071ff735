package raft

import (
	"bufio"

	"github.com/hashicorp/raft/internal/msgpack"
)

// This file encodes the messages; it owns no state. Every struct is a map with
// all of its fields, in ascending byte order of their names, always: a receiver
// of hashicorp/raft would keep the last answer's value of a field left out. Only what
// hashicorp/raft does not have (Lease) is left out when it is zero.

func appendBytesField(b []byte, name string, v []byte) []byte {
	return msgpack.AppendBytes(msgpack.AppendString(b, name), v)
}

func appendUintField(b []byte, name string, v uint64) []byte {
	return msgpack.AppendUint(msgpack.AppendString(b, name), v)
}

func appendIntField(b []byte, name string, v int64) []byte {
	return msgpack.AppendInt(msgpack.AppendString(b, name), v)
}

func appendBoolField(b []byte, name string, v bool) []byte {
	return msgpack.AppendBool(msgpack.AppendString(b, name), v)
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeAppendEntries writes an AppendEntriesRequest like writeRequest. The
// entries go straight to w, from their common encoding if they have one.
func writeAppendEntries(w *bufio.Writer, r *AppendEntriesRequest, newTimeFormat bool) {
	b := append(w.AvailableBuffer(), byte(rpcAppendEntries))
	b = msgpack.AppendMapHeader(b, 9+oneIf(r.Lease))
	b = appendBytesField(b, "Addr", r.Addr)
	b = msgpack.AppendString(b, "Entries")
	if r.Entries == nil {
		b = msgpack.AppendNil(b)
	} else {
		b = msgpack.AppendArrayHeader(b, len(r.Entries))
	}
	_, _ = w.Write(b)

	writeEntries(w, r, newTimeFormat)

	b = appendBytesField(w.AvailableBuffer(), "ID", r.ID)
	b = appendBytesField(b, "Leader", r.Leader)
	b = appendUintField(b, "LeaderCommitIndex", r.LeaderCommitIndex)
	if r.Lease {
		b = appendBoolField(b, "Lease", true)
	}
	b = appendUintField(b, "PrevLogEntry", r.PrevLogEntry)
	b = appendUintField(b, "PrevLogTerm", r.PrevLogTerm)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	b = appendUintField(b, "Term", r.Term)
	_, _ = w.Write(b)
}

func writeEntries(w *bufio.Writer, r *AppendEntriesRequest, newTimeFormat bool) {
	if len(r.wire.places) != len(r.Entries) {
		for _, e := range r.Entries {
			_, _ = w.Write(appendLog(w.AvailableBuffer(), e, newTimeFormat))
		}
		return
	}
	r.wire.encode(r.Entries, newTimeFormat)
	for _, e := range r.wire.places {
		_, _ = w.Write(e.bytes())
	}
}

// appendLog appends one entry.
func appendLog(b []byte, e *Log, newTimeFormat bool) []byte {
	if e == nil {
		return msgpack.AppendNil(b)
	}
	b = msgpack.AppendMapHeader(b, 6)
	b = msgpack.AppendString(b, "AppendedAt")
	if newTimeFormat {
		b = msgpack.AppendTimestamp(b, e.AppendedAt)
	} else {
		b = msgpack.AppendTime(b, e.AppendedAt)
	}
	b = appendBytesField(b, "Data", e.Data)
	b = appendBytesField(b, "Extensions", e.Extensions)
	b = appendUintField(b, "Index", e.Index)
	b = appendUintField(b, "Term", e.Term)
	return appendUintField(b, "Type", uint64(e.Type))
}

func (r *AppendEntriesResponse) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 7+oneIf(r.Lease != 0))
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBytesField(b, "ID", r.ID)
	b = appendUintField(b, "LastLog", r.LastLog)
	if r.Lease != 0 {
		b = appendIntField(b, "Lease", int64(r.Lease))
	}
	b = appendBoolField(b, "NoRetryBackoff", r.NoRetryBackoff)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	b = appendBoolField(b, "Success", r.Success)
	return appendUintField(b, "Term", r.Term)
}

func (r *RequestVoteRequest) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 8)
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBytesField(b, "Candidate", r.Candidate)
	b = appendBytesField(b, "ID", r.ID)
	b = appendUintField(b, "LastLogIndex", r.LastLogIndex)
	b = appendUintField(b, "LastLogTerm", r.LastLogTerm)
	b = appendBoolField(b, "LeadershipTransfer", r.LeadershipTransfer)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	return appendUintField(b, "Term", r.Term)
}

func (r *RequestVoteResponse) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 6)
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBoolField(b, "Granted", r.Granted)
	b = appendBytesField(b, "ID", r.ID)
	b = appendBytesField(b, "Peers", r.Peers)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	return appendUintField(b, "Term", r.Term)
}

func (r *RequestPreVoteRequest) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 6)
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBytesField(b, "ID", r.ID)
	b = appendUintField(b, "LastLogIndex", r.LastLogIndex)
	b = appendUintField(b, "LastLogTerm", r.LastLogTerm)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	return appendUintField(b, "Term", r.Term)
}

func (r *RequestPreVoteResponse) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 5)
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBoolField(b, "Granted", r.Granted)
	b = appendBytesField(b, "ID", r.ID)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	return appendUintField(b, "Term", r.Term)
}

func (r *InstallSnapshotRequest) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 12)
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBytesField(b, "Configuration", r.Configuration)
	b = appendUintField(b, "ConfigurationIndex", r.ConfigurationIndex)
	b = appendBytesField(b, "ID", r.ID)
	b = appendUintField(b, "LastLogIndex", r.LastLogIndex)
	b = appendUintField(b, "LastLogTerm", r.LastLogTerm)
	b = appendBytesField(b, "Leader", r.Leader)
	b = appendBytesField(b, "Peers", r.Peers)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	b = appendIntField(b, "Size", r.Size)
	b = appendIntField(b, "SnapshotVersion", int64(r.SnapshotVersion))
	return appendUintField(b, "Term", r.Term)
}

func (r *InstallSnapshotResponse) encode(b []byte) []byte {
	b = msgpack.AppendMapHeader(b, 5)
	b = appendBytesField(b, "Addr", r.Addr)
	b = appendBytesField(b, "ID", r.ID)
	b = appendIntField(b, "ProtocolVersion", int64(r.ProtocolVersion))
	b = appendBoolField(b, "Success", r.Success)
	return appendUintField(b, "Term", r.Term)
}

func (r *TimeoutNowRequest) encode(b []byte) []byte { return appendHeaderOnly(b, &r.RPCHeader) }

func (r *TimeoutNowResponse) encode(b []byte) []byte { return appendHeaderOnly(b, &r.RPCHeader) }

func appendHeaderOnly(b []byte, h *RPCHeader) []byte {
	b = msgpack.AppendMapHeader(b, 3)
	b = appendBytesField(b, "Addr", h.Addr)
	b = appendBytesField(b, "ID", h.ID)
	return appendIntField(b, "ProtocolVersion", int64(h.ProtocolVersion))
}
