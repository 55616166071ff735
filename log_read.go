package raft

import (
	"bytes"
	"errors"
	"reflect"
)

// This file reads many entries from a log store: in ranges if it is a RangeLogStore,
// else one by one. It owns no state.

// rangesOf returns a store as one that reads ranges, if it is one.
func rangesOf(logs LogStore) (ranges RangeLogStore, ok bool) {
	ranges, ok = logs.(RangeLogStore)
	if !ok || !reflect.ValueOf(logs).Comparable() || ranges.ReadsLogsOf() != logs {
		return nil, false
	}
	return ranges, true
}

// ReadLogs calls visit with the entries first to last of any log store, as
// [RangeLogStore] says: by the store's ReadLogs if it is a RangeLogStore, else by GetLog.
// It makes the ReadLogs of a store that wraps another.
func ReadLogs(logs LogStore, first, last uint64, visit func(*Log) bool) error {
	if ranges, ok := rangesOf(logs); ok {
		return ranges.ReadLogs(first, last, visit)
	}
	return getLogs(logs, first, last, visit)
}

// getLogs is ReadLogs by means of GetLog. Each entry has memory of its own.
func getLogs(logs LogStore, first, last uint64, visit func(*Log) bool) error {
	for index := first; index <= last; index++ {
		e := new(Log)
		if err := logs.GetLog(index, e); err != nil {
			return err
		}
		if !visit(e) {
			break
		}
	}
	return nil
}

// errOutOfOrder reports a store that returned another entry than it was asked for, or
// none.
var errOutOfOrder = errors.New("the store returned another entry or none")

// readEntries reads n entries from lo on, fewer if they have maxBytes together, but one
// at least. A missing entry behind the first ends the range.
func readEntries(logs LogStore, lo uint64, n, maxBytes int) ([]*Log, error) {
	b := entryBatch{next: lo, left: n, room: maxBytes}
	var err error
	if ranges, ok := rangesOf(logs); ok {
		err = ranges.ReadLogs(lo, lo+uint64(n)-1, b.addCopy)
	} else {
		err = getLogs(logs, lo, lo+uint64(n)-1, b.add)
	}
	switch {
	case isNotFound(err) && len(b.entries) > 0:
		err = nil
	case err == nil && (b.wrong || len(b.entries) == 0):
		err = errOutOfOrder
	}
	if err != nil {
		return nil, &StoreError{"get", b.next, err}
	}
	return b.entries, nil
}

// entryBatch collects entries. Copies lie together, so that a batch takes few
// allocations, but not all in one piece: who keeps an entry keeps no more than a piece.
type entryBatch struct {
	entries []*Log
	next    uint64 // the index that comes next
	left    int    // entries that may come
	room    int    // in bytes
	wrong   bool   // another index came

	logs []Log
	data []byte
}

const (
	logsPiece = 128
	dataPiece = 32 << 10
)

// add adds an entry, and reports whether there is room for another.
func (b *entryBatch) add(e *Log) bool {
	if e.Index != b.next {
		b.wrong = true
		return false
	}
	b.entries = append(b.entries, e)
	b.next++
	b.left--
	b.room -= logSize(e)
	return b.left > 0 && b.room > 0
}

// addCopy is add for an entry of which nothing may be kept.
func (b *entryBatch) addCopy(e *Log) bool {
	if len(b.logs) == cap(b.logs) {
		b.logs = make([]Log, 0, min(b.left, logsPiece))
	}
	b.logs = append(b.logs, *e)
	c := &b.logs[len(b.logs)-1]
	c.Data, c.Extensions = b.copy(e.Data), b.copy(e.Extensions)
	return b.add(c)
}

// copy copies the bytes of an entry. Large ones get a piece of their own.
func (b *entryBatch) copy(p []byte) []byte {
	if len(p) == 0 || len(p) > dataPiece/4 {
		return bytes.Clone(p)
	}
	if len(p) > cap(b.data)-len(b.data) {
		b.data = make([]byte, 0, min(dataPiece, b.left*len(p))) // entries are often alike
	}
	at := len(b.data)
	b.data = append(b.data, p...)
	return b.data[at:len(b.data):len(b.data)]
}
