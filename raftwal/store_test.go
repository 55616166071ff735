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
		s, err := New(Options{Dir: dir})
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
		s, err := New(Options{Dir: dir})
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

// A call that fails changes nothing, and the store goes on when the disk does; but not
// after a failed flush.
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
			case s.lost != nil:
				if err := s.SetUint64([]byte("k"), 1); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("seed %d: after a failed flush: %v", seed, err)
				}
			}
			if s.lost != nil {
				break
			}
			if err := m.matches(s); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if s.lost != nil {
			continue
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
