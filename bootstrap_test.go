package raft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// offline is the disk of a node that is not running. Every operation on any of its
// stores asks before.
type offline struct {
	*InmemStore
	files  *crashFS
	before func(op string) error
}

func newOffline() *offline {
	d := &offline{InmemStore: NewInmemStore()}
	d.restart(newCrashFS())
	return d
}

// restart lets operations succeed again, on what is left of the files.
func (d *offline) restart(files *crashFS) {
	d.before = func(op string) error { return nil }
	d.files = files
	d.files.before = func(op, path string) error { return d.before(op + " " + filepath.Base(path)) }
}

func (d *offline) snaps(t *testing.T) SnapshotStore {
	t.Helper()
	s, err := openFileSnapshotStore(d.files, "/data/node", 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *offline) FirstIndex() (uint64, error) {
	if err := d.before("FirstIndex"); err != nil {
		return 0, err
	}
	return d.InmemStore.FirstIndex()
}

func (d *offline) LastIndex() (uint64, error) {
	if err := d.before("LastIndex"); err != nil {
		return 0, err
	}
	return d.InmemStore.LastIndex()
}

func (d *offline) GetLog(index uint64, log *Log) error {
	if err := d.before("GetLog"); err != nil {
		return err
	}
	return d.InmemStore.GetLog(index, log)
}

func (d *offline) StoreLog(log *Log) error {
	if err := d.before("StoreLog"); err != nil {
		return err
	}
	return d.InmemStore.StoreLog(log)
}

// DeleteRange is not atomic: it deletes entry by entry.
func (d *offline) DeleteRange(min, max uint64) error {
	for ; min <= max; min++ {
		if err := d.before("DeleteRange"); err != nil {
			return err
		}
		if err := d.InmemStore.DeleteRange(min, min); err != nil {
			return err
		}
	}
	return nil
}

func (d *offline) GetUint64(key []byte) (uint64, error) {
	if err := d.before("GetUint64"); err != nil {
		return 0, err
	}
	return d.InmemStore.GetUint64(key)
}

func (d *offline) SetAll(values []StableValue) error {
	if err := d.before("SetAll"); err != nil {
		return err
	}
	return d.InmemStore.SetAll(values)
}

// entry makes an entry of a log: "cmd" is a command, "(a b-)" a configuration, "noop"
// what it says.
func entry(index, term uint64, text string) *Log {
	e := &Log{Index: index, Term: term, Type: LogCommand, Data: []byte(text)}
	switch {
	case strings.HasPrefix(text, "("):
		e.Type, e.Data = LogConfiguration, EncodeConfiguration(members(strings.Trim(text, "()")))
	case text == "noop":
		e.Type, e.Data = LogNoop, nil
	}
	return e
}

// write stores consecutive entries, and a term that fits them.
func (d *offline) write(t *testing.T, first, term uint64, entries ...string) {
	t.Helper()
	for i, text := range entries {
		if err := d.StoreLog(entry(first+uint64(i), term, text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetUint64(keyCurrentTerm, term); err != nil {
		t.Fatal(err)
	}
}

// snapshot stores a snapshot of a linesFSM.
func (d *offline) snapshot(t *testing.T, index, term uint64, configuration string, configurationIndex uint64, lines ...string) {
	t.Helper()
	sink, err := d.snaps(t).Create(1, index, term, members(configuration), configurationIndex, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	if err := (linesSnapshot{lines: lines}).Persist(sink); err != nil {
		t.Fatal(err)
	}
}

// linesFSM keeps its commands. It is a BatchingFSM that must not be used as one.
type linesFSM struct {
	lines    []string
	released int
	failure  error // of Snapshot and Persist
}

func (f *linesFSM) Apply(l *Log) interface{} {
	if l.Type != LogCommand {
		panic("Apply of " + l.Type.String())
	}
	f.lines = append(f.lines, string(l.Data))
	return nil
}

func (f *linesFSM) ApplyBatch([]*Log) []interface{} { panic("ApplyBatch") }

func (f *linesFSM) Snapshot() (FSMSnapshot, error) {
	return linesSnapshot{f.lines, &f.released, f.failure}, nil
}

func (f *linesFSM) Restore(rc io.ReadCloser) error {
	buf, err := io.ReadAll(rc)
	f.lines = strings.Fields(string(buf))
	return errors.Join(err, rc.Close())
}

type linesSnapshot struct {
	lines    []string
	released *int
	failure  error
}

func (s linesSnapshot) Persist(sink SnapshotSink) error {
	if _, err := io.WriteString(sink, strings.Join(s.lines, " ")); err != nil {
		return err
	}
	if s.failure != nil {
		return s.failure
	}
	return sink.Close()
}

func (s linesSnapshot) Release() { *s.released++ }

func testConfig() *Config {
	c := DefaultConfig()
	c.LocalID = "a"
	c.Logger = hclog.NewNullLogger()
	return c
}

func (d *offline) plan(t *testing.T) (string, error) {
	t.Helper()
	p, err := PlanRecovery(d, d, d.snaps(t), addrTransport{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("term %d, last %d@%d, snapshot %d, %d entries, (%s) of %d", p.CurrentTerm, p.LastIndex, p.LastTerm,
		p.SnapshotIndex, p.Entries, memberText(p.Configuration), p.ConfigurationIndex), nil
}

func (d *offline) mustPlan(t *testing.T) string {
	t.Helper()
	plan, err := d.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestBootstrapCluster(t *testing.T) {
	for version, want := range map[ProtocolVersion]LogType{1: LogRemovePeerDeprecated, 2: LogRemovePeerDeprecated, 3: LogConfiguration} {
		d, conf := newOffline(), testConfig()
		conf.ProtocolVersion = version
		if err := BootstrapCluster(conf, d, d, d.snaps(t), addrTransport{}, members("A B")); err != nil {
			t.Fatal(err)
		}
		if got, want := d.mustPlan(t), "term 1, last 1@1, snapshot 0, 1 entries, (A B) of 1"; got != want {
			t.Errorf("version %d: %s, want %s", version, got, want)
		}
		var e Log
		if err := d.GetLog(1, &e); err != nil || e.Type != want || !e.AppendedAt.IsZero() {
			t.Errorf("version %d: entry %+v, %v", version, e, err)
		}
		err := BootstrapCluster(conf, d, d, d.snaps(t), addrTransport{}, members("A B"))
		if err != ErrCantBootstrap {
			t.Errorf("version %d: again: %v", version, err)
		}
	}
}

// A crash between the two writes does no harm: the bootstrap is repeated, before the node
// runs or while it does.
func TestBootstrapInterrupted(t *testing.T) {
	d := newOffline()
	d.before = failOn("StoreLog")
	if err := BootstrapCluster(testConfig(), d, d, d.snaps(t), addrTransport{}, members("A")); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	d.before = failOn("nothing")
	if term, err := d.GetUint64(keyCurrentTerm); term != bootstrapTerm || err != nil {
		t.Fatalf("term %d, %v", term, err)
	}
	if err := BootstrapCluster(testConfig(), d, d, d.snaps(t), addrTransport{}, members("A")); err != nil {
		t.Error(err)
	}
	if got, want := d.mustPlan(t), "term 1, last 1@1, snapshot 0, 1 entries, (A) of 1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBootstrapClusterFails(t *testing.T) {
	for _, tt := range []struct {
		servers, failing, want string
	}{
		{"b-", "", "need at least one voter in configuration: {[{Nonvoter b B}]}"},
		{"a", "GetUint64", "failed to check for existing state: failed to read current term: injected"},
		{"a", "LastIndex", "failed to check for existing state: failed to get last log index: injected"},
		{"a", "readdir snapshots", "failed to check for existing state: failed to list snapshots: injected"},
		{"a", "SetAll", "failed to save current term: injected"},
		{"a", "StoreLog", "failed to append configuration entry to log: injected"},
	} {
		d := newOffline()
		snaps := d.snaps(t)
		d.before = failOn(tt.failing)
		err := BootstrapCluster(testConfig(), d, d, snaps, addrTransport{}, members(tt.servers))
		if err == nil || err.Error() != tt.want || tt.failing != "" && !errors.Is(err, errInjected) {
			t.Errorf("%s fails: %v, want %q", tt.failing, err, tt.want)
		}
		if last, err := d.InmemStore.LastIndex(); last != 0 || err != nil {
			t.Errorf("%s fails: last index is %d, %v", tt.failing, last, err)
		}
	}
	d := newOffline()
	if err := BootstrapCluster(DefaultConfig(), d, d, d.snaps(t), addrTransport{}, members("a")); err == nil || err.Error() != "LocalID cannot be empty" {
		t.Errorf("invalid Config: %v", err)
	}
}

func failOn(failing string) func(op string) error {
	return func(op string) error {
		if op == failing {
			return errInjected
		}
		return nil
	}
}

func TestHasExistingState(t *testing.T) {
	for _, tt := range []struct {
		what string
		make func(t *testing.T, d *offline)
		want bool
	}{
		{"nothing", func(t *testing.T, d *offline) {}, false},
		{"a term", func(t *testing.T, d *offline) { d.write(t, 1, 2) }, true},
		{"the term of a bootstrap that was interrupted", func(t *testing.T, d *offline) { d.write(t, 1, 1) }, false},
		{"an entry", func(t *testing.T, d *offline) { d.write(t, 1, 0, "x") }, true},
		{"a snapshot", func(t *testing.T, d *offline) { d.snapshot(t, 1, 1, "a", 1) }, true},
	} {
		d := newOffline()
		tt.make(t, d)
		if got, err := HasExistingState(d, d, d.snaps(t)); got != tt.want || err != nil {
			t.Errorf("%s: %v, %v", tt.what, got, err)
		}
	}
}

// histories are states of a node's stores, with what recovery would start from and the
// state of the FSM there.
var histories = []struct {
	name  string
	make  func(t *testing.T, d *offline)
	plan  string // or the error
	lines string
}{
	{"log only", func(t *testing.T, d *offline) {
		d.write(t, 1, 1, "(a b)", "x", "noop", "(a b c)", "y")
	}, "term 1, last 5@1, snapshot 0, 5 entries, (a b c) of 4", "x y"},
	{"snapshot only", func(t *testing.T, d *offline) {
		d.write(t, 1, 2)
		d.snapshot(t, 7, 2, "a b", 3, "x")
	}, "term 2, last 7@2, snapshot 7, 0 entries, (a b) of 3", "x"},
	{"snapshot and log", func(t *testing.T, d *offline) {
		d.write(t, 5, 2, "old", "old", "old")
		d.snapshot(t, 7, 2, "a b", 3, "x")
		d.write(t, 8, 3, "y", "(a c)")
	}, "term 3, last 9@3, snapshot 7, 2 entries, (a c) of 9", "x y"},
	{"log behind the snapshot", func(t *testing.T, d *offline) {
		d.write(t, 1, 2, "(a)", "old")
		d.snapshot(t, 7, 2, "a b", 3, "x")
	}, "term 2, last 7@2, snapshot 7, 0 entries, (a b) of 3", "x"},
	{"log compacted up to the snapshot", func(t *testing.T, d *offline) {
		d.snapshot(t, 7, 2, "a b", 3, "x")
		d.write(t, 8, 2, "y")
	}, "term 2, last 8@2, snapshot 7, 1 entries, (a b) of 3", "x y"},
	{"a gap where a user's Restore was", func(t *testing.T, d *offline) {
		d.write(t, 1, 2, "(a)", "old")
		d.snapshot(t, 7, 2, "a b", 3, "x")
		d.write(t, 8, 2, "y")
	}, "term 2, last 8@2, snapshot 7, 1 entries, (a b) of 3", "x y"},
	// The node stopped between installing the snapshot and dropping its log (R10).
	{"log contradicts the snapshot", func(t *testing.T, d *offline) {
		d.write(t, 5, 1, "bad", "bad", "bad", "(z)")
		d.snapshot(t, 7, 2, "a b", 3, "x")
	}, "term 1, last 7@2, snapshot 7, 0 entries, (a b) of 3", "x"},
	{"log of an older term begins above the snapshot", func(t *testing.T, d *offline) {
		d.write(t, 8, 1, "bad", "(z)")
		d.snapshot(t, 7, 2, "a b", 3, "x")
	}, "term 1, last 7@2, snapshot 7, 0 entries, (a b) of 3", "x"},
	{"newest snapshot damaged", func(t *testing.T, d *offline) {
		d.write(t, 1, 1, "(a b)", "x", "y", "z")
		d.snapshot(t, 2, 1, "a b", 1, "x")
		d.snapshot(t, 3, 1, "a b", 1, "x", "y")
		d.damage(t, "1-3-")
	}, "term 1, last 4@1, snapshot 2, 2 entries, (a b) of 1", "x y z"},
	{"all snapshots damaged", func(t *testing.T, d *offline) {
		d.write(t, 1, 1, "(a b)", "x", "y", "z")
		d.snapshot(t, 3, 1, "a b", 1, "x", "y")
		d.damage(t, "1-3-")
	}, "failed to load any existing snapshots: ", ""},
	{"gap above the snapshot", func(t *testing.T, d *offline) {
		d.snapshot(t, 7, 2, "a b", 3, "x")
		d.write(t, 9, 2, "y")
	}, "failed to get log at index 8: log not found", ""},
	{"log begins too late", func(t *testing.T, d *offline) {
		d.write(t, 2, 1, "y")
	}, "failed to get log at index 1: log not found", ""},
	{"missing entry", func(t *testing.T, d *offline) {
		d.write(t, 1, 1, "(a)", "x")
		d.write(t, 4, 1, "y")
	}, "failed to get log at index 3: log not found", ""},
	{"terms fall", func(t *testing.T, d *offline) {
		d.write(t, 1, 2, "(a)", "x")
		d.write(t, 3, 1, "y")
	}, "log at index 3 has term 1 after term 2", ""},
}

// damage changes the state of the snapshot whose name begins with prefix.
func (d *offline) damage(t *testing.T, prefix string) {
	t.Helper()
	entries, err := d.files.ReadDir("/data/node/snapshots")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		f, err := d.files.Create(filepath.Join("/data/node/snapshots", e.Name(), stateName))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("damage")); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// whole is all that a disk holds, for comparison.
func (d *offline) whole(t *testing.T) string {
	t.Helper()
	var names []string
	entries, err := d.files.ReadDir("/data/node/snapshots")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	h, err := loadHardState(d)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(names, contents(t, d.InmemStore), stateText(h))
}

func TestPlanRecovery(t *testing.T) {
	for _, tt := range histories {
		d := newOffline()
		tt.make(t, d)
		before := d.whole(t)
		got, err := d.plan(t)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.plan) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.plan)
		}
		if after := d.whole(t); after != before {
			t.Errorf("%s: changed\n%s to\n%s", tt.name, before, after)
		}
	}
}

// GetConfiguration changes neither the stores nor its Config (A2), needs no FSM, and
// does nothing to the transport: addrTransport panics if it does.
func TestGetConfiguration(t *testing.T) {
	for _, tt := range histories {
		d := newOffline()
		tt.make(t, d)
		before, conf := d.whole(t), testConfig()
		conf.Logger, conf.LogLevel = nil, "OFF"
		confBefore := *conf
		c, err := GetConfiguration(conf, nil, d, d, d.snaps(t), addrTransport{})
		got := memberText(c)
		if err != nil {
			got = err.Error()
		}
		want := tt.plan
		if _, after, ok := strings.Cut(want, "("); ok {
			want, _, _ = strings.Cut(after, ")")
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
		if *conf != confBefore {
			t.Errorf("%s: Config changed to %+v", tt.name, conf)
		}
		if after := d.whole(t); after != before {
			t.Errorf("%s: changed\n%s to\n%s", tt.name, before, after)
		}
	}
}

func TestGetConfigurationWithoutState(t *testing.T) {
	d := newOffline()
	c, err := GetConfiguration(testConfig(), nil, d, d, d.snaps(t), addrTransport{})
	if err != nil || c.Servers != nil {
		t.Errorf("got %v, %v", c, err)
	}
}

// With NoSnapshotRestoreOnStart a node starts from the newest snapshot unread, so that
// is what counts here too.
func TestGetConfigurationOfUnreadSnapshot(t *testing.T) {
	d, conf := newOffline(), testConfig()
	conf.NoSnapshotRestoreOnStart = true
	d.snapshot(t, 2, 1, "a", 1)
	d.snapshot(t, 3, 1, "a b", 3)
	d.damage(t, "1-3-")
	c, err := GetConfiguration(conf, nil, d, d, d.snaps(t), addrTransport{})
	if err != nil || memberText(c) != "a b" {
		t.Errorf("got %v, %v", c, err)
	}
}

// RecoverCluster starts from what the plan says, and leaves a snapshot and no log; or
// it fails where the plan does, and changes nothing.
func TestRecoverCluster(t *testing.T) {
	for _, tt := range histories {
		d, fsm := newOffline(), &linesFSM{}
		tt.make(t, d)
		before := d.whole(t)
		plan, planErr := d.plan(t)
		err := RecoverCluster(testConfig(), fsm, d, d, d.snaps(t), addrTransport{}, members("r s-"))
		if planErr != nil {
			want := strings.Replace(tt.plan, "failed to load", "failed to restore any of the available snapshots: failed to load", 1)
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v, want %s", tt.name, err, want)
			}
			if after := d.whole(t); after != before {
				t.Errorf("%s: changed\n%s to\n%s", tt.name, before, after)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if fsm.released != 1 {
			t.Errorf("%s: released %d times", tt.name, fsm.released)
		}
		d.checkRecovered(t, tt.name, plan, tt.lines)
	}
}

// checkRecovered checks that the stores hold what was planned, as a snapshot.
func (d *offline) checkRecovered(t *testing.T, name, plan, lines string) {
	t.Helper()
	words := strings.Split(plan, ", ")
	last, _, _ := strings.Cut(strings.TrimPrefix(words[1], "last "), "@")
	want := fmt.Sprintf("%s, %s, snapshot %s, 0 entries, (r s-) of 1", words[0], words[1], last)
	if got := d.mustPlan(t); got != want {
		t.Errorf("%s: recovered to %s, want %s", name, got, want)
	}
	if last, err := d.LastIndex(); last != 0 || err != nil {
		t.Errorf("%s: the log ends at %d, %v", name, last, err)
	}
	fsm := &linesFSM{}
	if _, err := replay(fsm, d, d.snaps(t), hclog.NewNullLogger()); err != nil || strings.Join(fsm.lines, " ") != lines {
		t.Errorf("%s: the FSM restores %v, %v, want %s", name, fsm.lines, err, lines)
	}
}

// A server that has a term and nothing else gets a snapshot that followers without
// the configuration will need.
func TestRecoverClusterOfATerm(t *testing.T) {
	d := newOffline()
	d.write(t, 1, 3)
	if err := RecoverCluster(testConfig(), &linesFSM{}, d, d, d.snaps(t), addrTransport{}, members("r s-")); err != nil {
		t.Fatal(err)
	}
	if got, want := d.mustPlan(t), "term 3, last 1@1, snapshot 1, 0 entries, (r s-) of 1"; got != want {
		t.Errorf("recovered to %s, want %s", got, want)
	}
}

func TestRecoverClusterRefuses(t *testing.T) {
	d := newOffline()
	recover := func(conf *Config, servers string) error {
		return RecoverCluster(conf, &linesFSM{}, d, d, d.snaps(t), addrTransport{}, members(servers))
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{recover(DefaultConfig(), "a"), "LocalID cannot be empty"},
		{recover(testConfig(), "a-"), "need at least one voter in configuration: {[{Nonvoter a A}]}"},
		{recover(testConfig(), "a"), "refused to recover cluster with no initial state, this is probably an operator error"},
	} {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("%v, want %q", tt.err, tt.want)
		}
	}
}

// An FSM that fails leaves everything as it was.
func TestRecoverClusterFSMFails(t *testing.T) {
	d, fsm := newOffline(), &linesFSM{failure: errInjected}
	d.write(t, 1, 1, "(a)", "x")
	snaps := d.snaps(t)
	before := d.whole(t)
	err := RecoverCluster(testConfig(), fsm, d, d, snaps, addrTransport{}, members("r"))
	if want := "failed to persist snapshot: injected"; err == nil || err.Error() != want || !errors.Is(err, errInjected) {
		t.Errorf("%v, want %q", err, want)
	}
	if after := d.whole(t); after != before || fsm.released != 1 {
		t.Errorf("released %d times, changed\n%s to\n%s", fsm.released, before, after)
	}
}

// Wherever a recovery stops, by a failure or a crash, the stores hold the old state or
// the recovered one, whole in both cases, and repeating it completes it.
func TestRecoverClusterCrash(t *testing.T) {
	const lines = "x y"
	old := "term 3, last 9@3, snapshot 7, 2 entries, (a c) of 9"
	recovered := "term 3, last 9@3, snapshot 9, 0 entries, (r s-) of 1"
	seen := make(map[string]bool)
	for limit, finished := 0, false; !finished; limit++ {
		for i, keep := range []chooser{dropAll, keepAll, keepSome(1), keepSome(2), nil} {
			d := newOffline()
			d.write(t, 5, 2, "old", "old", "old")
			d.snapshot(t, 7, 2, "a b", 3, "x")
			d.write(t, 8, 3, "y", "(a c)")
			snaps, ops := d.snaps(t), 0
			d.before = func(op string) error {
				if ops++; ops > limit {
					return errInjected
				}
				return nil
			}
			err := RecoverCluster(testConfig(), &linesFSM{}, d, d, snaps, addrTransport{}, members("r s-"))
			finished = ops <= limit
			if finished && err != nil {
				t.Fatal(err)
			}
			files := d.files
			if keep != nil {
				files = files.crash(keep)
			}
			d.restart(files)
			plan := d.mustPlan(t)
			seen[plan] = true
			if plan != old && plan != recovered || err == nil && plan != recovered {
				t.Fatalf("stopped at %d (%d) with %v: %s", limit, i, err, plan)
			}
			if first, _ := d.InmemStore.FirstIndex(); plan == old && first != 5 {
				t.Fatalf("stopped at %d (%d): the log begins at %d and is needed", limit, i, first)
			}
			if err := RecoverCluster(testConfig(), &linesFSM{}, d, d, d.snaps(t), addrTransport{}, members("r s-")); err != nil {
				t.Fatalf("stopped at %d (%d), repeated: %v", limit, i, err)
			}
			d.checkRecovered(t, fmt.Sprintf("stopped at %d (%d), repeated", limit, i), plan, lines)
		}
	}
	if !seen[old] || !seen[recovered] {
		t.Errorf("saw only %v", seen)
	}
}

// What a store fails to say is an error, with the operation that failed.
func TestRecoverClusterStoreErrors(t *testing.T) {
	for failing, want := range map[string]string{
		"GetUint64":         "failed to check for existing state: failed to read current term: injected",
		"GetLog":            "failed to get log at index 7: injected",
		"mkdir":             "failed to create snapshot: failed to make snapshot directory: injected",
		"rename":            "failed to persist snapshot: injected", // Persist closes the sink
		"FirstIndex":        "failed to get first log index: injected",
		"DeleteRange":       "log compaction failed: injected",
		"readdir snapshots": "failed to list snapshots: injected",
	} {
		d := newOffline()
		d.write(t, 7, 2, "old", "y")
		d.snapshot(t, 7, 2, "a b", 3, "x")
		snaps := d.snaps(t)
		d.before = func(op string) error {
			if op == failing || slices.Contains([]string{"mkdir", "rename"}, failing) && strings.HasPrefix(op, failing) {
				return errInjected
			}
			return nil
		}
		err := RecoverCluster(testConfig(), &linesFSM{}, d, d, snaps, addrTransport{}, members("r"))
		if err == nil || err.Error() != want || !errors.Is(err, errInjected) {
			t.Errorf("%s fails: %v, want %q", failing, err, want)
		}
	}
}
