package raft

import "sync/atomic"

// entryWire is the place for one entry's wire encoding. The first lane that
// sends the entry fills it in, the others reuse it; it lives as long as the
// entry stays in the leader's tail of recent entries.
type entryWire struct{ encoded atomic.Pointer[[]byte] }

// bytes returns the entry's encoding, made by encode if nobody has made it
// before. Two lanes may race to make it; the bytes are the same.
func (w *entryWire) bytes(e *Log, encode func(*Log) []byte) []byte {
	if p := w.encoded.Load(); p != nil {
		return *p
	}
	b := encode(e)
	w.encoded.Store(&b)
	return b
}
