package raft

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveLog is raftLog as a plain list, without memory bounds.
type naiveLog struct {
	terms   []uint64 // of entries 1, 2, …; those up to base are not the log's
	base    uint64   // the log's entries that are usable begin above it
	snap    uint64
	durable uint64
	entries map[uint64]*Log // those that may be in memory
}

func (n *naiveLog) last() uint64 { return uint64(len(n.terms)) }

func (n *naiveLog) term(index uint64) (uint64, bool) {
	if index < n.base || index > n.last() {
		return 0, false
	}
	return termAt(n.terms, index), true
}

// Whatever happens to a log, it answers like a plain list of its terms.
func TestRaftLogAgainstNaive(t *testing.T) {
	payload := make([]byte, 3<<20) // some entries are so large that the tail is trimmed
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 0))
		log, model := new(raftLog), &naiveLog{entries: map[uint64]*Log{}}
		large := rng.IntN(4) == 0
		var trace strings.Builder
		for range 60 {
			switch rng.IntN(8) {
			case 0, 1, 2:
				n, term := 1+rng.IntN(6), max(1, log.last.term)
				var entries []*Log
				for range n {
					term += rng.Uint64N(4) / 3
					e := &Log{Index: log.last.index + 1 + uint64(len(entries)), Term: term, Data: payload[:rng.IntN(200)]}
					if large {
						e.Data = payload
					}
					entries = append(entries, e)
					model.terms = append(model.terms, term)
					model.entries[e.Index] = e
				}
				fmt.Fprintf(&trace, " append%s", entriesString(entries))
				log.append(entries)
			case 3: // like main: only what is above the snapshot
				from := model.snap + 1 + rng.Uint64N(model.last()-model.snap+2)
				fmt.Fprintf(&trace, " truncate(%d)", from)
				log.truncate(from)
				if from <= model.last() {
					for i := from; i <= model.last(); i++ {
						delete(model.entries, i)
					}
					model.terms = model.terms[:from-1]
					model.durable = min(model.durable, from-1)
				}
			case 4:
				model.durable += rng.Uint64N(model.last() - model.durable + 1)
				fmt.Fprintf(&trace, " durable(%d)", model.durable)
				log.durable = model.durable
				log.trim()
			case 5:
				model.snap += rng.Uint64N(model.durable - model.snap + 1)
				term, _ := model.term(model.snap)
				log.snap = entryID{model.snap, term}
				to := model.base + rng.Uint64N(10)
				fmt.Fprintf(&trace, " snapshot(%v) compact(%d)", log.snap, to)
				log.compact(to)
				model.base = max(model.base, min(to, model.snap))
			case 6:
				if rng.IntN(3) > 0 {
					continue
				}
				snap := entryID{model.last() + rng.Uint64N(5) + 1, log.last.term + 1}
				fmt.Fprintf(&trace, " reset(%v)", snap)
				log.reset(snap)
				for model.last() < snap.index {
					model.terms = append(model.terms, snap.term)
				}
				model.base, model.snap, model.durable = snap.index, snap.index, snap.index
				model.entries = map[uint64]*Log{}
			case 7:
				if fmt.Fprintf(&trace, " encodings"); log.encoding == nil {
					log.keepEncodings()
				} else {
					log.dropEncodings()
				}
			}
			if err := compareLogs(log, model, rng); err != nil {
				t.Fatalf("seed %d: %v after%s", seed, err, trace.String())
			}
		}
	}
}

func compareLogs(log *raftLog, model *naiveLog, rng *rand.Rand) error {
	if log.last.index != model.last() || log.durable != model.durable || log.snap.index != model.snap || log.floor.index != model.base {
		return fmt.Errorf("log %+v, model %+v", *log, *model)
	}
	for i := range model.last() + 3 {
		got, ok := log.term(i)
		want, wantOK := model.term(i)
		if got != want || ok != wantOK {
			return fmt.Errorf("term(%d) = %d, %t, want %d, %t", i, got, ok, want, wantOK)
		}
		if log.contains(entryID{i, want}) != wantOK || log.contains(entryID{i, want + 1}) {
			return fmt.Errorf("contains is wrong at %d", i)
		}
		if log.inMemory(i) && model.entries[i] == nil {
			return fmt.Errorf("entry %d is in memory and not in the log", i)
		}
		if i > model.durable && i <= model.last() && !log.inMemory(i) {
			return fmt.Errorf("entry %d is neither durable nor in memory", i)
		}
	}
	size := 0
	for i, e := range log.tail {
		if log.encoding != nil && (len(log.wires) != len(log.tail) || log.wires[i] == nil) {
			return fmt.Errorf("entry %d has no place for its encoding", e.Index)
		}
		size += logSize(e)
	}
	if size != log.tailBytes || log.encoding == nil && len(log.wires) > 0 {
		return fmt.Errorf("tail has %d entries of %d bytes, %d encodings, counted %d bytes", len(log.tail), size, len(log.wires), log.tailBytes)
	}
	if size > tailBudget && log.tail[0].Index <= log.durable {
		return fmt.Errorf("tail from %d on has %d bytes, durable %d", log.tail[0].Index, size, log.durable)
	}
	if log.last.index == 0 {
		return nil
	}
	lo := 1 + rng.Uint64N(log.last.index)
	hi := lo + rng.Uint64N(log.last.index-lo+1)
	maxEntries, maxBytes := 1+rng.IntN(5), 1+rng.IntN(600)
	return compareRecent(log, model, lo, hi, maxEntries, maxBytes)
}

func compareRecent(log *raftLog, model *naiveLog, lo, hi uint64, maxEntries, maxBytes int) error {
	var want []*Log
	for i, size := lo, 0; log.inMemory(lo) && i <= hi && len(want) < maxEntries; i++ {
		if size += logSize(model.entries[i]); len(want) > 0 && size > maxBytes {
			break
		}
		want = append(want, model.entries[i])
	}
	got, wires := log.recent(lo, hi, maxEntries, maxBytes)
	places := len(got)
	if log.encoding == nil {
		places = 0
	}
	if !slices.Equal(got, want) || len(wires.places) != places {
		return fmt.Errorf("recent(%d, %d, %d, %d) = %s with %d encodings, want %s",
			lo, hi, maxEntries, maxBytes, entriesString(got), len(wires.places), entriesString(want))
	}
	return nil
}

// Requests hold slices of the tail; what is appended after a truncation must not
// show in them.
func TestRaftLogRequestsKeepTheirEntries(t *testing.T) {
	log := logWithTerms(t, "1 1 1 1")
	log.keepEncodings()
	held, wires := log.recent(2, 4, 10, 1<<20)
	wires.encode(held, false)
	first := wires.places[0].bytes()
	log.truncate(3)
	log.append(parseEntries(t, "3@2 4@2 5@2"))
	if got := entriesString(held); got != "[2@1 3@1 4@1]" {
		t.Errorf("a request holds %s now", got)
	}
	again, wires := log.recent(2, 5, 10, 1<<20)
	if got := entriesString(again); got != "[2@1 3@2 4@2 5@2]" {
		t.Errorf("the log has %s", got)
	}
	wires.encode(again, false)
	if got := wires.places[0].bytes(); &got[0] != &first[0] {
		t.Errorf("entry 2 was encoded again")
	}
	if got := wires.places[1].bytes(); !bytes.Equal(got, appendLog(nil, again[1], false)) {
		t.Errorf("the new entry 3 has the encoding %q of the old", got)
	}
}

// The tail holds entries up to its budget, and all that are not durable.
func TestRaftLogTrim(t *testing.T) {
	data := make([]byte, tailBudget/4)
	log := new(raftLog)
	for i := range uint64(6) {
		log.append([]*Log{{Index: i + 1, Term: 1, Data: data}})
	}
	if len(log.tail) != 6 {
		t.Fatalf("undurable entries were dropped: %d are left", len(log.tail))
	}
	for _, tt := range []struct{ durable, first uint64 }{{1, 2}, {2, 3}, {6, 4}} {
		log.durable = tt.durable
		log.trim()
		if log.tail[0].Index != tt.first {
			t.Errorf("durable through %d: tail begins at %d, want %d", tt.durable, log.tail[0].Index, tt.first)
		}
	}
}

func TestRaftLogAsserts(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*raftLog)
	}{
		{"a gap", func(l *raftLog) { l.append(parseEntries(t, "6@2")) }},
		{"a repeated entry", func(l *raftLog) { l.append(parseEntries(t, "4@2")) }},
		{"a term going back", func(l *raftLog) { l.append(parseEntries(t, "5@1")) }},
		{"truncation at the floor", func(l *raftLog) { l.truncate(2) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("was accepted")
				}
			}()
			tt.do(logWithTerms(t, "[1 1] 1 2"))
		})
	}
}

// countingStore counts reads, and fails those of one entry.
type countingStore struct {
	InmemStore
	gets   int
	broken uint64
}

var errBroken = errors.New("broken sector")

func (s *countingStore) GetLog(index uint64, log *Log) error {
	s.gets++
	if index == s.broken {
		return errBroken
	}
	return s.InmemStore.GetLog(index, log)
}

func storeWith(t *testing.T, entries []*Log) *countingStore {
	t.Helper()
	s := new(countingStore)
	if err := s.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	return s
}

// describeLog tells what matters of an opened log.
func describeLog(l *loadedLog) string {
	var b strings.Builder
	fmt.Fprintf(&b, "floor %v", l.floor)
	for _, r := range l.runs {
		fmt.Fprintf(&b, " run %d@%d", r.first, r.term)
	}
	fmt.Fprintf(&b, " last %v durable %d", l.last, l.durable)
	if l.stale {
		b.WriteString(" stale")
	}
	return b.String()
}

func TestOpenLog(t *testing.T) {
	const monotonic = true
	for _, tt := range []struct {
		name      string
		snap      string
		monotonic bool
		entries   string
		want      string
	}{
		{"empty", "0@0", false, "", "floor 0@0 last 0@0 durable 0"},
		{"only a snapshot", "5@2", false, "", "floor 5@2 last 5@2 durable 5"},
		{"no snapshot", "0@0", false, "1@1 2@1 3@3", "floor 0@0 run 1@1 run 3@3 last 3@3 durable 3"},

		{"joined", "3@2", false, "1@1 2@1 3@2 4@2 5@3", "floor 1@1 run 3@2 run 5@3 last 5@3 durable 5"},
		{"joined, compacted below", "3@2", false, "2@2 3@2 4@4", "floor 2@2 run 4@4 last 4@4 durable 4"},
		{"joined, ends with the snapshot", "3@2", false, "2@1 3@2", "floor 2@1 run 3@2 last 3@2 durable 3"},
		{"joined, begins with the snapshot", "3@2", false, "3@2 4@2", "floor 3@2 last 4@2 durable 4"},
		{"begins above the snapshot", "3@2", false, "4@2 5@3", "floor 3@2 run 5@3 last 5@3 durable 5"},
		{"begins above it in a newer term", "3@2", false, "4@5", "floor 3@2 run 4@5 last 4@5 durable 4"},

		// R10: what has another entry at the snapshot's index is not below it, and
		// not above it either.
		{"another term at the snapshot", "3@2", false, "2@1 3@1 4@4", "floor 3@2 last 3@2 durable 3 stale"},
		{"a newer term at the snapshot", "3@2", false, "2@1 3@3 4@4", "floor 3@2 last 3@2 durable 3 stale"},
		{"another term, nothing above", "3@2", false, "2@1 3@1", "floor 3@2 last 3@2 durable 3 stale"},
		{"older terms above the snapshot", "3@2", false, "4@1 5@1", "floor 3@2 last 3@2 durable 3 stale"},
		{"a stale prefix", "5@3", false, "1@1 2@1", "floor 5@3 last 5@3 durable 5"},
		{"a stale prefix that must not stay", "5@3", monotonic, "1@1 2@1", "floor 5@3 last 5@3 durable 5 stale"},
		{"a prefix through the snapshot may stay", "2@1", monotonic, "1@1 2@1", "floor 1@1 last 2@1 durable 2"},
		{"a gap at the snapshot", "3@2", false, "1@9 2@9 4@2 5@3", "floor 3@2 run 5@3 last 5@3 durable 5"},
		{"a gap below the snapshot", "5@3", false, "1@1 3@2 4@2 5@3 6@3", "floor 3@2 run 5@3 last 6@3 durable 6"},
		{"a gap within a term is left for the lane to find", "5@3", false, "1@1 3@1 4@2 5@3", "floor 1@1 run 4@2 run 5@3 last 5@3 durable 5"},

		{"a gap above the snapshot", "3@2", false, "5@2", "error: entry 4 is missing"},
		{"a gap further above", "3@2", false, "3@2 4@2 6@2", "error: entry 5 is missing"},
		{"a gap at the start", "0@0", false, "2@1 3@1", "error: entry 1 is missing"},
		{"terms going back", "3@2", false, "3@2 4@4 5@3", "error: log at index 5 has term 3 after term 4"},
		{"terms going back without a snapshot", "0@0", false, "1@4 2@3", "error: log at index 2 has term 3 after term 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			store := storeWith(t, parseEntries(t, tt.entries))
			l, err := openLog(store, parseID(t, tt.snap), tt.monotonic, addrTransport{})
			if err != nil {
				got = "error: " + err.Error()
			} else {
				got = describeLog(l)
			}
			if want, isErr := strings.CutPrefix(tt.want, "error: "); got != tt.want && !(isErr && strings.Contains(got, want)) {
				t.Errorf("openLog: %s, want %s", got, tt.want)
			}
			if after := storedIDs(t, store); after != "["+tt.entries+"]" {
				t.Errorf("openLog changed the store to %s", after)
			}
		})
	}
}

// storedIDs lists what a store holds.
func storedIDs(t *testing.T, s LogStore) string {
	t.Helper()
	var entries []*Log
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	for i := first; i <= last && last > 0; i++ {
		e := new(Log)
		if err := s.GetLog(i, e); err == nil {
			entries = append(entries, e)
		} else if !isNotFound(err) {
			t.Fatal(err)
		}
	}
	return entriesString(entries)
}

// The error of a gap is one to act upon, and can be told from others.
func TestOpenLogGapSaysWhatToDo(t *testing.T) {
	_, err := openLog(storeWith(t, parseEntries(t, "5@2 6@2")), entryID{3, 2}, false, addrTransport{})
	if !errors.Is(err, errLogGap) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"entry 4", "snapshot at 3", "last entry 6", "remove this server and add it again"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

// A store that cannot be read is no store without entries.
func TestOpenLogReportsReadErrors(t *testing.T) {
	for _, broken := range []uint64{1, 4, 8, 9, 12} { // the floor, a bisection, the snapshot, above
		s := storeWith(t, entriesOf([]uint64{1, 1, 2, 3, 3, 4, 5, 6, 6, 6, 6, 6}))
		s.broken = broken
		if l, err := openLog(s, entryID{8, 6}, false, addrTransport{}); !errors.Is(err, errBroken) {
			t.Errorf("entry %d broken: %v, %v", broken, l, err)
		}
	}
}

// An entry in the wrong place is not taken for the one asked for.
func TestOpenLogChecksIndexes(t *testing.T) {
	s := new(swappingStore)
	if err := s.StoreLogs(parseEntries(t, "1@1 2@1 3@1")); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(s, entryID{}, false, addrTransport{}); err == nil || !strings.Contains(err.Error(), "the store returned entry 3") {
		t.Errorf("error %v", err)
	}
}

type swappingStore struct{ InmemStore }

func (s *swappingStore) GetLog(index uint64, log *Log) error {
	err := s.InmemStore.GetLog(index, log)
	if index == 2 {
		log.Index = 3
	}
	return err
}

// Below the snapshot only a few entries are read, however many there are, and
// every change of term is found.
func TestOpenLogBisects(t *testing.T) {
	const entries = 20_000
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		starts := map[uint64]bool{}
		for range rng.IntN(6) {
			starts[2+rng.Uint64N(entries-1)] = true
		}
		terms, term := make([]uint64, entries), uint64(1)
		want := "floor 1@1"
		for i := range terms {
			if starts[uint64(i)+1] {
				term += 1 + rng.Uint64N(3)
				want += fmt.Sprintf(" run %d@%d", i+1, term)
			}
			terms[i] = term
		}
		want += fmt.Sprintf(" last %d@%d durable %d", entries, term, entries)
		s := storeWith(t, entriesOf(terms))
		l, err := openLog(s, entryID{entries, term}, false, addrTransport{})
		if err != nil {
			t.Fatal(err)
		}
		if got := describeLog(l); got != want {
			t.Errorf("seed %d: %s, want %s", seed, got, want)
		}
		if most := 2 + (1+len(starts))*15; s.gets > most { // 2^15 > entries
			t.Errorf("seed %d: %d changes of term took %d reads, want %d at most", seed, len(starts), s.gets, most)
		}
	}
}

// Every configuration above the snapshot is found, in the form of any version.
func TestOpenLogFindsConfigurations(t *testing.T) {
	three := Configuration{[]Server{{Voter, "a", "addr-a"}, {Voter, "b", "addr-b"}, {Nonvoter, "n", "addr-n"}}}
	peers, err := encodePeers(three, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	entries := entriesOf([]uint64{1, 1, 1, 1, 1, 1})
	for _, i := range []int{1, 2, 5} {
		entries[i].Type, entries[i].Data = LogConfiguration, EncodeConfiguration(three)
	}
	entries[3].Type, entries[3].Data = LogAddPeerDeprecated, peers
	l, err := openLog(storeWith(t, entries), entryID{2, 1}, false, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, c := range l.configs {
		got += fmt.Sprintf("%d:%d/%d ", c.index, len(c.config.voters()), len(c.config.Servers))
	}
	if want := "3:2/3 4:2/2 6:2/3 "; got != want {
		t.Errorf("configurations %s, want %s", got, want)
	}

	entries[4].Type, entries[4].Data = LogConfiguration, []byte("nonsense")
	if _, err := openLog(storeWith(t, entries), entryID{2, 1}, false, addrTransport{}); err == nil || !strings.Contains(err.Error(), "5@1") {
		t.Errorf("a configuration that cannot be read: error %v", err)
	}
}

// Terms going back behind a snapshot that the log contains are a corrupt log, not
// one that may be dropped.
func TestOpenLogJoinedTermsGoingBack(t *testing.T) {
	l, err := openLog(storeWith(t, parseEntries(t, "2@2 3@2 4@1 5@1")), entryID{3, 2}, false, addrTransport{})
	if err == nil {
		t.Errorf("opened: %s", describeLog(l))
	}
}
