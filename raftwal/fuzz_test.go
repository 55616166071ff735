package raftwal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/hashicorp/raft"
)

// A segment of any content is opened or refused, without a panic and without more memory
// than a small multiple of its size, and what is opened can be read and written to.
func FuzzSegment(f *testing.F) {
	dir, ends := written(f)
	good, err := os.ReadFile(segmentName(dir, 1))
	must(f, err)
	f.Add(good[:ends[len(ends)-1]], true)
	f.Add(good[:ends[2]+5], true)
	f.Add(good[:ends[3]], false)
	f.Add([]byte(nil), false)
	h, _ := parseHeader(good)
	huge := bytes.Clone(good[:ends[0]+headSize])
	head{kind: recordEntries, length: 1 << 30, sum: 1 << 31}.put(huge[ends[0]:], h.salt, ends[0])
	f.Add(huge, false)
	f.Fuzz(func(t *testing.T, content []byte, mend bool) {
		if mend { // so that inputs get past the checksums
			content = mended(content)
		}
		d := newDisk()
		d.names[segmentName(small.Dir, 1)] = newInode(content)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := openStore(small, d)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20+100*uint64(len(content)) {
			t.Errorf("%d bytes were allocated for a file of %d", n, len(content))
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("opening: %v", err)
			}
			return
		}
		first, _ := s.FirstIndex()
		last, _ := s.LastIndex()
		for i := first; i <= last && last > 0; i++ {
			if err := s.GetLog(i, new(raft.Log)); err != nil && !errors.Is(err, errBadEntry) {
				t.Fatalf("entry %d of %d to %d: %v", i, first, last, err)
			}
		}
		if err := s.StoreLog(&raft.Log{Index: last + 1}); err != nil {
			t.Errorf("storing entry %d: %v", last+1, err)
		}
	})
}

// mended puts the checksums of a segment right, as far as its records can be told apart.
func mended(b []byte) []byte {
	b = append([]byte{}, b...)
	if len(b) < headerSize {
		return b
	}
	h := header{number: 1, salt: binary.LittleEndian.Uint64(b[16:])}
	copy(b, h.append(nil))
	for at := int64(headerSize); at+headSize <= int64(len(b)); {
		r := head{
			kind: kind(b[at+4]), length: binary.LittleEndian.Uint32(b[at+8:]), sum: binary.LittleEndian.Uint32(b[at+12:]),
			index: binary.LittleEndian.Uint64(b[at+16:]), first: binary.LittleEndian.Uint64(b[at+24:]), commit: binary.LittleEndian.Uint64(b[at+32:]),
		}
		if r.size() > int64(len(b))-at {
			break
		}
		body := b[at+headSize:][:r.length]
		if r.kind == recordEntries {
			mendFrames(body, r, h.salt)
		} else {
			full := head{}
			full.seal(b[at : at+headSize+int64(r.length)])
			r.sum = full.sum
		}
		r.put(b[at:], h.salt, at)
		at += r.size()
	}
	return b
}

func mendFrames(body []byte, r head, salt uint64) {
	for i := range uint64(r.sum) {
		if len(body) < frameHead {
			return
		}
		n := uint64(binary.LittleEndian.Uint32(body))
		if n > uint64(len(body)-frameHead) {
			return
		}
		binary.LittleEndian.PutUint32(body[4:], frameSum(body[frameHead:frameHead+n], r.index+i, salt))
		body = body[frameHead+n:]
	}
}
