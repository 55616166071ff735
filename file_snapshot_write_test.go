package raft

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// What is written comes back, in whatever pieces it came.
func TestStateWriter(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, 65, 128, 64 * stateBuffers, 64*stateBuffers + 1, 5000} {
		for _, piece := range []int{1, 7, 64, 1000, 5000} {
			s, err := openFileSnapshotStore(newCrashFS(), "/data/node", 1, hclog.NewNullLogger())
			must(t, err)
			s.buffer, s.flush = 64, 200
			want := goldenPattern(size)
			_, rc, err := s.Open(putState(t, s, 1, want, piece))
			must(t, err)
			got, err := io.ReadAll(rc)
			must(t, errors.Join(err, rc.Close()))
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes in pieces of %d: read %d others", size, piece, len(got))
			}
		}
	}
}

// putState writes a snapshot in pieces.
func putState(t *testing.T, s SnapshotStore, index uint64, state []byte, piece int) (id string) {
	t.Helper()
	sink, err := s.Create(1, index, 1, oneVoter, 1, addrTransport{})
	must(t, err)
	for len(state) > 0 {
		n := min(piece, len(state))
		if m, err := sink.Write(state[:n]); m != n || err != nil {
			t.Fatal(m, err)
		}
		state = state[n:]
	}
	must(t, sink.Close())
	return sink.ID()
}

// slowFile is a file that takes its time.
type slowFile struct {
	file        // nil
	t           *testing.T
	write, sync time.Duration

	mu sync.Mutex
	slowFileState
}

type slowFileState struct {
	writeErr, syncErr error // for the next one
	writes, syncs     int
	written, durable  int // bytes
	closed            bool
}

func (f *slowFile) Write(p []byte) (int, error) {
	time.Sleep(f.write)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checkOpen()
	f.writes++
	if err := f.writeErr; err != nil {
		f.writeErr = nil
		return 0, err
	}
	f.written += len(p)
	return len(p), nil
}

func (f *slowFile) Sync() error {
	durable := f.state().written
	time.Sleep(f.sync)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checkOpen()
	f.syncs++
	if err := f.syncErr; err != nil {
		f.syncErr = nil
		return err
	}
	f.durable = max(f.durable, durable)
	return nil
}

func (f *slowFile) checkOpen() {
	if f.closed {
		f.t.Error("used when it was closed")
	}
}

func (f *slowFile) state() slowFileState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slowFileState
}

func (f *slowFile) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}

// Who makes a state, the file and the disk don't wait for each other.
func TestStateWriterOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowFile{t: t, write: time.Second, sync: 3 * time.Second}
		w := newStateWriter(f, 10, 40)
		start := time.Now()
		for range 20 {
			time.Sleep(time.Second)
			if _, err := w.Write(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.finish(); err != nil {
			t.Fatal(err)
		}
		if is := f.state(); is.written != 200 || is.durable != 200 || is.syncs < 4 {
			t.Errorf("%d bytes written, %d of them durable, in %d syncs", is.written, is.durable, is.syncs)
		}
		// The last buffer, a sync that is under way, and the last one.
		if took, limit := time.Since(start), 30*time.Second; took > limit {
			t.Errorf("took %v, more than %v", took, limit)
		}
	})
}

// What fails in the background is reported, whatever succeeds later, and ends the work.
func TestStateWriterFails(t *testing.T) {
	for _, failing := range []string{"write", "sync"} {
		synctest.Test(t, func(t *testing.T) {
			f := &slowFile{t: t}
			w := newStateWriter(f, 10, 20)
			if failing == "write" {
				f.writeErr = errInjected
			} else {
				f.syncErr = errInjected
			}
			if _, err := w.Write(make([]byte, 31)); err != nil {
				t.Errorf("%s: Write = %v, before anybody could know", failing, err)
			}
			synctest.Wait()
			writes := f.state().writes
			if _, err := w.Write([]byte{1}); !errors.Is(err, errInjected) {
				t.Errorf("%s: the next Write = %v", failing, err)
			}
			if _, err := w.finish(); !errors.Is(err, errInjected) {
				t.Errorf("%s: finish = %v", failing, err)
			}
			if f.state().writes != writes {
				t.Errorf("%s: went on writing", failing)
			}
		})
	}
}

// Cancel gives up what is not written, and the file is left alone afterwards. A
// goroutine that is left would keep the bubble from ending.
func TestStateWriterCancel(t *testing.T) {
	for after := range 12 {
		synctest.Test(t, func(t *testing.T) {
			f := &slowFile{t: t, write: time.Second, sync: 5 * time.Second}
			w := newStateWriter(f, 10, 20)
			if _, err := w.Write(make([]byte, 51)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(after) * time.Second)
			writes := f.state().writes
			w.cancel()
			f.close()
			if now := f.state().writes; now > writes+1 {
				t.Errorf("after %d s: %d more writes", after, now-writes)
			}
			time.Sleep(time.Minute)
		})
	}
}

// What a reader has is written as it is, in whatever pieces it comes, behind what was
// written before.
func TestSinkReadFrom(t *testing.T) {
	for name, source := range map[string]func(io.Reader) io.Reader{
		"at once":          func(r io.Reader) io.Reader { return r },
		"byte by byte":     iotest.OneByteReader,
		"by halves":        iotest.HalfReader,
		"end with the end": iotest.DataErrReader,
	} {
		for _, size := range []int{0, 1, 63, 64, 65, 128, 64 * stateBuffers, 64*stateBuffers + 1, 5000} {
			for _, before := range []int{0, 1, 64} {
				s, err := openFileSnapshotStore(newCrashFS(), "/data/node", 1, hclog.NewNullLogger())
				must(t, err)
				s.buffer, s.flush = 64, 200
				want := goldenPattern(before + size)
				sink, err := s.Create(1, 1, 1, oneVoter, 1, addrTransport{})
				must(t, err)
				_, err = sink.Write(want[:before])
				must(t, err)
				n, err := io.Copy(sink, struct{ io.Reader }{source(bytes.NewReader(want[before:]))})
				if n != int64(size) || err != nil {
					t.Errorf("%s, %d bytes behind %d: took %d, %v", name, size, before, n, err)
				}
				must(t, sink.Close())
				meta, rc, err := s.Open(sink.ID())
				must(t, err)
				got, err := io.ReadAll(rc)
				must(t, errors.Join(err, rc.Close()))
				if !bytes.Equal(got, want) || meta.Size != int64(len(want)) {
					t.Errorf("%s, %d bytes behind %d: read %d others, %+v", name, size, before, len(got), meta)
				}
			}
		}
	}
}

// A reader's error is returned, with what came before it, and a sink that has ended
// reads nothing.
func TestSinkReadFromFails(t *testing.T) {
	s, err := openFileSnapshotStore(newCrashFS(), "/data/node", 1, hclog.NewNullLogger())
	must(t, err)
	s.buffer = 64
	sink, err := s.Create(1, 1, 1, oneVoter, 1, addrTransport{})
	must(t, err)
	source := io.MultiReader(bytes.NewReader(make([]byte, 1000)), iotest.ErrReader(errInjected), zeros{})
	if n, err := sink.(io.ReaderFrom).ReadFrom(source); n != 1000 || err != errInjected {
		t.Errorf("took %d, %v", n, err)
	}
	must(t, sink.Cancel())
	if n, err := sink.(io.ReaderFrom).ReadFrom(zeros{}); n != 0 || err != errSinkEnded {
		t.Errorf("took %d when it was cancelled, %v", n, err)
	}
}

// A failure in the background ends the reading, of a source that has no end.
func TestStateWriterReadFromFails(t *testing.T) {
	for _, failing := range []string{"write", "sync"} {
		synctest.Test(t, func(t *testing.T) {
			f := &slowFile{t: t, write: time.Second}
			if failing == "write" {
				f.writeErr = errInjected
			} else {
				f.syncErr = errInjected
			}
			w := newStateWriter(f, 10, 20)
			if _, err := w.ReadFrom(zeros{}); err != errInjected {
				t.Errorf("%s: ReadFrom = %v", failing, err)
			}
			if _, err := w.finish(); err != errInjected {
				t.Errorf("%s: finish = %v", failing, err)
			}
		})
	}
}
