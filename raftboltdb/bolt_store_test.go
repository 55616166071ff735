package raftboltdb

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// open opens a store that is closed at the end of the test.
func open(t testing.TB, options Options) *BoltStore {
	t.Helper()
	s, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// openNew opens a store in a file of its own.
func openNew(t testing.TB) *BoltStore {
	return open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db")})
}

// closeStore closes a store and returns the name of its file.
func closeStore(t testing.TB, s *BoltStore) string {
	t.Helper()
	path := s.db.Path()
	must(t, s.Close())
	return path
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// copyFile returns the name of a copy of a file.
func copyFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	dst := filepath.Join(t.TempDir(), "copy.db")
	must(t, os.WriteFile(dst, b, 0o600))
	return dst
}

func TestValues(t *testing.T) {
	s := openNew(t)
	must(t,
		s.Set([]byte("bytes"), []byte("v")),
		s.Set([]byte("empty"), []byte{}),
		s.Set([]byte("nil"), nil),
		s.SetUint64([]byte("number"), 1<<40),
		s.Set([]byte("short"), []byte("1234567")),
		s.Set([]byte("long"), []byte("\x00\x00\x00\x00\x00\x00\x00\x07more")))
	for _, tt := range []struct {
		key     string
		want    []byte
		wantErr error
	}{
		{"bytes", []byte("v"), nil},
		{"empty", nil, nil},
		{"nil", nil, nil},
		{"number", []byte("\x00\x00\x01\x00\x00\x00\x00\x00"), nil},
		{"missing", nil, ErrKeyNotFound},
	} {
		got, err := s.Get([]byte(tt.key))
		if !reflect.DeepEqual(got, tt.want) || err != tt.wantErr {
			t.Errorf("Get(%s): %#v, %v, want %#v, %v", tt.key, got, err, tt.want, tt.wantErr)
		}
	}
	for _, tt := range []struct {
		key     string
		want    uint64
		wantErr string
	}{
		{"number", 1 << 40, ""},
		{"long", 7, ""},
		{"missing", 0, "not found"},
		{"short", 0, `raftboltdb: the value of key "short" has 7 bytes and is no number`},
		{"empty", 0, `raftboltdb: the value of key "empty" has 0 bytes and is no number`},
	} {
		got, err := s.GetUint64([]byte(tt.key))
		if got != tt.want || err == nil && tt.wantErr != "" || err != nil && err.Error() != tt.wantErr {
			t.Errorf("GetUint64(%s): %d, %v, want %d, %s", tt.key, got, err, tt.want, tt.wantErr)
		}
	}
	if err := s.Set(nil, []byte("v")); !errors.Is(err, bolterrors.ErrKeyRequired) {
		t.Errorf("Set of an empty key: %v", err)
	}
}

func TestSetAll(t *testing.T) {
	s := openNew(t)
	must(t, s.SetAll([]raft.StableValue{
		{Key: []byte("n"), Number: 5},
		{Key: []byte("b"), Bytes: []byte("v")},
		{Key: []byte("e"), Bytes: []byte{}},
	}))
	n, err1 := s.GetUint64([]byte("n"))
	b, err2 := s.Get([]byte("b"))
	e, err3 := s.Get([]byte("e"))
	if must(t, err1, err2, err3); n != 5 || string(b) != "v" || e != nil {
		t.Errorf("got %d, %q, %q", n, b, e)
	}
	// One value that cannot be stored: none is.
	err := s.SetAll([]raft.StableValue{{Key: []byte("n"), Number: 6}, {Key: nil, Number: 7}})
	if !errors.Is(err, bolterrors.ErrKeyRequired) {
		t.Errorf("SetAll of an empty key: %v", err)
	}
	if n, _ := s.GetUint64([]byte("n")); n != 5 {
		t.Errorf("got %d, want 5: half a SetAll was stored", n)
	}
}

func TestClosed(t *testing.T) {
	s := openNew(t)
	must(t, s.Close(), s.Close())
	_, errGet := s.Get([]byte("k"))
	_, errFirst := s.FirstIndex()
	_, errCommit := s.GetCommitIndex()
	for _, err := range []error{
		errGet, errFirst, errCommit, s.Set([]byte("k"), nil), s.SetAll(nil),
		s.GetLog(1, new(raft.Log)), s.StoreLogs(nil), s.DeleteRange(1, 2),
	} {
		if !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			t.Errorf("got %v, want database not open", err)
		}
	}
}

func TestOptions(t *testing.T) {
	custom := bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistArrayType, NoSync: true, PageSize: 8192}
	plain := bbolt.Options{}
	for _, tt := range []struct {
		name           string
		given          *bbolt.Options
		freelist       bbolt.FreelistType
		noFreelistSync bool
		pageSize       int
	}{
		{"ours", nil, bbolt.FreelistMapType, true, os.Getpagesize()},
		{"the caller's", &custom, bbolt.FreelistArrayType, false, 8192},
		{"the caller's, nothing set", &plain, bbolt.FreelistMapType, false, os.Getpagesize()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before bbolt.Options
			if tt.given != nil {
				before = *tt.given
			}
			s := open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db"), BoltOptions: tt.given})
			if s.db.FreelistType != tt.freelist || s.db.NoFreelistSync != tt.noFreelistSync || s.db.Info().PageSize != tt.pageSize {
				t.Errorf("free list %s, not synced %v, pages of %d", s.db.FreelistType, s.db.NoFreelistSync, s.db.Info().PageSize)
			}
			if s.db.NoSync {
				t.Error("writes are not synced, though Options.NoSync is not set")
			}
			if tt.given != nil && !reflect.DeepEqual(*tt.given, before) {
				t.Errorf("the caller's options became %v", tt.given)
			}
		})
	}
	if s := open(t, Options{Path: filepath.Join(t.TempDir(), "raft.db"), NoSync: true}); !s.db.NoSync {
		t.Error("Options.NoSync has no effect")
	} else {
		must(t, s.Sync())
	}
}

// A new store is a small file: space is mapped ahead, not taken.
func TestNewFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("bbolt makes the file as large as its mapping there")
	}
	s := openNew(t)
	must(t, s.StoreLogs(entries(1, 100, 1)))
	info, err := os.Stat(s.db.Path())
	must(t, err)
	if info.Mode().Perm() != 0o600 || info.Size() > 2*growStep {
		t.Errorf("mode %v, %d bytes", info.Mode(), info.Size())
	}
}

func TestReadOnly(t *testing.T) {
	s := openNew(t)
	must(t, s.StoreLogs(entries(1, 3, 1)))
	ro := open(t, Options{Path: closeStore(t, s), BoltOptions: &bbolt.Options{ReadOnly: true}})
	if last, err := ro.LastIndex(); last != 3 || err != nil {
		t.Errorf("last index %d, %v", last, err)
	}
	if err := ro.StoreLogs(entries(4, 4, 1)); !errors.Is(err, bolterrors.ErrDatabaseReadOnly) {
		t.Errorf("StoreLogs: %v", err)
	}

	other := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	must(t, err, db.Close())
	if _, err := New(Options{Path: other, BoltOptions: &bbolt.Options{ReadOnly: true}}); err == nil || !strings.Contains(err.Error(), "no bucket logs") {
		t.Errorf("a file of something else: %v", err)
	}
}

func TestLocked(t *testing.T) {
	s := openNew(t)
	_, err := New(Options{Path: s.db.Path(), BoltOptions: &bbolt.Options{Timeout: time.Millisecond}})
	if err != bolterrors.ErrTimeout {
		t.Errorf("got %v, want exactly bbolt's timeout", err)
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := NewBoltStore(filepath.Join(t.TempDir(), "missing", "raft.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
