package raft

import "sync/atomic"

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

// encodeEntries makes the encodings of entries that are missing, in one piece of memory.
// Two lanes may race to make them; the bytes are the same.
func encodeEntries(entries []*Log, wires []*entryWire, newTimeFormat bool) {
	missing, size := 0, 0
	for i, w := range wires {
		if w.encoded.Load() == nil {
			missing++
			size += logSize(entries[i]) + encodingOverhead
		}
	}
	if missing == 0 {
		return
	}
	buf, made := make([]byte, 0, size), make([][]byte, 0, missing)
	for i, w := range wires {
		if w.encoded.Load() != nil || len(made) == cap(made) {
			continue
		}
		at := len(buf)
		buf = appendLog(buf, entries[i], newTimeFormat)
		made = append(made, buf[at:len(buf):len(buf)])
		w.encoded.Store(&made[len(made)-1])
	}
}

// encodingOverhead is what an encoding takes beyond logSize at most: the names of the
// fields, and numbers and times at their longest.
const encodingOverhead = 64
