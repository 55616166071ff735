package raftwal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func open1(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Every field of an entry comes back, also after the store was opened again.
func TestEntries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	zone := time.FixedZone("", 3600)
	entries := []*raft.Log{
		{Index: 7, Term: 1},
		{Index: 8, Term: math.MaxUint64, Type: raft.LogConfiguration, Data: []byte("data"), Extensions: []byte("ext"), AppendedAt: time.Unix(1, 2).UTC()},
		{Index: 9, Term: 3, Type: raft.LogNoop, Extensions: []byte("e"), AppendedAt: time.Unix(1<<33, 999_999_999).In(zone)},
		{Index: 10, Term: 3, Data: bytes.Repeat([]byte{1, 2, 3}, 1<<20)},
	}
	s := open1(t, Options{Dir: dir})
	must(t, s.StoreLogs(entries[:3]))
	must(t, s.StoreLog(entries[3]))
	for range 2 {
		for _, want := range entries {
			got := raft.Log{Data: []byte("old"), Extensions: []byte("old")}
			must(t, s.GetLog(want.Index, &got))
			if !got.AppendedAt.Equal(want.AppendedAt) {
				t.Errorf("entry %d is of %v, want %v", want.Index, got.AppendedAt, want.AppendedAt)
			}
			got.AppendedAt = want.AppendedAt
			if !reflect.DeepEqual(got, *want) {
				t.Errorf("entry %+v, want %+v", got, *want)
			}
		}
		must(t, s.Close())
		s = open1(t, Options{Dir: dir})
	}
}

// Only what follows the last entry is stored, and what is deleted leaves no gap.
func TestRefusals(t *testing.T) {
	s := open1(t, Options{Dir: t.TempDir()})
	must(t, s.StoreLogs([]*raft.Log{{Index: 5, Term: 1}, {Index: 6, Term: 1}, {Index: 7, Term: 1}}))
	for _, logs := range [][]*raft.Log{{{Index: 9}}, {{Index: 7}}, {{Index: 8}, {Index: 10}}, {{Index: 0}}} {
		if err := s.StoreLogs(logs); err == nil || !strings.HasPrefix(err.Error(), "raftwal: entry") {
			t.Errorf("storing %d: %v", logs[0].Index, err)
		}
	}
	if err := s.DeleteRange(6, 6); err == nil || !strings.Contains(err.Error(), "gap") {
		t.Errorf("deleting from the middle: %v", err)
	}
	if err := s.GetLog(4, new(raft.Log)); err != raft.ErrLogNotFound {
		t.Errorf("reading below the log: %v", err)
	}
	must(t, s.Close())
	if err := s.StoreLog(&raft.Log{Index: 8}); !errors.Is(err, ErrClosed) {
		t.Errorf("storing after Close: %v", err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, Options{Dir: dir})
	if _, err := New(Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, s.Close())
	must(t, open1(t, Options{Dir: dir}).Close())
}

// Files come and go with the log, and are used again.
func TestSegments(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, Options{Dir: dir, SegmentSize: 64 << 10})
	data := make([]byte, 1000)
	for i := range uint64(1000) {
		must(t, s.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: data}))
		if i > 200 {
			must(t, s.DeleteRange(1, i-200))
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	must(t, err)
	if len(files) < 4 || len(files) > 6 {
		t.Errorf("%d files for 200 entries of 1000 bytes", len(files))
	}
	must(t, s.Close())
	s = open1(t, Options{Dir: dir, SegmentSize: 64 << 10})
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	if first != 800 || last != 1000 {
		t.Errorf("the log is %d to %d", first, last)
	}
}

// written is a store's directory with a few records, and the end of each.
func written(t testing.TB) (dir string, ends []int64) {
	dir = t.TempDir()
	s := open1(t, Options{Dir: dir, SegmentSize: 8 << 10, NoSync: true})
	must(t, s.SetAll([]raft.StableValue{{Key: []byte("k"), Bytes: []byte("v")}}))
	for i := range uint64(5) {
		must(t, s.StoreLogs([]*raft.Log{{Index: 2*i + 1, Term: 1, Data: []byte("x")}, {Index: 2*i + 2, Term: 1, Data: make([]byte, 100)}}))
		ends = append(ends, s.segments[0].end)
	}
	must(t, s.Close())
	return dir, ends
}

// A damaged byte in what was acknowledged is found, unless it is in the last record, which
// looks as if it was never finished then.
func TestDamage(t *testing.T) {
	dir, ends := written(t)
	name := segmentName(dir, 1)
	good, err := os.ReadFile(name)
	must(t, err)
	before, last := ends[len(ends)-2], ends[len(ends)-1]
	for at := range last {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		must(t, os.WriteFile(name, bad, 0o600))
		s, err := New(Options{Dir: dir, NoSync: true})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) || at >= before {
				t.Errorf("byte %d: %v", at, err)
			}
			continue
		}
		index, _ := s.LastIndex()
		if index != 10 && (at < before || index != 8) {
			t.Errorf("byte %d is damaged, and the log ends with %d", at, index)
		}
		must(t, s.Close())
	}
}

// A file that is cut anywhere within its last record is that much shorter, and one that
// is cut before is refused when another follows it.
func TestCut(t *testing.T) {
	dir, ends := written(t)
	name := segmentName(dir, 1)
	good, err := os.ReadFile(name)
	must(t, err)
	for at := ends[0]; at <= ends[4]; at++ {
		must(t, os.WriteFile(name, good[:at], 0o600))
		s, err := New(Options{Dir: dir, NoSync: true})
		must(t, err)
		want := uint64(0)
		for i, end := range ends {
			if at >= end {
				want = 2 * uint64(i+1)
			}
		}
		if index, _ := s.LastIndex(); index != want {
			t.Errorf("cut at %d: the log ends with %d, want %d", at, index, want)
		}
		must(t, s.Close())
	}
	must(t, os.WriteFile(name, good, 0o600))
	s := open1(t, Options{Dir: dir})
	must(t, s.StoreLog(&raft.Log{Index: 11}))
	must(t, s.Close())
	must(t, os.WriteFile(name, good[:ends[3]], 0o600))
	if _, err := New(Options{Dir: dir}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file that was cut is taken: %v", err)
	}
	must(t, os.Remove(name))
	if _, err := New(Options{Dir: dir}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a file is missing: %v", err)
	}
}

// A call that fails changes nothing, and the store goes on when the disk does.
func TestFullDisk(t *testing.T) {
	for seed := range uint64(60) {
		choices := rand.New(rand.NewPCG(seed, 2))
		d := newDisk()
		d.fail, d.err = 1+choices.IntN(80), syscall.ENOSPC
		s, err := openStore(small, d)
		must(t, err)
		m := model{values: map[string]string{}}
		for range 40 {
			after, err := act(s, m, choices)
			switch {
			case err == nil:
				m = after
			case !errors.Is(err, syscall.ENOSPC):
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := m.matches(s); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		must(t, s.Close())
		m.back = nil
		s, err = openStore(small, d)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := m.matches(s); err != nil {
			t.Fatalf("seed %d: reopened: %v", seed, err)
		}
	}
}

func TestStable(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, Options{Dir: dir})
	if _, err := s.Get([]byte("k")); err != ErrKeyNotFound {
		t.Errorf("a missing key: %v", err)
	}
	must(t, s.Set([]byte("empty"), nil))
	must(t, s.SetUint64([]byte("n"), math.MaxUint64))
	must(t, s.Set([]byte{0}, []byte("v")))
	for range 2 {
		if v, err := s.Get([]byte("empty")); err != nil || len(v) > 0 {
			t.Errorf("the empty value is %q, %v", v, err)
		}
		if n, err := s.GetUint64([]byte("n")); err != nil || n != math.MaxUint64 {
			t.Errorf("the number is %d, %v", n, err)
		}
		if _, err := s.GetUint64([]byte{0}); err == nil || err == ErrKeyNotFound {
			t.Errorf("a value that is no number: %v", err)
		}
		must(t, s.Close())
		s = open1(t, Options{Dir: dir})
	}
}

// Readers see a log that is whole while it changes.
func TestConcurrency(t *testing.T) {
	s := open1(t, Options{Dir: t.TempDir(), SegmentSize: 8 << 10, NoSync: true})
	done := make(chan error)
	go func() {
		for i := uint64(1); i <= 2000; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Term: i, Data: fmt.Appendf(nil, "%d", i)}); err != nil {
				done <- err
				return
			}
			if i%10 == 0 {
				if err := s.DeleteRange(1, i-min(i, 50)); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			must(t, err)
			return
		default:
		}
		last, err := s.LastIndex()
		must(t, err)
		var e raft.Log
		switch err := s.GetLog(last, &e); {
		case last == 0 || err == raft.ErrLogNotFound: // it may have been deleted meanwhile
		case err != nil || string(e.Data) != fmt.Sprint(last):
			t.Fatalf("entry %d: %q, %v", last, e.Data, err)
		}
	}
}

// Options that can't be met are refused with a reason, before anything is made.
func TestOptions(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for want, o := range map[string]Options{
		"no directory is given": {},
		"not a directory":       {Dir: filepath.Join(dir, "file")},
		"no such file":          {Dir: filepath.Join(dir, "missing", "log")},
		"a segment size of -1":  {Dir: filepath.Join(dir, "log"), SegmentSize: -1},
		"is not between 0 and":  {Dir: filepath.Join(dir, "log"), SegmentSize: maxSegment + 1},
	} {
		if s, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v, want %q", o, s, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "log")); err == nil {
		t.Error("a directory was made for nothing")
	}
}

// The ends of what a number can be are stored as any other, or refused.
func TestBounds(t *testing.T) {
	d := newDisk()
	s, err := openStore(small, d)
	must(t, err)
	if err := s.StoreLog(&raft.Log{Index: math.MaxUint64}); err == nil {
		t.Error("an entry was stored that none can follow")
	}
	must(t, s.StageCommitIndex(9))
	must(t, s.StoreLogs([]*raft.Log{{Index: 5}, {Index: 6}}))
	must(t, s.StoreLogs([]*raft.Log{{Index: 7}, {Index: 8}, {Index: 9}}))
	if commit, _ := s.GetCommitIndex(); commit != 6 {
		t.Errorf("the commit index is %d, of a call that ended with 6", commit)
	}
	must(t, s.DeleteRange(0, math.MaxUint64))
	must(t, s.StoreLog(&raft.Log{Index: math.MaxUint64 - 1}))
	large := make([]byte, maxRecord/2)
	must(t, s.Set([]byte("k"), large))
	if err := s.Set([]byte("l"), large); err == nil {
		t.Error("stable values have no bound")
	}
	s, err = openStore(small, d)
	must(t, err)
	if last, _ := s.LastIndex(); last != math.MaxUint64-1 {
		t.Errorf("the log ends with %d", last)
	}
}

// What a segment begins with was durable before it had its name: it is never torn.
func TestDamagedState(t *testing.T) {
	d := newDisk()
	s, err := openStore(small, d)
	must(t, err)
	must(t, s.roll())
	n := d.names[segmentName("d", 1)]
	n.seen[headerSize+20] ^= 1
	if _, err := openStore(small, d); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opening: %v", err)
	}
}

// A record of another kind, which a later version may write, is not taken for a torn one.
func TestUnknownKind(t *testing.T) {
	d := newDisk()
	s, err := openStore(small, d)
	must(t, err)
	must(t, s.write(head{kind: recordTruncate + 1}, 0, nil, nil))
	if _, err := openStore(small, d); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "kind 5") {
		t.Errorf("opening: %v", err)
	}
}

// An entry is read in one piece of just its size, whatever follows it in the file.
func TestReadsNoMore(t *testing.T) {
	d := newDisk()
	s, err := openStore(Options{Dir: "d"}, d)
	must(t, err)
	must(t, s.StoreLogs([]*raft.Log{{Index: 1}, {Index: 2, Data: make([]byte, 1<<20)}}))
	must(t, s.DeleteRange(2, 2))
	must(t, s.Set([]byte("k"), make([]byte, 1<<20)))
	if n := testing.AllocsPerRun(10, func() { must(t, s.GetLog(1, new(raft.Log))) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
	if size := s.segments[0].frames[0].size; size > 100 {
		t.Errorf("%d bytes are read for an entry of none", size)
	}
}

// When a disk is full, room that is made at the front of the log is found.
func TestFullDiskEmptied(t *testing.T) {
	d := newDisk()
	s, err := openStore(small, d)
	must(t, err)
	for i := range uint64(40) {
		must(t, s.StoreLog(&raft.Log{Index: i + 1, Data: make([]byte, 500)}))
	}
	d.room = 1
	for err = nil; err == nil; {
		last, _ := s.LastIndex()
		err = s.StoreLog(&raft.Log{Index: last + 1, Data: make([]byte, 500)})
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	d.room = 3 << 10 // too little for what a file grows by
	last, _ := s.LastIndex()
	must(t, s.DeleteRange(1, last-1))
	for i := range uint64(20) {
		if err := s.StoreLog(&raft.Log{Index: last + 1 + i, Data: make([]byte, 500)}); err != nil {
			t.Fatalf("the disk stays full: %v", err)
		}
	}
}

// A segment that can't be begun leaves nothing behind that takes room, wherever it failed.
func TestFailedRoll(t *testing.T) {
	for call := 1; ; call++ {
		d := newDisk()
		s, err := openStore(small, d)
		must(t, err)
		d.fail, d.err = call, syscall.ENOSPC
		if err := s.StoreLog(&raft.Log{Index: 1}); err == nil || len(s.segments) > 0 {
			return // the segment was begun
		}
		for name := range d.names {
			if filepath.Ext(name) == tmpSuffix {
				t.Errorf("call %d fails, and %s is left", call, name)
			}
		}
		must(t, s.StoreLog(&raft.Log{Index: 1}))
	}
}

// Of a record that failed and the one written instead no part is ever mixed: each entry
// has its own checksum, so both would look whole.
func TestNoMixture(t *testing.T) {
	write := func(s *Store, term uint64) error {
		at := s.segments[0].end + headSize
		pad := func(to int64) []byte { // an entry's data that makes its frame end there
			empty, err := appendFrame(nil, &raft.Log{}, 0)
			must(t, err)
			return bytes.Repeat([]byte{byte(term)}, int(to-at)-len(empty))
		}
		return s.StoreLogs([]*raft.Log{{Index: 1, Term: term, Data: pad(sector)}, {Index: 2, Term: term, Data: pad(sector)}})
	}
	for seed := range uint64(200) {
		d := newDisk()
		s, err := openStore(small, d)
		must(t, err)
		must(t, s.Set([]byte("k"), nil))
		d.fail, d.err = d.calls+2, errDisk // when all is on its way
		if err := write(s, 1); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		d.limit = d.calls + 1 + int(seed%16)
		_ = write(s, 2)
		s, err = openStore(small, d.crash(rand.New(rand.NewPCG(seed, 0))))
		must(t, err)
		var a, b raft.Log
		if s.GetLog(1, &a) == nil && s.GetLog(2, &b) == nil && a.Term != b.Term {
			t.Fatalf("seed %d: terms %d and %d are of two records", seed, a.Term, b.Term)
		}
	}
}

// The files of a store are renamed and removed while they are closed, as Windows wants it.
func TestClosedFiles(t *testing.T) {
	d := newDisk()
	s, err := openStore(small, d)
	must(t, err)
	for i := range uint64(200) {
		must(t, s.StoreLog(&raft.Log{Index: i + 1, Data: make([]byte, 100)}))
		if i > 50 {
			must(t, s.DeleteRange(1, i-50))
		}
	}
	must(t, s.Close())
	for name, n := range d.names {
		if n.open != 0 {
			t.Errorf("%s is open %d times after Close", name, n.open)
		}
	}
}
