package raft

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// shelf is a SnapshotStore whose snapshots, newest first, are their content, or an
// error if it begins with "!".
type shelf struct {
	SnapshotStore
	snapshots []string
	listErr   error
	open      int // readers not closed
}

func (s *shelf) List() (list []*SnapshotMeta, err error) {
	for _, content := range s.snapshots {
		list = append(list, &SnapshotMeta{Version: 1, ID: content})
	}
	return list, s.listErr
}

func (s *shelf) Open(id string) (*SnapshotMeta, io.ReadCloser, error) {
	if strings.HasPrefix(id, "!") {
		return nil, nil, errors.New("CRC mismatch")
	}
	s.open++
	return &SnapshotMeta{Version: 1, ID: id}, &countedCloser{Reader: strings.NewReader(id), open: &s.open}, nil
}

// countedCloser counts its first Close.
type countedCloser struct {
	io.Reader
	open   *int
	closed bool
}

func (c *countedCloser) Close() error {
	if !c.closed {
		c.closed = true
		*c.open--
	}
	return nil
}

func testLogger() (hclog.Logger, *bytes.Buffer) {
	var buf bytes.Buffer
	return hclog.New(&hclog.LoggerOptions{Output: &buf, Level: hclog.Debug, DisableTime: true}), &buf
}

// A snapshot that can't be opened or used is reported, and the next one used (P5).
func TestUsableSnapshot(t *testing.T) {
	unusable := errors.New("not for this FSM")
	for _, tt := range []struct {
		snapshots string
		want      string
		err       string
		errors    int // logged
	}{
		{"", "", "", 0},
		{"new old", "new", "", 0},
		{"!new old", "old", "", 1},
		{"bad old", "old", "", 1},
		{"!new bad", "", "failed to load any existing snapshots: failed to restore snapshot bad: not for this FSM", 2},
		{"bad !old", "", "failed to load any existing snapshots: failed to open snapshot !old: CRC mismatch", 2},
	} {
		for _, closes := range []bool{true, false} {
			logger, logged := testLogger()
			s := &shelf{snapshots: strings.Fields(tt.snapshots)}
			meta, err := usableSnapshot(s, logger, func(meta *SnapshotMeta, rc io.ReadCloser) error {
				if closes {
					_ = rc.Close()
				}
				if meta.ID == "bad" {
					return unusable
				}
				return nil
			})
			got, text := "", ""
			if meta != nil {
				got = meta.ID
			}
			if err != nil {
				text = err.Error()
			}
			if got != tt.want || text != tt.err || errors.Is(err, errNoUsableSnapshot) != (tt.err != "") {
				t.Errorf("%q: used %q, %v", tt.snapshots, got, err)
			}
			if n := strings.Count(logged.String(), "[ERROR]"); n != tt.errors {
				t.Errorf("%q: %d errors logged, want %d:\n%s", tt.snapshots, n, tt.errors, logged)
			}
			if s.open != 0 {
				t.Errorf("%q: %d readers are open", tt.snapshots, s.open)
			}
		}
	}
	_, err := usableSnapshot(&shelf{listErr: unusable}, hclog.NewNullLogger(), nil)
	if !errors.Is(err, unusable) || !strings.HasPrefix(err.Error(), "failed to list snapshots: ") {
		t.Errorf("List fails: %v", err)
	}
}

func TestSnapshotConfiguration(t *testing.T) {
	peers, err := encodePeers(Configuration{Servers: []Server{{Voter, "a", "addr-a"}, {Nonvoter, "b", "addr-b"}}}, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	byAddress := Configuration{Servers: []Server{{Voter, "addr-a", "addr-a"}}}
	for _, tt := range []struct {
		meta SnapshotMeta
		want configEntry
		err  string
	}{
		{SnapshotMeta{Version: 1, Index: 9, Peers: peers, Configuration: oneVoter, ConfigurationIndex: 4}, configEntry{4, oneVoter}, ""},
		{SnapshotMeta{Version: 0, Index: 9, Peers: peers}, configEntry{9, byAddress}, ""},
		{SnapshotMeta{Version: 0, Index: 9, Peers: []byte{0xff}}, configEntry{}, "failed to decode peers: "},
		{SnapshotMeta{Version: 2, Index: 9}, configEntry{}, "unsupported snapshot version 2"},
	} {
		got, err := snapshotConfiguration(&tt.meta, addrTransport{})
		if tt.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("%+v: %v, want %q", tt.meta, err, tt.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %+v, %v", tt.meta, got, err)
		}
	}
}

// restorer is an FSM that restores by calling itself.
type restorer func(io.ReadCloser) error

func (r restorer) Restore(rc io.ReadCloser) error { return r(rc) }
func (r restorer) Apply(*Log) interface{}         { return nil }
func (r restorer) Snapshot() (FSMSnapshot, error) { return nil, errors.New("not supported") }

// The FSM gets a reader that counts and gives access to the store's own, and source
// is closed whatever the FSM does.
func TestRestoreFSM(t *testing.T) {
	failure := errors.New("cannot restore")
	for _, result := range []error{nil, failure} {
		open := 1
		source := &countedCloser{Reader: strings.NewReader("content"), open: &open}
		fsm := restorer(func(rc io.ReadCloser) error {
			if got := rc.(ReadCloserWrapper).WrappedReadCloser(); got != source {
				t.Errorf("wrapped reader is %v", got)
			}
			got, err := io.ReadAll(rc)
			if string(got) != "content" || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			if n := rc.(CountingReader).Count(); n != int64(len("content")) {
				t.Errorf("counted %d bytes", n)
			}
			return result
		})
		if err := restoreFSM(fsm, &SnapshotMeta{}, source, hclog.NewNullLogger()); err != result {
			t.Errorf("restoreFSM = %v, want %v", err, result)
		}
		if open != 0 {
			t.Error("source was not closed")
		}
	}
}

// A long restore reports how far it is, every ten seconds and at the end, and leaves
// no goroutine behind: a bubble with one would never end.
func TestRestoreFSMProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logged := testLogger()
		fsm := restorer(func(rc io.ReadCloser) error {
			for range 4 {
				if _, err := io.ReadFull(rc, make([]byte, 250)); err != nil {
					return err
				}
				time.Sleep(6 * time.Second)
			}
			return nil
		})
		source := io.NopCloser(bytes.NewReader(make([]byte, 1000)))
		if err := restoreFSM(fsm, &SnapshotMeta{ID: "x", Size: 1000}, source, logger); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(logged.String()), "\n") {
			_, percent, _ := strings.Cut(line, "percent-complete=")
			got = append(got, strings.Trim(percent, `"`))
		}
		want := []string{"50.00%", "100.00%", "100.00%"} // after 10 s, 20 s, 24 s
		if !reflect.DeepEqual(got, want) {
			t.Errorf("progress %v, want %v:\n%s", got, want, logged)
		}
	})
}

func TestRestoreFSMProgressEndsWithAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func() { _ = recover() }()
		_ = restoreFSM(restorer(func(io.ReadCloser) error { panic("FSM") }), &SnapshotMeta{},
			io.NopCloser(strings.NewReader("")), hclog.NewNullLogger())
	})
}
