package rafttest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// This file is the entries that suites store and send: made, and compared.

// logEntry is an entry whose content follows from its index and term.
func logEntry(index, term uint64) *raft.Log {
	return &raft.Log{
		Index:      index,
		Term:       term,
		Type:       raft.LogType(index % 6),
		Data:       fmt.Appendf(nil, "%d@%d %s", index, term, strings.Repeat("x", int((index+term)%100))),
		Extensions: fmt.Appendf(nil, "%d", index^term),
		AppendedAt: time.UnixMilli(1_700_000_000_000 + int64(index%100_000)).UTC(),
	}
}

func logEntries(first, last, term uint64) []*raft.Log {
	var entries []*raft.Log
	for i := first; i <= last; i++ {
		entries = append(entries, logEntry(i, term))
	}
	return entries
}

// pattern returns bytes that differ from those of another seed.
func pattern(size int, seed uint64) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// diffLog says how an entry differs from the one wanted, "" if it does not. Nil and
// empty are the same, and a time only has to be right to a millisecond.
func diffLog(got, want *raft.Log) string {
	var diffs []string
	if got.Index != want.Index || got.Term != want.Term || got.Type != want.Type {
		diffs = append(diffs, fmt.Sprintf("is entry %d of term %d and type %v, want %d, %d, %v",
			got.Index, got.Term, got.Type, want.Index, want.Term, want.Type))
	}
	if !bytes.Equal(got.Data, want.Data) {
		diffs = append(diffs, fmt.Sprintf("Data is %s, want %s", shorten(got.Data), shorten(want.Data)))
	}
	if !bytes.Equal(got.Extensions, want.Extensions) {
		diffs = append(diffs, fmt.Sprintf("Extensions is %s, want %s", shorten(got.Extensions), shorten(want.Extensions)))
	}
	if off := got.AppendedAt.Sub(want.AppendedAt).Abs(); off >= time.Millisecond || got.AppendedAt.IsZero() != want.AppendedAt.IsZero() {
		diffs = append(diffs, fmt.Sprintf("AppendedAt is %v, want %v", got.AppendedAt, want.AppendedAt))
	}
	return strings.Join(diffs, "; ")
}

// shorten is for messages.
func shorten(b []byte) string {
	const enough = 40
	if len(b) <= enough {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q... (%d bytes)", b[:enough], len(b))
}
