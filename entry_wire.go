package raft

import (
	"sync"
	"sync/atomic"
)

// entryWire is the place for one entry's wire encoding. The first lane that
// sends the entry fills it in, the others reuse it; it lives as long as the
// entry stays in the leader's tail of recent entries.
type entryWire struct{ encoded atomic.Pointer[[]byte] }

// bytes returns the entry's encoding, nil if nobody has made it yet.
func (w *entryWire) bytes() []byte {
	if p := w.encoded.Load(); p != nil {
		return *p
	}
	return nil
}

// entryWires are the places for the encodings of a request's entries.
type entryWires struct {
	places []*entryWire
	*encoder
}

// encoder is held by who makes encodings for a log.
type encoder struct{ sync.Mutex }

// encode makes the encodings of entries that are missing, in one piece of memory. Other
// lanes that need them wait: most want just those.
func (w entryWires) encode(entries []*Log, newTimeFormat bool) {
	if missing, _ := w.missing(entries); missing == 0 {
		return
	}
	w.Lock()
	defer w.Unlock()
	missing, size := w.missing(entries)
	buf, made := make([]byte, 0, size), make([][]byte, 0, missing)
	for i, place := range w.places {
		if place.encoded.Load() != nil {
			continue
		}
		at := len(buf)
		buf = appendLog(buf, entries[i], newTimeFormat)
		made = append(made, buf[at:len(buf):len(buf)])
		place.encoded.Store(&made[len(made)-1])
	}
}

// missing counts the encodings that are missing, and estimates their size.
func (w entryWires) missing(entries []*Log) (n, size int) {
	for i, place := range w.places {
		if place.encoded.Load() == nil {
			n++
			size += len(entries[i].Data) + len(entries[i].Extensions) + encodingOverhead
		}
	}
	return n, size
}

// encodingOverhead is what an encoding takes beyond the entry's bytes, rarely more: the
// names of the fields, numbers and times.
const encodingOverhead = 80
