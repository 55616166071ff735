package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// memorySink is a raft.SnapshotSink that fails after room bytes.
type memorySink struct {
	bytes.Buffer
	room     int
	closed   bool
	canceled bool
}

var errNoRoom = errors.New("no room")

func (s *memorySink) Write(b []byte) (int, error) {
	if s.Len()+len(b) > s.room {
		return 0, errNoRoom
	}
	return s.Buffer.Write(b)
}

func (s *memorySink) ID() string    { return "memory" }
func (s *memorySink) Close() error  { s.closed = true; return nil }
func (s *memorySink) Cancel() error { s.canceled = true; return nil }

func takeSnapshot(t testing.TB, f *fsm) []byte {
	t.Helper()
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	sink := &memorySink{room: 1 << 30}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	if !sink.closed {
		t.Error("the sink was not closed")
	}
	return sink.Bytes()
}

func restoreTo(f *fsm, b []byte) error { return f.Restore(io.NopCloser(bytes.NewReader(b))) }

func copyBySnapshot(t *testing.T, f *fsm) *fsm {
	t.Helper()
	c := newFSM()
	if err := restoreTo(c, takeSnapshot(t, f)); err != nil {
		t.Fatal(err)
	}
	return c
}

func put(f *fsm, index uint64, key string, value []byte) {
	f.Apply(&raft.Log{Index: index, Data: command{op: opPut, key: key, value: value}.encode()})
}

func TestSnapshotRoundTrip(t *testing.T) {
	f := newFSM()
	f.ApplyBatch(randomLog(3, 500))
	put(f, 501, "empty", nil)
	put(f, 502, "large", bytes.Repeat([]byte("0123456789"), 300_000))
	c := copyBySnapshot(t, f)
	got, want := c.summary(), f.summary()
	want.restores = 1
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for _, key := range []string{"empty", "large"} {
		was, _, _ := f.get(key)
		is, found, _ := c.get(key)
		if !found || !bytes.Equal(is.value, was.value) {
			t.Errorf("%s: found %v, %d bytes, want %d", key, found, len(is.value), len(was.value))
		}
	}
}

// What is written after Snapshot, even before Persist, isn't in it.
func TestSnapshotIsOfItsMoment(t *testing.T) {
	f := newFSM()
	f.ApplyBatch(randomLog(4, 500))
	want := f.summary()
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		put(f, uint64(501+i), fmt.Sprint("dir/", i), []byte("later"))
		f.Apply(&raft.Log{Index: uint64(601 + i), Data: command{op: opDelete, key: fmt.Sprint("dir/", i/2)}.encode()})
	}
	f.Apply(&raft.Log{Index: 701, Data: command{op: opSetMember, key: "late", value: []byte("x")}.encode()})

	sink := &memorySink{room: 1 << 30}
	if err := snap.Persist(sink); err != nil {
		t.Fatal(err)
	}
	c := newFSM()
	if err := restoreTo(c, sink.Bytes()); err != nil {
		t.Fatal(err)
	}
	if got := c.summary(); got.hash != want.hash || got.index != want.index {
		t.Errorf("restored %v at %d, want %v at %d", got.hash, got.index, want.hash, want.index)
	}
}

// A snapshot that lost its end, or of which any one byte was changed, is refused,
// and the state stays as it was.
func TestSnapshotDamage(t *testing.T) {
	f := newFSM()
	f.ApplyBatch(randomLog(5, 60))
	good := takeSnapshot(t, f)
	victim := newFSM()
	put(victim, 1, "old", []byte("state"))
	before := victim.summary()

	try := func(what string, b []byte) {
		if err := restoreTo(victim, b); !errors.Is(err, errBadSnapshot) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	for i := range good {
		try(fmt.Sprintf("cut to %d bytes", i), good[:i])
	}
	try("one byte more", append(bytes.Clone(good), 0))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		try(fmt.Sprintf("byte %d changed", i), bad)
	}
	if after := victim.summary(); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
}

// Whatever is in a snapshot, it is refused as a bad one and leaves the state alone, or
// is a state whose own snapshot restores the same. With seal it gets the right seal,
// which no fuzzer guesses.
func FuzzSnapshot(f *testing.F) {
	for _, commands := range []int{0, 1, 20} {
		from := newFSM()
		from.ApplyBatch(randomLog(7, commands))
		good := takeSnapshot(f, from)
		f.Add(good, false)
		f.Add(good[:len(good)-sha256.Size], true)
	}
	f.Add([]byte(snapshotMagic+"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01a"), true)
	f.Add([]byte(snapshotMagic+"\x01\x02\x01a\x01b\x01a\x01c\x02\x01a\x01b\x01a\x00"), true) // everything twice
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			b = sealed(b)
		}
		victim := newFSM()
		put(victim, 1, "old", []byte("state"))
		before := victim.summary()
		err := restoreTo(victim, b)
		if err != nil {
			if after := victim.summary(); after != before || !errors.Is(err, errBadSnapshot) {
				t.Errorf("%x: %+v became %+v with error %v", b, before, after, err)
			}
			return
		}
		got, want := copyBySnapshot(t, victim).summary(), victim.summary()
		if got != want {
			t.Errorf("%x: restored %+v, its snapshot %+v", b, want, got)
		}
	})
}

// sealed appends the seal of the state that b describes.
func sealed(b []byte) []byte {
	d := &decoder{r: bufio.NewReader(bytes.NewReader(b))}
	s := d.state()
	sum := seal(s.index, s.hash())
	return append(bytes.Clone(b), sum[:]...)
}

// A length is not believed before that many bytes are there.
func TestSnapshotWithHugeLength(t *testing.T) {
	b := []byte(snapshotMagic + "\x01\x00\x01\x01a" + "\xff\xff\xff\xff\x03" + strings.Repeat("x", 1000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := restoreTo(newFSM(), b)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errBadSnapshot) {
		t.Errorf("error %v", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("allocated %d bytes for a snapshot of %d", got, len(b))
	}
}

func TestPersistCancelsOnError(t *testing.T) {
	f := newFSM()
	f.ApplyBatch(randomLog(6, 500))
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := &memorySink{room: 100}
	if err := snap.Persist(sink); !errors.Is(err, errNoRoom) {
		t.Errorf("error %v, want %v", err, errNoRoom)
	}
	if !sink.canceled || sink.closed {
		t.Errorf("canceled %v, closed %v", sink.canceled, sink.closed)
	}
}
