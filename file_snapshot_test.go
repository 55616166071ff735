package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

var oneVoter = Configuration{Servers: []Server{{Voter, "a", "addr-a"}}}

func openSnapshots(t *testing.T, base string, retain int) *FileSnapshotStore {
	t.Helper()
	s, err := NewFileSnapshotStoreWithLogger(base, retain, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// putSnapshot writes a snapshot whose content follows from its index.
func putSnapshot(s SnapshotStore, index uint64) (id string, err error) {
	sink, err := s.Create(1, index, 1, oneVoter, 1, addrTransport{})
	if err != nil {
		return "", err
	}
	if _, err := sink.Write(snapshotContent(index)); err != nil {
		return "", errors.Join(err, sink.Cancel())
	}
	return sink.ID(), sink.Close()
}

func snapshotContent(index uint64) []byte {
	return bytes.Repeat([]byte{byte(index)}, 1000)
}

// checkSnapshots checks that every snapshot listed can be read, and that the newest is
// not older than acked, the newest whose Close returned nil.
func checkSnapshots(s SnapshotStore, acked uint64) error {
	list, err := s.List()
	if err != nil {
		return err
	}
	var newest uint64
	for _, meta := range list {
		newest = max(newest, meta.Index)
		_, rc, err := s.Open(meta.ID)
		if err != nil {
			return fmt.Errorf("open of listed snapshot %s: %w", meta.ID, err)
		}
		content, err := io.ReadAll(rc)
		if err != nil {
			return err
		}
		if err := rc.Close(); err != nil {
			return err
		}
		if !bytes.Equal(content, snapshotContent(meta.Index)) {
			return fmt.Errorf("snapshot %s has another content", meta.ID)
		}
	}
	if newest < acked {
		return fmt.Errorf("newest snapshot is %d, but Close of %d returned nil", newest, acked)
	}
	return nil
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name()+"/")
		} else {
			names = append(names, e.Name())
		}
	}
	return names
}

type goldenSnapshots struct {
	Retain int
	List   []struct {
		Version            SnapshotVersion
		ID                 string
		Index, Term        uint64
		Peers              hexBytes
		Configuration      Configuration
		ConfigurationIndex uint64
		Size               int64
		MetaJSON           string `json:"meta.json"`
		OpenError          string `json:"open_error"`
		StateLength        int    `json:"state_length"`
		State              hexBytes
	} `json:"list_newest_first"`
	Directory []string
}

// Directories written by hashicorp/raft read as it reads them, and reading changes
// nothing.
func TestFileSnapshotGolden(t *testing.T) {
	for _, name := range []string{"snapshots-dir", "snapshots-bad-dir"} {
		t.Run(name, func(t *testing.T) {
			var g goldenSnapshots
			loadGolden(t, "disk/"+name+".json", &g)
			base := t.TempDir()
			if err := os.CopyFS(base, os.DirFS(goldenPath("disk/"+name))); err != nil {
				t.Fatal(err)
			}
			s := openSnapshots(t, base, g.Retain)
			list, err := s.List()
			if err != nil {
				t.Fatal(err)
			}
			if len(list) != len(g.List) {
				t.Fatalf("%d snapshots are listed, want %d", len(list), len(g.List))
			}
			for i, want := range g.List {
				wantMeta := &SnapshotMeta{Version: want.Version, ID: want.ID, Index: want.Index, Term: want.Term, Peers: want.Peers,
					Configuration: want.Configuration, ConfigurationIndex: want.ConfigurationIndex, Size: want.Size}
				if !reflect.DeepEqual(list[i], wantMeta) {
					t.Errorf("snapshot %d is %+v, want %+v", i, list[i], wantMeta)
				}
				meta, rc, err := s.Open(want.ID)
				if want.OpenError != "" {
					if err == nil || err.Error() != want.OpenError {
						t.Errorf("Open(%s) = %v, want %q", want.ID, err, want.OpenError)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				state, err := io.ReadAll(rc)
				if err := errors.Join(err, rc.Close()); err != nil {
					t.Error(err)
				}
				if want.State == nil {
					want.State = goldenPattern(want.StateLength)
				}
				if !bytes.Equal(state, want.State) || !reflect.DeepEqual(meta, wantMeta) {
					t.Errorf("snapshot %s: another state or metadata: %+v", want.ID, meta)
				}
			}
			if got := names(t, filepath.Join(base, snapshotsDir)); !slices.Equal(got, g.Directory) {
				t.Errorf("the directory now has %v, want %v", got, g.Directory)
			}
		})
	}
}

// A new snapshot has the very bytes that hashicorp/raft writes, and makes the oldest
// one go.
func TestFileSnapshotWritesGolden(t *testing.T) {
	var g goldenSnapshots
	loadGolden(t, "disk/snapshots-dir.json", &g)
	base := t.TempDir()
	if err := os.CopyFS(base, os.DirFS(goldenPath("disk/snapshots-dir"))); err != nil {
		t.Fatal(err)
	}
	s, want := openSnapshots(t, base, g.Retain), g.List[0]
	sink, err := s.Create(1, want.Index, want.Term, want.Configuration, want.ConfigurationIndex, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range goldenPattern(want.StateLength) { // in the smallest of writes
		if _, err := sink.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(base, snapshotsDir, sink.ID(), metaName))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(want.MetaJSON, want.ID, sink.ID()); string(got) != want {
		t.Errorf("meta.json is\n%swant\n%s", got, want)
	}
	wantDir := []string{want.ID + "/", sink.ID() + "/"}
	if got := names(t, filepath.Join(base, snapshotsDir)); !slices.Equal(got, wantDir) {
		t.Errorf("the directory now has %v, want %v", got, wantDir)
	}
}

func TestNewFileSnapshotStoreFails(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		base   string
		retain int
		want   string
	}{
		{t.TempDir(), 0, "must retain at least one snapshot"},
		{plain, 1, "snapshot path not accessible: "},
	} {
		if _, err := NewFileSnapshotStore(tt.base, tt.retain, io.Discard); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("retain %d: %v, want %q", tt.retain, err, tt.want)
		}
	}
	fs := newCrashFS()
	fs.before = func(op, path string) error {
		if op == "create" {
			return os.ErrPermission
		}
		return nil
	}
	_, err := openFileSnapshotStore(fs, "/base", 1, hclog.NewNullLogger())
	if want := "permissions test failed: permission denied"; err == nil || err.Error() != want {
		t.Errorf("no permission: %v, want %q", err, want)
	}
}

// An ID comes from the caller: none leads out of the directory.
func TestFileSnapshotOpenRefusesIDs(t *testing.T) {
	base := t.TempDir()
	s := openSnapshots(t, filepath.Join(base, "node"), 1)
	id, err := putSnapshot(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Snapshots that only a path leads to.
	if err := os.CopyFS(filepath.Join(base, "other"), os.DirFS(filepath.Join(s.dir, id))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(s.dir, "x.tmp"), os.DirFS(filepath.Join(s.dir, id))); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", ".", "..", "../../other", "x/../" + id, `..\` + id, "x.tmp"} {
		if _, _, err := s.Open(id); err == nil || !strings.HasPrefix(err.Error(), "invalid snapshot ID") {
			t.Errorf("Open(%q) = %v", id, err)
		}
	}
	if _, _, err := s.Open("1-9-9"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open of none = %v", err)
	}
}

// A directory that was copied or renamed by hand is not taken for a snapshot, and
// removing old snapshots never follows the ID in meta.json (H27).
func TestFileSnapshotTrustsTheDirectoryName(t *testing.T) {
	s := openSnapshots(t, t.TempDir(), 1)
	id, err := putSnapshot(s, 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(s.dir, "1-4-1"), os.DirFS(filepath.Join(s.dir, id))); err != nil {
		t.Fatal(err)
	}
	if err := s.ReapSnapshots(); err != nil {
		t.Fatal(err)
	}
	if err := checkSnapshots(s, 5); err != nil {
		t.Error(err)
	}
	if list, _ := s.List(); len(list) != 1 || list[0].ID != id {
		t.Errorf("listed: %v", list)
	}
	if got, want := names(t, s.dir), []string{"1-4-1/", id + "/"}; !slices.Equal(got, want) {
		t.Errorf("the directory has %v, want %v", got, want)
	}
	if _, _, err := s.Open("1-4-1"); err == nil {
		t.Error("the copy was opened")
	}
}

// A snapshot is listed when, and only when, its sink was closed.
func TestFileSnapshotSink(t *testing.T) {
	const write, closed, cancel = "write", "close", "cancel"
	for _, tt := range []struct {
		calls  string
		want   string // errors
		listed int
	}{
		{"write", "ok", 0},
		{"write close", "ok ok", 1},
		{"close", "ok", 1},
		{"write close close", "ok ok ok", 1},
		{"write close cancel close", "ok ok ok ok", 1},
		{"write close write", "ok ok ended", 1},
		{"write cancel", "ok ok", 0},
		{"write cancel cancel", "ok ok ok", 0},
		{"write cancel write", "ok ok ended", 0},
		// A Close that says nil would be taken for a snapshot that exists.
		{"write cancel close close", "ok ok cancelled cancelled", 0},
	} {
		for _, kind := range []string{"file", "inmem"} {
			var s SnapshotStore = NewInmemSnapshotStore()
			if kind == "file" {
				s = openSnapshots(t, t.TempDir(), 1)
			}
			sink, err := s.Create(1, 7, 1, oneVoter, 1, addrTransport{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, call := range strings.Fields(tt.calls) {
				var err error
				switch call {
				case write:
					_, err = sink.Write([]byte("x"))
				case closed:
					err = sink.Close()
				case cancel:
					err = sink.Cancel()
				}
				got = append(got, map[error]string{nil: "ok", errSinkEnded: "ended", errSinkCancelled: "cancelled"}[err])
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("%s: %s: %s, want %s", kind, tt.calls, got, tt.want)
			}
			list, err := s.List()
			if err != nil || len(list) != tt.listed {
				t.Errorf("%s: %s: listed %v, %v", kind, tt.calls, list, err)
			}
			if fileStore, ok := s.(*FileSnapshotStore); ok && len(tt.calls) > len(write) {
				if got := names(t, fileStore.dir); len(got) != tt.listed {
					t.Errorf("%s: the directory has %v", tt.calls, got)
				}
			}
		}
	}
}

func TestSnapshotStoresRefuseVersions(t *testing.T) {
	for _, s := range []SnapshotStore{NewInmemSnapshotStore(), openSnapshots(t, t.TempDir(), 1)} {
		for _, v := range []SnapshotVersion{-1, 0, 2} {
			_, err := s.Create(v, 1, 1, oneVoter, 1, addrTransport{})
			if want := fmt.Sprintf("unsupported snapshot version %d", v); err == nil || err.Error() != want {
				t.Errorf("%T: %v, want %q", s, err, want)
			}
		}
	}
}

// Snapshots of one index that are made in the same millisecond have names of their own.
func TestFileSnapshotNamesAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := t.TempDir()
		ids := make(map[string]bool)
		for range 3 {
			s := openSnapshots(t, base, 9) // a process each
			open, err := s.Create(1, 7, 1, oneVoter, 1, addrTransport{})
			if err != nil {
				t.Fatal(err)
			}
			id, err := putSnapshot(s, 7)
			if err != nil {
				t.Fatal(err)
			}
			if err := open.Cancel(); err != nil {
				t.Fatal(err)
			}
			ids[id] = true
		}
		if len(ids) != 3 {
			t.Errorf("names: %v", ids)
		}
	})
}

// Leftovers of earlier processes go when a snapshot is finished and not before, and
// what another store of this process is writing never does.
func TestFileSnapshotLeftovers(t *testing.T) {
	base := t.TempDir()
	writer := openSnapshots(t, base, 2)
	live, err := writer.Create(1, 1, 1, oneVoter, 1, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1-8-1500000000000.tmp", "operator's.tmp"} {
		if err := os.Mkdir(filepath.Join(writer.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	before := names(t, writer.dir)

	s := openSnapshots(t, base, 2)
	if _, err := s.List(); err != nil {
		t.Fatal(err)
	}
	cancelled, err := s.Create(1, 9, 1, oneVoter, 1, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cancelled.Cancel(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s.dir); !slices.Equal(got, before) {
		t.Errorf("before a snapshot is finished: %v, want %v", got, before)
	}
	id, err := putSnapshot(s, 9)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{live.ID() + ".tmp/", id + "/", "operator's.tmp/"}
	if got := names(t, s.dir); !slices.Equal(got, want) {
		t.Errorf("afterwards: %v, want %v", got, want)
	}
	if _, err := live.Write(snapshotContent(1)); err != nil {
		t.Fatal(err)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkSnapshots(s, 9); err != nil {
		t.Error(err)
	}
}

// someSnapshots is the life of a store: snapshots that replace each other and one that
// is cancelled. acked is called for every one whose Close returned nil.
func someSnapshots(fs *crashFS, acked func(index uint64)) {
	s, err := openWriting(fs, 2)
	if err != nil {
		return
	}
	for index := uint64(1); index <= 3; index++ {
		if sink, err := s.Create(1, index, 1, oneVoter, 1, addrTransport{}); err == nil {
			_, _ = sink.Write([]byte("given up"))
			_ = sink.Cancel()
		}
		if _, err := putSnapshot(s, index); err == nil {
			acked(index)
		}
	}
}

// openWriting opens a store that writes and syncs even snapshotContent in the background.
func openWriting(fs *crashFS, retain int) (*FileSnapshotStore, error) {
	s, err := openFileSnapshotStore(fs, "/data/node", retain, hclog.NewNullLogger())
	if err == nil {
		s.buffer, s.flush = 300, 500
	}
	return s, err
}

// checkReopened opens what a process left, checks it, and checks that the next
// snapshot makes all leftovers go. The first store keeps more snapshots, so that it
// would also show one that was being removed.
func checkReopened(fs *crashFS, acked uint64) error {
	for _, retain := range []int{9, 2} {
		s, err := openFileSnapshotStore(fs, "/data/node", retain, hclog.NewNullLogger())
		if err != nil {
			return err
		}
		if err := checkSnapshots(s, acked); err != nil {
			return err
		}
		if retain > 2 {
			continue
		}
		if _, err := putSnapshot(s, 99); err != nil {
			return err
		}
		if err := errors.Join(checkSnapshots(s, 99), checkClean(fs, 2)); err != nil {
			return err
		}
	}
	return nil
}

// checkClean checks that no file is open and that the directory has no more than so
// many snapshots and nothing else.
func checkClean(fs *crashFS, snapshots int) error {
	if fs.open != 0 {
		return fmt.Errorf("%d files are open", fs.open)
	}
	entries, err := fs.ReadDir("/data/node/snapshots")
	if err != nil {
		return err
	}
	for i, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), tmpSuffix) || i >= snapshots {
			return fmt.Errorf("%s was left behind", e.Name())
		}
	}
	return nil
}

var errInjected = errors.New("injected")

// Whichever operation fails, and whether the disk recovers at once or only later, a
// snapshot is either acknowledged and there, or not there, and nothing stays open or
// behind (P6).
func TestFileSnapshotInjectedErrors(t *testing.T) {
	for _, failures := range []int{1, 7} {
		for first := 1; ; first++ {
			fs, ops, acked, failed := newCrashFS(), 0, uint64(0), ""
			fs.before = func(op, path string) error {
				if ops++; ops >= first && ops < first+failures {
					failed += " " + op + " " + filepath.Base(path)
					return errInjected
				}
				return nil
			}
			someSnapshots(fs, func(index uint64) { acked = index })
			if fs.open != 0 {
				t.Fatalf("failed%s: %d files are open", failed, fs.open)
			}
			if err := checkReopened(fs.crash(dropAll), acked); err != nil {
				t.Fatalf("failed%s, then a crash: %v", failed, err)
			}
			fs.before = func(op, path string) error { return nil }
			if err := checkReopened(fs, acked); err != nil {
				t.Fatalf("failed%s: %v", failed, err)
			}
			if failed == "" {
				break
			}
		}
	}
}

// A snapshot whose name may not be durable is none.
func TestFileSnapshotWithdrawsItsName(t *testing.T) {
	fs := newCrashFS()
	s, err := openFileSnapshotStore(fs, "/data/node", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	broken := true
	fs.before = func(op, path string) error {
		if op == "syncdir" && path == s.dir && broken {
			broken = false
			return errInjected
		}
		return nil
	}
	if _, err := putSnapshot(s, 1); !errors.Is(err, errInjected) {
		t.Errorf("Close = %v", err)
	}
	if err := checkClean(fs, 0); err != nil {
		t.Error(err)
	}
}

// A store whose directory could not be made durable makes it so when it is opened
// again.
func TestFileSnapshotSyncsWhatItFinds(t *testing.T) {
	fs := newCrashFS()
	fs.before = func(op, path string) error {
		if op == "syncdir" && path == "/data" {
			return errInjected
		}
		return nil
	}
	if err := fs.Mkdir("/data"); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	if _, err := openFileSnapshotStore(fs, "/data", 2, hclog.NewNullLogger()); !errors.Is(err, errInjected) {
		t.Fatalf("Open = %v", err)
	}
	fs.before = func(op, path string) error { return nil }
	s, err := openFileSnapshotStore(fs, "/data", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := putSnapshot(s, 1); err != nil {
		t.Fatal(err)
	}
	s, err = openFileSnapshotStore(fs.crash(dropAll), "/data", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkSnapshots(s, 1); err != nil {
		t.Error(err)
	}
}

// A snapshot is not removed by its own Close, even if those kept sort above it. The
// next one makes it go.
func TestFileSnapshotKeepsTheOneJustFinished(t *testing.T) {
	s := openSnapshots(t, t.TempDir(), 1)
	newest, err := putSnapshot(s, 9)
	if err != nil {
		t.Fatal(err)
	}
	id, err := putSnapshot(s, 5)
	if err != nil {
		t.Fatal(err)
	}
	_, rc, err := s.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	last, err := putSnapshot(s, 7)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, s.dir), []string{last + "/", newest + "/"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

// A file system that can't sync directories is no error. On Linux /proc is one.
func TestSyncDirUnsupported(t *testing.T) {
	const dir = "/proc"
	d, err := os.Open(dir)
	if err == nil {
		defer d.Close()
		err = d.Sync()
	}
	if !errors.Is(err, syscall.EINVAL) {
		t.Skipf("this system has no %s, or can sync it (%v), and no other such directory is known", dir, err)
	}
	if err := (osFS{}).SyncDir(dir); err != nil {
		t.Error(err)
	}
}

// Open fails for a damaged snapshot and for one that can't be read, and leaves no file
// open.
func TestFileSnapshotOpenFails(t *testing.T) {
	fs := newCrashFS()
	s, err := openFileSnapshotStore(fs, "/data/node", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	id, err := putSnapshot(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(s.dir, id, stateName)
	for _, failing := range []string{"open", "read"} {
		fs.before = func(op, path string) error {
			if op == failing && path == state {
				return errInjected
			}
			return nil
		}
		if _, _, err := s.Open(id); !errors.Is(err, errInjected) || fs.open != 0 {
			t.Errorf("%s fails: Open = %v, %d files open", failing, err, fs.open)
		}
	}
	fs.before = func(op, path string) error { return nil }
	f, err := fs.Create(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(snapshotContent(2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open(id); err == nil || err.Error() != "CRC mismatch" || fs.open != 0 {
		t.Errorf("damaged: Open = %v, %d files open", err, fs.open)
	}
}

// A store whose directory could not be cleaned goes on to clean it.
func TestFileSnapshotRetriesRemoval(t *testing.T) {
	fs := newCrashFS()
	s, err := openFileSnapshotStore(fs, "/data/node", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	sink, err := s.Create(1, 1, 1, oneVoter, 1, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	fs.before = func(op, path string) error {
		if op == "remove" {
			return errInjected
		}
		return nil
	}
	if err := sink.Cancel(); !errors.Is(err, errInjected) {
		t.Errorf("Cancel = %v", err)
	}
	fs.before = func(op, path string) error { return nil }
	if _, err := putSnapshot(s, 2); err != nil {
		t.Fatal(err)
	}
	if err := checkClean(fs, 1); err != nil {
		t.Error(err)
	}
}

// A write that failed spoils the snapshot, whatever the writer makes of it.
func TestFileSnapshotFailedWriteFailsClose(t *testing.T) {
	fs := newCrashFS()
	s, err := openFileSnapshotStore(fs, "/data/node", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	sink, err := s.Create(1, 1, 1, oneVoter, 1, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	full := true
	fs.before = func(op, path string) error {
		if op == "write" && full {
			full = false
			return errInjected
		}
		return nil
	}
	_, _ = sink.Write(make([]byte, 2*stateBuffer)) // may not know yet
	for range 2 {
		if err := sink.Close(); !errors.Is(err, errInjected) {
			t.Errorf("Close = %v", err)
		}
	}
	if err := errors.Join(checkSnapshots(s, 0), checkClean(fs, 0)); err != nil {
		t.Error(err)
	}
}

func TestFileSnapshotOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openSnapshots(t, t.TempDir(), 3)
		for _, id := range []entryID{{5, 2}, {9, 1}, {5, 2}, {7, 2}} {
			sink, err := s.Create(1, id.index, id.term, oneVoter, 1, addrTransport{})
			if err != nil {
				t.Fatal(err)
			}
			if err := sink.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, meta := range list {
			got = append(got, meta.ID)
		}
		// A greater term is newer, whatever its index.
		want := []string{"2-7-946684803000", "2-5-946684802000", "2-5-946684800000"}
		if !slices.Equal(got, want) {
			t.Errorf("listed %v, want %v", got, want)
		}
	})
}
