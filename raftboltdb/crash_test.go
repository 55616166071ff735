package raftboltdb

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/internal/crashtest"
	"go.etcd.io/bbolt"
)

// This file tests that a crash of the machine, whatever its disk makes of what was being
// written, leaves a store that opens and has all that was acknowledged, and of the last
// call everything or nothing.

// few is how many states are tried of each call, and of each kind, by default.
const few = 4

// stateOf is all that can be read from a store, in words.
func stateOf(s *BoltStore) (string, error) {
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	commit, err3 := s.GetCommitIndex()
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "log %d..%d commit %d:", first, last, commit)
	for i := first; i <= last && last > 0; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err == raft.ErrLogNotFound {
			continue
		} else if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " %d@%d/%x", l.Index, l.Term, crc32.ChecksumIEEE(fmt.Append(l.Data, l.Extensions, l.AppendedAt.UnixNano())))
	}
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketConf).ForEach(func(k, v []byte) error {
			fmt.Fprintf(&b, " %s=%x", k, v)
			return nil
		})
	})
	return b.String(), err
}

// reopen opens a store in a file of this content and calls look. A panic is an error.
func reopen(path string, i crashtest.Image, look func(*BoltStore) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := i.WriteFile(path); err != nil {
		return err
	}
	s, err := New(Options{Path: path, NoSync: true})
	if err != nil {
		return err
	}
	return errors.Join(look(s), s.Close())
}

// expect returns an error unless a store is sound and has one of some states.
func expect(s *BoltStore, allowed ...string) error {
	state, err := stateOf(s)
	if err != nil {
		return err
	}
	if !slices.Contains(allowed, state) {
		return fmt.Errorf("has\n%s, not one of\n%s", state, strings.Join(allowed, "\n"))
	}
	return checkPages(s)
}

// checkPages has bbolt check that each page is in use once or free once.
func checkPages(s *BoltStore) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// explorer opens what crashes leave.
type explorer struct {
	dir   string
	tally crashtest.Tally
}

func newExplorer(t *testing.T) *explorer { return &explorer{t.TempDir(), crashtest.Tally{}} }

func (x *explorer) path() string { return filepath.Join(x.dir, "crashed.db") }

// try opens every crash and returns what is wrong: a store that does not open, or has
// none of the states allowed.
func (x *explorer) try(crashes []crashtest.Crash, allowed ...string) (wrong []error) {
	for _, c := range crashes {
		x.tally[c.Kind]++
		err := reopen(x.path(), c.Image, func(s *BoltStore) error { return expect(s, allowed...) })
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", c.Kind, err))
		}
	}
	return wrong
}

// tryTwice opens what a second crash leaves, while a store is being opened after the
// first, and checks that it then has what it had.
func (x *explorer) tryTwice(first crashtest.Crash, seed uint64) (wrong []error) {
	var state string
	var opened crashtest.Image
	err := reopen(x.path(), first.Image, func(s *BoltStore) (err1 error) {
		state, err1 = stateOf(s)
		image, err2 := crashtest.ReadImage(x.path())
		opened = image
		return errors.Join(err1, err2)
	})
	if err != nil {
		return []error{err}
	}
	for _, err := range x.try(crashtest.BoltCrashes(first.Image, opened, 4, seed), state) {
		wrong = append(wrong, fmt.Errorf("%s, second crash: %w", first.Kind, err))
	}
	return wrong
}

// workload calls a store as a node does. Each call is one transaction.
type workload struct {
	rng  *rand.Rand
	s    *BoltStore
	term uint64
}

// payload is of a size that fits a page many times, or needs a few of them.
func (w *workload) payload() []byte {
	b := make([]byte, []int{0, 10, 100, 1000, 3000, 6000, 20000}[w.rng.IntN(7)])
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return b
}

func (w *workload) store(first uint64, n int) error {
	var logs []*raft.Log
	for i := range uint64(n) {
		logs = append(logs, &raft.Log{Index: first + i, Term: w.term, Data: w.payload(), AppendedAt: time.Unix(int64(i), 0)})
	}
	return w.s.StoreLogs(logs)
}

// step makes one call. Indexes start at 1.
func (w *workload) step() (call string, err error) {
	first, _ := w.s.FirstIndex()
	last, _ := w.s.LastIndex()
	size := last - first + 1
	switch n := w.rng.IntN(12); {
	case n < 4 || size < 6:
		n := 1 + w.rng.IntN(8)
		return fmt.Sprintf("store %d from %d", n, last+1), w.store(last+1, n)
	case n < 5:
		from := last - w.rng.Uint64N(4)
		return fmt.Sprintf("overwrite from %d", from), w.store(from, 6)
	case n < 7:
		from := last - w.rng.Uint64N(4)
		w.term++
		return fmt.Sprintf("delete from %d", from), w.s.DeleteRange(from, last)
	case n < 9:
		to := first + w.rng.Uint64N(size/2)
		return fmt.Sprintf("delete up to %d", to), w.s.DeleteRange(first, to)
	case n < 10:
		commit := first + w.rng.Uint64N(size)
		return fmt.Sprintf("store with commit index %d", commit), errors.Join(w.s.StageCommitIndex(commit), w.store(last+1, 2))
	case n < 11:
		w.term++
		return fmt.Sprintf("term %d", w.term), w.s.SetUint64([]byte("CurrentTerm"), w.term)
	default:
		w.term++
		return fmt.Sprintf("vote in %d", w.term), w.s.SetAll([]raft.StableValue{
			{Key: []byte("CurrentTerm"), Number: w.term},
			{Key: []byte("LastVoteCand"), Bytes: fmt.Appendf(nil, "server-%d", w.rng.IntN(100))},
			{Key: []byte("LastVoteTerm"), Number: w.term}})
	}
}

// position is what a store has, and its file.
func position(t *testing.T, s *BoltStore) (string, crashtest.Image) {
	t.Helper()
	state, err1 := stateOf(s)
	image, err2 := crashtest.ReadImage(s.db.Path())
	must(t, err1, err2)
	return state, image
}

// A crash during a call leaves all of it or nothing, and everything before it.
func TestCrash(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options *bbolt.Options
	}{
		{"our options", nil},
		{"a free list on disk", &bbolt.Options{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newExplorer(t)
			for seed := range uint64(crashtest.Limit(few)+few-1) / few {
				s := open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db"), BoltOptions: tt.options})
				w := &workload{rand.New(rand.NewPCG(seed, 7)), s, 1}
				state, image := position(t, s)
				if wrong := x.try(crashtest.BoltCrashes(newBoltImage(t), image, crashtest.Limit(few), seed), state); len(wrong) > 0 {
					t.Fatalf("new store: %v", wrong[0])
				}
				for step := range uint64(20) {
					before, beforeImage := state, image
					call, err := w.step()
					must(t, err)
					state, image = position(t, s)
					crashes := crashtest.BoltCrashes(beforeImage, image, crashtest.Limit(few), step)
					wrong := x.try(crashes, before, state)
					wrong = append(wrong, x.tryTwice(crashes[w.rng.IntN(len(crashes))], step)...)
					wrong = append(wrong, x.try(crashes[:1], before)...)
					wrong = append(wrong, x.try(crashes[len(crashes)-1:], state)...) // it was acknowledged
					if len(wrong) > 0 {
						t.Fatalf("seed %d, step %d, %s: %v, and %d more", seed, step, call, wrong[0], len(wrong)-1)
					}
				}
			}
			t.Log("crash states:", x.tally)
		})
	}
}

// A crash while the file grows by an entry that is larger than it was.
func TestCrashInGrowth(t *testing.T) {
	x := newExplorer(t)
	s := openNew(t)
	before, beforeImage := position(t, s)
	must(t, s.StoreLog(&raft.Log{Index: 1, Term: 1, Data: bytes.Repeat([]byte("x"), growStep)}))
	state, image := position(t, s)
	if image.Size == beforeImage.Size {
		t.Fatal("it did not grow")
	}
	if wrong := x.try(crashtest.BoltCrashes(beforeImage, image, crashtest.Limit(few), 1), before, state); len(wrong) > 0 {
		t.Error(wrong[0])
	}
	t.Log("crash states:", x.tally)
}

// The explorer finds a flush that is missing.
func TestCrashFindsMissingFlush(t *testing.T) {
	// With its free list on disk, bbolt's panics can be caught.
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db"), NoSync: true, BoltOptions: &bbolt.Options{}})
	must(t, s.Sync())
	w := &workload{rand.New(rand.NewPCG(1, 1)), s, 1}
	_, synced := position(t, s)
	for range 10 {
		_, err := w.step()
		must(t, err)
	}
	acked, image := position(t, s)
	x := newExplorer(t)
	if wrong := x.try([]crashtest.Crash{{Kind: "nothing", Image: synced}}, acked); len(wrong) != 1 {
		t.Error("calls that were not flushed were not missed")
	}
	wrong := x.try(crashtest.UnflushedCrashes(synced, image, crashtest.Limit(few), 1), acked)
	if text := errors.Join(wrong...).Error(); !strings.Contains(text, "panic: ") || !strings.Contains(text, "has\n") {
		t.Errorf("of %v, these are wrong: %s", x.tally, text)
	}
}

// The explorer finds a meta page that is on disk before the pages that it leads to.
func TestCrashFindsMetaFirst(t *testing.T) {
	s := open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db"), BoltOptions: &bbolt.Options{}})
	w := &workload{rand.New(rand.NewPCG(2, 2)), s, 1}
	must(t, w.store(1, 9))
	before, beforeImage := position(t, s)
	must(t, w.s.DeleteRange(1, 5))
	after, image := position(t, s)
	x := newExplorer(t)
	wrong := x.try(crashtest.UnflushedCrashes(beforeImage, image, 2, 1), before, after)
	alone := func(err error) bool { return strings.HasPrefix(err.Error(), "one page alone: ") }
	if i := slices.IndexFunc(wrong, alone); i < 0 {
		t.Errorf("of %v, %d are wrong", x.tally, len(wrong))
	}
}

// newBoltImage is a file as bbolt makes it.
func newBoltImage(t *testing.T) crashtest.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new.db")
	db, err := bbolt.Open(path, fileMode, nil)
	must(t, err, db.Close())
	i, err := crashtest.ReadImage(path)
	must(t, err)
	return i
}

// A crash while a file is being made leaves it under another name, which does not matter.
func TestCrashInCreation(t *testing.T) {
	tally := crashtest.Tally{}
	for _, c := range crashtest.UnflushedCrashes(crashtest.Image{}, newBoltImage(t), crashtest.Limit(8*few), 1) {
		tally[c.Kind]++
		dir := t.TempDir()
		path := filepath.Join(dir, "raft.db")
		must(t, c.Image.WriteFile(path+unfinished))
		s, err := New(Options{Path: path, NoSync: true})
		if err != nil {
			t.Fatalf("%s: %v", c.Kind, err)
		}
		if got := contents(t, s); got != "0..0: " {
			t.Errorf("%s: has %s", c.Kind, got)
		}
		must(t, s.Close())
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: the directory has %v, %v", c.Kind, entries, err)
		}
	}
	t.Log("crash states:", tally)
}

// The same crashes are fatal to a file that has its name already.
func TestCrashFindsCreationInPlace(t *testing.T) {
	x := newExplorer(t)
	wrong := x.try(crashtest.UnflushedCrashes(crashtest.Image{}, newBoltImage(t), crashtest.Limit(8*few), 1), "log 0..0 commit 0:")
	if text := errors.Join(wrong...).Error(); !strings.Contains(text, "panic: ") {
		t.Errorf("of %v, these are wrong: %s", x.tally, text)
	}
}

// openLog is a logger of bbolt that looks at files when they are opened.
type openLog struct {
	bbolt.Logger
	opened func(path string)
}

func (l openLog) Infof(format string, args ...any) {
	if path, ok := args[0].(string); ok && strings.HasPrefix(format, "Opening db file") {
		l.opened(path)
	}
}
func (openLog) Debugf(string, ...any) {}

// A file is whole when it gets its name.
func TestCreationIsNotInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	var sizes []int64
	log := openLog{opened: func(name string) {
		if name != path {
			return
		}
		info, err := os.Stat(path)
		must(t, err)
		sizes = append(sizes, info.Size())
	}}
	open(t, Options{Path: path, BoltOptions: &bbolt.Options{Logger: log}})
	if want := newBoltImage(t).Size; len(sizes) != 1 || sizes[0] != want {
		t.Errorf("when bbolt opened the file it had %v bytes, want %d", sizes, want)
	}
}

// Whatever a crash leaves of a copy, the next migration makes a new one.
func TestMigrateToV2AfterCrash(t *testing.T) {
	src := openNew(t)
	must(t, src.StoreLogs(entries(1, 30, 2)))
	want := contents(t, src)
	source, dst := closeStore(t, src), filepath.Join(t.TempDir(), "new.db")
	must(t, os.WriteFile(dst+unfinished, []byte("half a copy"), fileMode))
	s, err := MigrateToV2(source, dst)
	must(t, err)
	defer s.Close()
	if got := contents(t, s); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if left, err := os.ReadDir(filepath.Dir(dst)); err != nil || len(left) != 1 {
		t.Errorf("the directory has %v, %v", left, err)
	}
}

// The name of a file is on disk before its store is used: without it a crash would take
// everything that was acknowledged since.
func TestNameIsSynced(t *testing.T) {
	var synced []string
	defer func(f func(string) error) { syncDir = f }(syncDir)
	syncDir = func(path string) error {
		synced = append(synced, path)
		return syncDirectory(path)
	}
	dir := t.TempDir()
	for range 2 { // whoever made the file may not have lived to sync its name
		synced = nil
		s, err := NewBoltStore(filepath.Join(dir, "raft.db"))
		if err != nil {
			t.Fatal(err)
		}
		if len(synced) != 1 || synced[0] != dir {
			t.Errorf("synced %q, want %q", synced, dir)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
