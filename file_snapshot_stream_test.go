package raft

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// streamSizes are sizes of states about which a stream could be wrong.
var streamSizes = []int{0, 1, streamHold - 1, streamHold, streamHold + 1, 2 * streamHold, 2*streamHold + 1, 5*streamHold + 7}

// streamReads are sizes of reads likewise.
var streamReads = []int{1 << 10, streamHold - 1, streamHold, 3 * streamHold, 1 << 20}

// readBy reads in reads of one size.
func readBy(r io.Reader, size int) (got []byte, err error) {
	for buf := make([]byte, size); err == nil; {
		var n int
		n, err = r.Read(buf)
		got = append(got, buf[:n]...)
	}
	if err == io.EOF {
		err = nil
	}
	return got, err
}

func TestStateStream(t *testing.T) {
	for _, size := range streamSizes {
		s := openSnapshots(t, t.TempDir(), 1)
		want := goldenPattern(size)
		id := putState(t, s, 1, want, 1<<20)
		for _, read := range streamReads {
			meta, rc, err := openStream(s, id)
			must(t, err)
			got, err := readBy(rc, read)
			if err != nil || !bytes.Equal(got, want) || meta.Size != int64(size) {
				t.Errorf("%d bytes by %d: %d bytes, %v, %+v", size, read, len(got), err, meta)
			}
			if n, err := rc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d bytes by %d: at the end %d, %v", size, read, n, err)
			}
			must(t, verifyStream(s, id, rc))
			must(t, rc.Close())
		}
	}
}

// Nobody gets the end of a damaged state, however it is read; and the next one to open
// it finds out first (P5).
func TestStateStreamDamaged(t *testing.T) {
	for name, damage := range map[string]func(state []byte) []byte{
		"first byte": func(b []byte) []byte { b[0]++; return b },
		"last byte":  func(b []byte) []byte { b[len(b)-1]++; return b },
		"shorter":    func(b []byte) []byte { return b[:len(b)-1] },
		"longer":     func(b []byte) []byte { return append(b, 0) },
		"empty":      func(b []byte) []byte { return nil },
	} {
		for _, size := range streamSizes[1:] {
			for _, read := range streamReads {
				s, err := openFileSnapshotStore(newCrashFS(), "/data/node", 2, hclog.NewNullLogger())
				must(t, err)
				older := putState(t, s, 1, nil, 1)
				id := putState(t, s, 2, goldenPattern(size), 1<<20)
				f, err := s.fs.Create(filepath.Join(s.dir, id, stateName))
				must(t, err)
				_, err = f.Write(damage(goldenPattern(size)))
				must(t, errors.Join(err, f.Close()))
				_, rc, err := openStream(s, id)
				must(t, err)
				got, err := readBy(rc, read)
				if err == nil || !strings.Contains(err.Error(), "CRC mismatch") {
					t.Errorf("%s of %d by %d: %v", name, size, read, err)
				}
				if held := size - len(got); held < min(size, streamHold) {
					t.Errorf("%s of %d by %d: only %d bytes were held back", name, size, read, held)
				}
				if _, again := rc.Read(make([]byte, 1)); again != err {
					t.Errorf("%s of %d by %d: %v, and then %v", name, size, read, err, again)
				}
				must(t, rc.Close())
				if _, _, err := openStream(s, id); err == nil {
					t.Errorf("%s of %d by %d: opened again", name, size, read)
				}
				meta, rc, err := openNewest(s, 2, hclog.NewNullLogger())
				must(t, err)
				must(t, rc.Close())
				if meta.ID != older {
					t.Errorf("%s of %d by %d: %s is sent", name, size, read, meta.ID)
				}
			}
		}
	}
}

// A snapshot that can't be read is opened when it can be read again.
func TestStateStreamReadFails(t *testing.T) {
	fs := newCrashFS()
	s, err := openFileSnapshotStore(fs, "/data/node", 2, hclog.NewNullLogger())
	must(t, err)
	id, err := putSnapshot(s, 1)
	must(t, err)
	fs.before = func(op, path string) error {
		if op == "read" && filepath.Base(path) == stateName {
			return errInjected
		}
		return nil
	}
	_, rc, err := openStream(s, id)
	must(t, err)
	if got, err := io.ReadAll(rc); len(got) > 0 || !errors.Is(err, errInjected) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	must(t, rc.Close())
	if _, _, err := openStream(s, id); !errors.Is(err, errInjected) {
		t.Errorf("opened, although nothing can be read: %v", err)
	}
	fs.before = func(op, path string) error { return nil }
	_, rc, err = openStream(s, id)
	must(t, err)
	got, err := io.ReadAll(rc)
	must(t, errors.Join(err, rc.Close()))
	if !bytes.Equal(got, snapshotContent(1)) || fs.open != 0 {
		t.Errorf("read %d bytes, %d files open", len(got), fs.open)
	}
}

// encrypted is a store of a user with an Open of its own.
type encrypted struct{ *FileSnapshotStore }

func (encrypted) Open(string) (*SnapshotMeta, io.ReadCloser, error) { return nil, nil, errInjected }

func TestStateStreamIsNotForOtherStores(t *testing.T) {
	s := openSnapshots(t, t.TempDir(), 1)
	id := putState(t, s, 1, nil, 1)
	if _, _, err := openStream(encrypted{s}, id); !errors.Is(err, errInjected) {
		t.Errorf("the store's own Open was not asked: %v", err)
	}
}

// An FSM need not read all of a snapshot, but is not restored from a damaged one.
func TestRestoreVerifiesWhatTheFSMLeaves(t *testing.T) {
	s := openSnapshots(t, t.TempDir(), 1)
	id := putState(t, s, 7, goldenPattern(5*streamHold), 1<<20)
	runner := newFSMRunner(restorer(func(rc io.ReadCloser) error {
		_, err := io.ReadFull(rc, make([]byte, 10))
		return errors.Join(err, rc.Close())
	}), nil, s)
	runner.logger = hclog.NewNullLogger()
	job := &restoreJob{snapshot: id, id: entryID{7, 1}}
	must(t, runner.restore(job))

	damaged := goldenPattern(5 * streamHold)
	damaged[4*streamHold]++
	must(t, os.WriteFile(filepath.Join(s.dir, id, stateName), damaged, 0o600))
	runner.last = entryID{}
	if err := runner.restore(job); err == nil || !strings.Contains(err.Error(), "CRC mismatch") || runner.last != (entryID{}) {
		t.Errorf("a damaged snapshot was restored: %v, applied %v", err, runner.last)
	}
}
