package raft

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// tapedStore is a log store and stable store that writes down what is written to
// it, and fails from a certain write on.
type tapedStore struct {
	InmemStore
	monotonic bool
	tape      []string
	err       error          // of the writes that fail
	left      int            // writes until they fail, if err is set
	during    func(w string) // called within each write, if set
}

func (s *tapedStore) IsMonotonic() bool { return s.monotonic }

func (s *tapedStore) write(what string) error {
	if s.during != nil {
		s.during(what)
	}
	if s.err != nil && s.left == 0 {
		return s.err
	}
	s.left--
	s.tape = append(s.tape, what)
	return nil
}

func (s *tapedStore) SetAll(values []StableValue) error {
	what := fmt.Sprintf("term %d", values[0].Number)
	if len(values) > 1 {
		what += fmt.Sprintf(" vote %s", values[1].Bytes)
	}
	if err := s.write(what); err != nil {
		return err
	}
	return s.InmemStore.SetAll(values)
}

func (s *tapedStore) StoreLogs(entries []*Log) error {
	if err := s.write("store " + entriesString(entries)); err != nil {
		return err
	}
	if last, _ := s.LastIndex(); s.monotonic && last > 0 && entries[0].Index != last+1 {
		return fmt.Errorf("entry %d stored after %d", entries[0].Index, last)
	}
	return s.InmemStore.StoreLogs(entries)
}

func (s *tapedStore) DeleteRange(lo, hi uint64) error {
	if err := s.write(fmt.Sprintf("delete %d..%d", lo, hi)); err != nil {
		return err
	}
	return s.InmemStore.DeleteRange(lo, hi)
}

func (s *tapedStore) rewind() (tape string) {
	tape = strings.Join(s.tape, "; ")
	s.tape = nil
	return tape
}

// writerRig is main's part in the life of a writer; the goroutine's part is done by
// hand.
type writerRig struct {
	w     writer
	log   raftLog
	store *tapedStore
	said  []string
}

func newWriterRig(t *testing.T, disk string, monotonic bool) *writerRig {
	t.Helper()
	r := &writerRig{store: &tapedStore{monotonic: monotonic}}
	entries := parseEntries(t, disk)
	r.log.append(entries)
	r.log.durable = r.log.last.index
	if err := r.store.InmemStore.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	r.w = newWriter(r.store, r.store, nil)
	return r
}

func (r *writerRig) add(entries []*Log) {
	r.log.append(entries)
	r.w.append(entries)
}

func (r *writerRig) cut(from uint64) {
	r.log.truncate(from)
	r.w.truncateFrom(from)
}

func (r *writerRig) reset(snap entryID) {
	r.log.reset(snap)
	r.w.resetTo(snap)
}

func (r *writerRig) say(name string) {
	r.w.whenSynced(func(err error) {
		if err != nil {
			name += " failed"
		}
		r.said = append(r.said, name)
	})
}

// written does the write of the batch in flight, and what main does then.
func (r *writerRig) written() *batch {
	b := <-r.w.work
	r.w.write(b)
	r.w.finish(&r.log)
	for _, p := range b.promises {
		if b.err != nil {
			p.f(b.err)
		} else {
			p.f(nil)
		}
	}
	return b
}

// do applies an event in words and tells what followed: what was written, what was
// promised, and through where the log is durable now.
func (r *writerRig) do(t *testing.T, event string) string {
	t.Helper()
	durable := r.log.durable
	word, args, _ := strings.Cut(event, " ")
	switch word {
	case "add":
		r.add(parseEntries(t, args))
	case "cut":
		r.cut(parseUint(t, args))
	case "reset":
		r.reset(parseID(t, args))
	case "term":
		r.w.setHard(hardState{term: parseUint(t, args)})
	case "vote":
		var term uint64
		var id string
		fmt.Sscan(args, &term, &id)
		r.w.setHard(hardState{term, parseCandidate(id)})
	case "say":
		r.say(args)
	case "flush":
		r.w.flush(time.Time{}, 0)
	case "write":
		r.w.flush(time.Time{}, 0)
		if r.w.flying == nil {
			return "nothing to write"
		}
		r.written()
	case "finish": // the write that is under way ends
		r.written()
	default:
		t.Fatalf("no event: %q", event)
	}
	var got []string
	if tape := r.store.rewind(); tape != "" {
		got = append(got, tape)
	}
	if len(r.said) > 0 {
		got = append(got, "said "+strings.Join(r.said, ", "))
		r.said = nil
	}
	if r.log.durable != durable {
		got = append(got, fmt.Sprintf("durable %d", r.log.durable))
	}
	return strings.Join(got, ", ")
}

func TestWriter(t *testing.T) {
	const monotonic = true
	type step struct{ event, want string }
	for _, tt := range []struct {
		name      string
		disk      string
		monotonic bool
		steps     []step
	}{
		{"one batch, in order (R19)", "1@1 2@1 3@1", false, []step{
			{"cut 2", "durable 1"},
			{"add 2@2 3@2", ""},
			{"vote 3 a", ""},
			{"write", "term 3 vote addr-a; delete 2..3; store [2@2 3@2], durable 3"},
		}},
		{"whatever arrives during one write shares the next", "", false, []step{
			{"add 1@1", ""},
			{"flush", ""},
			{"add 2@1", ""},
			{"flush", ""}, // the writer is busy
			{"add 3@1", ""},
			{"term 2", ""},
			{"add 4@2", ""},
			{"finish", "store [1@1], durable 1"},
			{"write", "term 2; store [2@1 3@1 4@2], durable 4"},
		}},
		{"only the last of several terms is written", "", false, []step{
			{"term 2", ""},
			{"vote 3 a", ""},
			{"term 4", ""},
			{"write", "term 4"},
		}},
		{"a promise waits for what was accepted before it", "", false, []step{
			{"say nothing to wait for", "said nothing to wait for"},
			{"vote 1 a", ""},
			{"say a", ""},
			{"flush", ""},
			{"say b", ""}, // what it waits for is in flight
			{"add 1@1", ""},
			{"say c", ""},
			{"finish", "term 1 vote addr-a, said a, b"},
			{"say d", ""},
			{"write", "store [1@1], said c, d, durable 1"},
			{"say e", "said e"},
		}},

		// Truncation.
		{"pending entries that are truncated never reach the disk", "1@1", false, []step{
			{"add 2@1 3@1 4@1", ""},
			{"cut 3", ""},
			{"add 3@2", ""},
			{"write", "store [2@1 3@2], durable 3"},
		}},
		{"what is in flight is deleted by the next batch", "1@1", false, []step{
			{"add 2@1 3@1", ""},
			{"flush", ""},
			{"cut 2", ""},
			{"add 2@2", ""},
			{"finish", "store [2@1 3@1]"}, // of no use any more
			{"write", "delete 2..3; store [2@2], durable 2"},
		}},
		{"part of what is in flight is kept", "", false, []step{
			{"add 1@1 2@1 3@1", ""},
			{"flush", ""},
			{"cut 3", ""},
			{"finish", "store [1@1 2@1 3@1], durable 2"},
			{"write", "delete 3..3"},
		}},
		{"the very entry in flight comes back", "1@1 2@1", false, []step{
			{"add 3@1", ""},
			{"flush", ""},
			{"cut 2", "durable 1"},
			{"add 2@2 3@2", ""},
			{"cut 3", ""},
			{"add 3@3", ""},
			{"finish", "store [3@1]"},
			{"write", "delete 2..3; store [2@2 3@3], durable 3"},
		}},
		{"the lowest of several truncations counts", "1@1 2@1 3@1 4@1", false, []step{
			{"cut 3", "durable 2"},
			{"cut 4", ""},
			{"cut 2", "durable 1"},
			{"cut 3", ""},
			{"write", "delete 2..4"},
		}},
		{"a lower truncation drops pending entries and their truncation", "1@1 2@1 3@1", false, []step{
			{"cut 3", "durable 2"},
			{"add 3@2 4@2", ""},
			{"cut 2", "durable 1"},
			{"add 2@3", ""},
			{"write", "delete 2..3; store [2@3], durable 2"},
		}},
		{"a promise for truncated entries waits for the rest", "", false, []step{
			{"add 1@1", ""},
			{"add 2@1 3@1", ""},
			{"say a", ""},
			{"cut 2", ""},
			{"write", "store [1@1], said a, durable 1"},
		}},

		// Reset.
		{"a reset drops what is pending, and the suffix", "1@1 2@1 3@1 4@1", false, []step{
			{"add 5@1", ""},
			{"say a", ""},
			{"reset 3@2", "durable 3"},
			{"add 4@2", ""},
			{"write", "delete 3..4; store [4@2], said a, durable 4"},
		}},
		{"a reset keeps the hard state", "1@1", false, []step{
			{"vote 2 a", ""},
			{"reset 3@2", "durable 3"},
			{"write", "term 2 vote addr-a"},
		}},
		{"a truncation before a reset is part of it", "1@1 2@1 3@1", false, []step{
			{"cut 2", "durable 1"},
			{"reset 5@2", "durable 5"},
			{"add 6@2", ""},
			{"write", "store [6@2], durable 6"},
		}},
		{"a write that ends after a reset does not count below the base", "1@1", false, []step{
			{"add 2@1 3@1", ""},
			{"flush", ""},
			{"reset 5@2", "durable 5"},
			{"add 6@2", ""},
			{"finish", "store [2@1 3@1]"},
			{"write", "store [6@2], durable 6"},
		}},
		{"a write that ends after a reset does not count above the base", "1@1", false, []step{
			{"add 2@1 3@1 4@1", ""},
			{"flush", ""},
			{"reset 2@2", "durable 2"},
			{"add 3@2", ""},
			{"finish", "store [2@1 3@1 4@1]"},
			{"write", "delete 2..4; store [3@2], durable 3"},
		}},
		{"a truncation after a reset", "1@1 2@1 3@1 4@1", false, []step{
			{"reset 2@2", "durable 2"},
			{"add 3@2 4@2", ""},
			{"cut 4", ""},
			{"write", "delete 2..4; store [3@2], durable 3"},
		}},
		{"a store without gaps is emptied", "1@1 2@1 3@1", monotonic, []step{
			{"reset 2@2", "durable 2"},
			{"add 3@2", ""},
			{"write", "delete 2..3; delete 1..1; store [3@2], durable 3"},
		}},
		{"a store without gaps that ends below the snapshot is emptied", "1@1 2@1", monotonic, []step{
			{"reset 9@2", "durable 9"},
			{"add 10@2", ""},
			{"write", "delete 1..2; store [10@2], durable 10"},
		}},
		{"a reset of an empty store", "", monotonic, []step{
			{"reset 9@2", "durable 9"},
			{"add 10@2", ""},
			{"write", "store [10@2], durable 10"},
		}},
		{"a log that begins above the snapshot", "5@1 6@1", false, []step{
			{"reset 3@2", "durable 3"},
			{"write", "delete 5..6"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &writerRig{}
			if strings.HasPrefix(tt.disk, "5@") {
				r = newWriterRig(t, "", tt.monotonic)
				r.reset(entryID{4, 1})
				r.w.pending = &batch{}
				r.log.append(parseEntries(t, tt.disk))
				_ = r.store.InmemStore.StoreLogs(parseEntries(t, tt.disk))
			} else {
				r = newWriterRig(t, tt.disk, tt.monotonic)
			}
			for i, s := range tt.steps {
				if got := r.do(t, s.event); got != s.want {
					t.Fatalf("step %d, %s: %q, want %q", i, s.event, got, s.want)
				}
			}
		})
	}
}

// A batch holds 4 MiB at most, and one entry at least. The hard state goes with the
// first, and a promise with the last entry that it waits for.
func TestWriterSplits(t *testing.T) {
	sized := func(first, n uint64, size int) (entries []*Log) {
		for i := range n {
			entries = append(entries, &Log{Index: first + i, Term: 1, Data: make([]byte, size-64)})
		}
		return entries
	}
	r := newWriterRig(t, "", false)
	r.w.setHard(hardState{term: 2})
	r.say("term")
	r.add(sized(1, 4, 1<<20))
	r.say("4")
	r.add(sized(5, 3, 1<<20))
	r.say("7")
	r.add(sized(8, 1, 5<<20))
	r.say("8")
	r.add(sized(9, 1, 64))
	r.say("9")
	r.add(sized(10, 1, 4<<20))
	r.say("10")
	for i, want := range []string{
		"term 2; store [1@1 2@1 3@1 4@1], said term, 4, durable 4",
		"store [5@1 6@1 7@1], said 7, durable 7",
		"store [8@1], said 8, durable 8",
		"store [9@1], said 9, durable 9",
		"store [10@1], said 10, durable 10",
	} {
		if got := r.do(t, "write"); got != want {
			t.Fatalf("batch %d: %q, want %q", i, got, want)
		}
	}
}

// What is left of a split batch can be truncated like anything that is pending.
func TestWriterTruncatesWhatWasSplitOff(t *testing.T) {
	r := newWriterRig(t, "", false)
	for i := range uint64(6) {
		r.add([]*Log{{Index: i + 1, Term: 1, Data: make([]byte, 2<<20-64)}})
	}
	r.do(t, "flush") // 1 and 2
	r.cut(5)
	r.add(parseEntries(t, "5@2"))
	r.do(t, "finish")
	if got, want := r.do(t, "write"), "store [3@1 4@1], durable 4"; got != want {
		t.Errorf("second batch: %q, want %q", got, want)
	}
	if got, want := r.do(t, "write"), "store [5@2], durable 5"; got != want {
		t.Errorf("third batch: %q, want %q", got, want)
	}
}

// A promise for entries that were truncated, or dropped by a reset, does not wait for
// those that take their place.
func TestWriterClampsPromises(t *testing.T) {
	for _, tt := range []struct {
		name  string
		drop  func(*writerRig)
		first uint64 // entry that is added then
		want  string
	}{
		{"some entries", func(r *writerRig) { r.cut(3) }, 3, "store [1@1 2@1], said a, durable 2"},
		{"all entries", func(r *writerRig) { r.cut(1) }, 1, "store [1@2 2@2], said a, durable 2"},
		{"reset", func(r *writerRig) { r.reset(entryID{7, 2}) }, 8, "store [8@2 9@2], said a, durable 9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newWriterRig(t, "", false)
			add := func(first, term uint64) {
				for i := range uint64(3) {
					r.add([]*Log{{Index: first + i, Term: term, Data: make([]byte, 2<<20-64)}})
				}
			}
			add(1, 1)
			r.say("a")
			tt.drop(r)
			add(tt.first, 2)
			r.say("b")
			if got := r.do(t, "write"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// The hard state is durable when the writer has nothing of it left to do.
func TestWriterHardDurable(t *testing.T) {
	r := newWriterRig(t, "", false)
	for _, s := range []struct {
		event string
		want  bool
	}{
		{"add 1@1", true}, {"flush", true}, {"term 2", false}, {"finish", false},
		{"flush", false}, {"add 2@2", false}, {"finish", true}, {"flush", true},
	} {
		r.do(t, s.event)
		if got := r.w.hardDurable(); got != s.want {
			t.Errorf("after %s: hardDurable = %t", s.event, got)
		}
	}
}

func TestWriterAge(t *testing.T) {
	r := newWriterRig(t, "", false)
	start := time.Unix(100, 0)
	r.add(parseEntries(t, "1@1"))
	if got := r.w.age(start); got != 0 {
		t.Errorf("idle: age %v", got)
	}
	r.w.flush(start, 0)
	r.add(parseEntries(t, "2@1"))
	r.w.flush(start.Add(time.Second), 0)
	if got := r.w.age(start.Add(3 * time.Second)); got != 3*time.Second {
		t.Errorf("age %v, want 3s", got)
	}
	r.written()
	if got := r.w.age(start.Add(4 * time.Second)); got != 0 {
		t.Errorf("idle again: age %v", got)
	}
}

// stagingStore is a CommitTrackingLogStore that tapes what is staged.
type stagingStore struct{ *tapedStore }

func (s stagingStore) StageCommitIndex(index uint64) error {
	return s.write(fmt.Sprintf("commit %d", index))
}
func (s stagingStore) GetCommitIndex() (uint64, error) { return 0, nil }

// The commit index that is stored with entries is never above them.
func TestWriterStagesCommit(t *testing.T) {
	r := newWriterRig(t, "1@1", false)
	r.w = newWriter(r.store, r.store, stagingStore{r.store})
	for _, tt := range []struct {
		add    string
		commit uint64
		want   string
	}{
		{"2@1 3@1", 1, "commit 1; store [2@1 3@1]"},
		{"4@1 5@1", 9, "commit 5; store [4@1 5@1]"},
	} {
		r.add(parseEntries(t, tt.add))
		r.w.flush(time.Time{}, tt.commit)
		r.written()
		if got := r.store.rewind(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A batch that fails does nothing more, and says what failed (R16).
func TestWriterFailure(t *testing.T) {
	full := errors.New("no space left on device")
	for _, tt := range []struct {
		name   string
		works  int // so many writes work
		err    error
		tape   string
		failed string
		fatal  bool
	}{
		{"hard state", 0, full, "", "stable", true},
		{"delete", 1, full, "term 2", "delete 2", false},
		{"store", 2, full, "term 2; delete 2..3", "store 2", false},
		{"store, I/O error", 2, fmt.Errorf("sync: %w", syscall.EIO), "term 2; delete 2..3", "store 2", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newWriterRig(t, "1@1 2@1 3@1", false)
			r.store.err, r.store.left = tt.err, tt.works
			r.cut(2)
			r.add(parseEntries(t, "2@2"))
			r.w.setHard(hardState{term: 2})
			r.say("a")
			r.w.flush(time.Time{}, 0)
			b := r.written()
			if b.err == nil || !errors.Is(b.err, tt.err) || strings.TrimSpace(fmt.Sprint(b.err.Op, " ", idle(b.err.Index))) != tt.failed {
				t.Errorf("error %+v, want one of %s", b.err, tt.failed)
			}
			if got := r.store.rewind(); got != tt.tape || b.fatal != tt.fatal {
				t.Errorf("wrote %q, fatal %t", got, b.fatal)
			}
			if r.log.durable != 1 || fmt.Sprint(r.said) != "[a failed]" {
				t.Errorf("durable %d, said %v", r.log.durable, r.said)
			}
		})
	}
}

// idle prints an index, nothing for 0.
func idle(index uint64) string {
	if index == 0 {
		return ""
	}
	return fmt.Sprint(index)
}

// After a failure the log writes that wait are dropped with their promises; the
// hard state is not.
func TestWriterFail(t *testing.T) {
	r := newWriterRig(t, "1@1 2@1", false)
	r.cut(2)
	r.add(parseEntries(t, "2@2"))
	r.say("a")
	r.w.setHard(hardState{term: 7})
	for _, p := range r.w.fail() {
		p.f(errBroken)
	}
	if got := fmt.Sprint(r.said); got != "[a failed]" {
		t.Errorf("said %s", got)
	}
	r.said = nil
	if got := r.do(t, "write"); got != "term 7" {
		t.Errorf("then wrote %q", got)
	}
}

// A probe is stored and deleted again, after what is not durable.
func TestWriterProbe(t *testing.T) {
	r := newWriterRig(t, "1@1 2@1 3@1", false)
	r.log.durable = 1
	r.w.pending.truncate = 2
	r.w.pending.probe = &Log{Index: 2, Term: 1}
	if got, want := r.do(t, "write"), "delete 2..3; store [2@1]; delete 2..2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Compaction deletes in chunks, as large as fit into a few milliseconds.
func TestWriterCompactsInChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWriterRig(t, "", false)
		if err := r.store.InmemStore.StoreLogs(entriesOf(slices.Repeat([]uint64{1}, 1000))); err != nil {
			t.Fatal(err)
		}
		r.w.raiseCompact(900)
		r.w.raiseCompact(700) // asks for nothing new
		for _, tt := range []struct {
			takes time.Duration
			want  string
			more  bool
		}{
			{0, "delete 1..64", true},
			{3 * time.Millisecond, "delete 65..192", true},   // fast: the chunk has doubled
			{20 * time.Millisecond, "delete 193..320", true}, // neither
			{20 * time.Millisecond, "delete 321..384", true}, // slow: halved
			{0, "delete 385..448", true},                     // no less than 64
			{0, "delete 449..576", true},
			{0, "delete 577..832", true},
			{0, "delete 833..900", false}, // not past the target
			{0, "", false},
		} {
			r.store.during = func(string) { time.Sleep(tt.takes) }
			more, err := r.w.compactChunk()
			if got := r.store.rewind(); got != tt.want || more != tt.more || err != nil {
				t.Fatalf("%q, more %t, error %v; want %q, more %t", got, more, err, tt.want, tt.more)
			}
		}
	})
}

// runWriter runs the goroutine until it has reported n times.
func runWriter(r *writerRig, n int) (reports []any) {
	c, stopping := make(chan any), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.w.run(func(e any) bool { c <- e; return true }, stopping)
	}()
	for range n {
		reports = append(reports, <-c)
	}
	close(stopping)
	<-ended
	return reports
}

// A batch that arrives while a prefix is being deleted comes next.
func TestWriterCompactionMakesWay(t *testing.T) {
	r := newWriterRig(t, "", false)
	if err := r.store.InmemStore.StoreLogs(entriesOf(slices.Repeat([]uint64{1}, 500))); err != nil {
		t.Fatal(err)
	}
	r.log.reset(entryID{500, 1})
	chunks := 0
	r.store.during = func(what string) {
		if chunks++; chunks == 1 {
			r.add(parseEntries(t, "501@1"))
			r.w.flush(time.Time{}, 0)
		}
	}
	r.w.raiseCompact(400)
	runWriter(r, 1)
	if got := r.store.rewind(); !strings.HasPrefix(got, "delete 1..64; store [501@1]") {
		t.Errorf("wrote %q", got)
	}
}

// Compaction goes on by itself until it has reached its target.
func TestWriterCompactsToTheEnd(t *testing.T) {
	r := newWriterRig(t, "", false)
	if err := r.store.InmemStore.StoreLogs(entriesOf(slices.Repeat([]uint64{1}, 500))); err != nil {
		t.Fatal(err)
	}
	r.store.during = func(what string) {
		if first, _ := r.store.FirstIndex(); first > 300 {
			r.store.err = errBroken // ends the test by a report
			r.store.left = 0
		}
	}
	r.w.raiseCompact(450)
	reports := runWriter(r, 1)
	if e, ok := reports[0].(compactFailed); !ok || !errors.Is(e.err, errBroken) || e.err.Op != "delete" {
		t.Errorf("reported %v", reports[0])
	}
	if first, _ := r.store.FirstIndex(); first <= 300 {
		t.Errorf("the log begins at %d still", first)
	}
}

// A reset sets the target of compaction, down as well as up: an earlier target may
// lie within the new log.
func TestWriterResetMovesTheCompaction(t *testing.T) {
	r := newWriterRig(t, "1@1 2@1 3@1 4@1 5@1 6@1", false)
	r.w.raiseCompact(5)
	r.do(t, "reset 3@9")
	r.do(t, "add 4@9 5@9 6@9")
	r.do(t, "write")
	for more := true; more; {
		more, _ = r.w.compactChunk()
	}
	if got, want := storedIDs(t, r.store), "[4@9 5@9 6@9]"; got != want {
		t.Errorf("the store holds %s, want %s", got, want)
	}
}

// crashRun is the life of one node's log until its store dies.
type crashRun struct {
	*writerRig
	rng   *rand.Rand
	trace []string
	term  uint64
	prev  map[entryID]entryID // what each entry ever accepted was appended to
	acked map[entryID]bool    // what was said to be durable
}

var errDead = errors.New("power failure")

// step does something that main may do, at random.
func (c *crashRun) step() {
	switch c.rng.IntN(10) {
	case 0, 1, 2:
		var entries []*Log
		last := c.log.last
		for range 1 + c.rng.IntN(4) {
			id := entryID{last.index + 1, c.term}
			c.prev[id], last = last, id
			entries = append(entries, &Log{Index: id.index, Term: id.term})
		}
		c.add(entries)
		c.w.whenSynced(func(err error) { c.ack(entries, err) })
		c.trace = append(c.trace, "add "+entriesString(entries))
	case 3: // another leader's term, which may replace entries that are not committed
		c.term++
		c.w.setHard(hardState{term: c.term})
		from := c.log.snap.index + 1 + c.rng.Uint64N(c.log.last.index-c.log.snap.index+1)
		if from <= c.log.last.index {
			c.cut(from)
			c.trace = append(c.trace, fmt.Sprint("cut ", from))
		}
	case 4:
		c.installed()
	case 5: // a snapshot of our own
		if c.log.durable == c.log.snap.index {
			return
		}
		c.log.snap.index += 1 + c.rng.Uint64N(c.log.durable-c.log.snap.index)
		c.log.snap.term, _ = c.log.term(c.log.snap.index)
		c.log.compact(c.log.snap.index)
		c.w.raiseCompact(c.log.snap.index)
		c.trace = append(c.trace, "snapshot "+c.log.snap.String())
	case 6:
		c.compact()
	default:
		c.w.flush(time.Time{}, 0)
		if c.w.flying != nil && c.rng.IntN(2) == 0 {
			c.trace = append(c.trace, "write "+c.w.flying.String())
			c.written()
		}
	}
}

// installed is a snapshot of another history than ours, of an older term perhaps.
func (c *crashRun) installed() {
	snap := entryID{c.log.snap.index + 1 + c.rng.Uint64N(c.log.last.index-c.log.snap.index+3), 0}
	snap.term = c.log.snap.term + c.rng.Uint64N(c.term-c.log.snap.term+1)
	if _, ours := c.prev[snap]; ours || snap.term == 0 {
		return
	}
	c.term++
	c.w.setHard(hardState{term: c.term})
	c.reset(snap)
	c.trace = append(c.trace, "reset "+snap.String())
}

// compact is what the writer's goroutine does when no batch waits.
func (c *crashRun) compact() {
	if len(c.w.work) == 0 {
		_, _ = c.w.compactChunk()
		c.trace = append(c.trace, "compact")
	}
}

func (c *crashRun) ack(entries []*Log, err error) {
	for _, e := range entries {
		if err == nil && c.log.contains(idOf(e)) {
			c.acked[idOf(e)] = true
		}
	}
}

// check opens the log as after a crash.
func (c *crashRun) check() error {
	l, err := openLog(&c.store.InmemStore, c.log.snap, c.store.monotonic, addrTransport{})
	if err != nil {
		return err
	}
	for i := l.floor.index + 1; i <= l.last.index; i++ {
		before, _ := l.term(i - 1)
		term, _ := l.term(i)
		if want := c.prev[entryID{i, term}]; want != (entryID{i - 1, before}) {
			return fmt.Errorf("opened with %d@%d behind %d@%d, it was appended to %v", i, term, i-1, before, want)
		}
	}
	for id := range c.acked {
		if id.index > l.snap.index && c.log.contains(id) && !l.contains(id) {
			return fmt.Errorf("%v was acknowledged and is lost, opened through %v", id, l.last)
		}
	}
	return nil
}

// Wherever a crash interrupts the writes, the log that is left opens, has every
// entry that was acknowledged, and has nothing behind what it was not appended to,
// a snapshot included (R4, R10, R19, S8).
func TestWriterCrash(t *testing.T) {
	for seed := range uint64(150) {
		for works, died := 0, true; died; works++ {
			rng := rand.New(rand.NewPCG(seed, 0))
			c := &crashRun{
				writerRig: newWriterRig(t, "", seed%2 == 0), rng: rng,
				term: 1, prev: map[entryID]entryID{}, acked: map[entryID]bool{},
			}
			c.store.err, c.store.left = errDead, works
			for range 60 {
				if c.step(); c.store.left == 0 {
					break
				}
			}
			if err := c.check(); err != nil {
				t.Fatalf("seed %d, crash after %d writes: %v\nhas %s, snapshot %v\n%s",
					seed, works, err, storedIDs(t, &c.store.InmemStore), c.log.snap, strings.Join(c.trace, "\n"))
			}
			died = c.store.left == 0
		}
	}
}

// A crash in the middle of a reset leaves a prefix, which does not count, and never
// a suffix that looks as if it followed the snapshot (S8).
func TestWriterCrashInReset(t *testing.T) {
	for _, monotonic := range []bool{false, true} {
		for works := range 4 {
			r := newWriterRig(t, "1@1 2@1 3@4 4@4 5@4", monotonic)
			r.store.err, r.store.left = errDead, works
			r.reset(entryID{3, 3})
			r.add(parseEntries(t, "4@5"))
			r.w.flush(time.Time{}, 0)
			r.written()
			l, err := openLog(&r.store.InmemStore, entryID{3, 3}, monotonic, addrTransport{})
			if err != nil {
				t.Fatal(err)
			}
			if l.floor != (entryID{3, 3}) || l.last != (entryID{3, 3}) && l.last != (entryID{4, 5}) {
				t.Errorf("monotonic=%t, crash after %d writes: %s of %s", monotonic, works, describeLog(l), storedIDs(t, r.store))
			}
		}
	}
}

// The prefix is not deleted before the reset has deleted the suffix: a crash in
// between would leave a suffix that looks as if it followed the snapshot (S8).
func TestWriterDoesNotCompactBeforeReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWriterRig(t, "1@1 2@1 3@4 4@4 5@4", false)
		stopping := make(chan struct{})
		go r.w.run(func(any) bool { return true }, stopping)
		r.reset(entryID{3, 3})
		synctest.Wait() // main is in the middle of its step, or the writer was busy
		if got := r.store.rewind(); got != "" {
			t.Errorf("before the reset was handed over: %s", got)
		}
		r.w.flush(time.Time{}, 0)
		synctest.Wait()
		if got, want := r.store.rewind(), "delete 3..5; delete 1..3"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		close(stopping)
	})
}

// A vote never waits behind more than one batch.
func TestWriterVoteDoesNotWaitForAllEntries(t *testing.T) {
	r := newWriterRig(t, "", false)
	for i := range uint64(12) {
		r.add([]*Log{{Index: i + 1, Term: 1, Data: make([]byte, 1<<20-64)}})
	}
	r.do(t, "vote 2 a")
	r.w.whenHardSynced(func(err error) { r.said = append(r.said, "vote") })
	if got, want := r.do(t, "write"), "term 2 vote addr-a; store [1@1 2@1 3@1 4@1], said vote, durable 4"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
