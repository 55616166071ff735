package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// plainStable is a StableStore without SetAll that fails after so many writes.
type plainStable struct {
	StableStore
	writes int
}

func (s *plainStable) write(f func() error) error {
	if s.writes == 0 {
		return errInjected
	}
	s.writes--
	return f()
}

func (s *plainStable) Set(key, val []byte) error {
	return s.write(func() error { return s.StableStore.Set(key, val) })
}

func (s *plainStable) SetUint64(key []byte, val uint64) error {
	return s.write(func() error { return s.StableStore.SetUint64(key, val) })
}

func stateText(h hardState) string {
	text := fmt.Sprintf("term %d", h.term)
	if h.vote != (candidate{}) {
		text += fmt.Sprintf(" vote %s at %s", h.vote.id, h.vote.addr)
	}
	return text
}

func mustLoad(t *testing.T, s StableStore) string {
	t.Helper()
	h, err := loadHardState(s)
	if err != nil {
		t.Fatal(err)
	}
	return stateText(h)
}

// A crash between the writes loses the new vote, and never makes an older one a vote
// in the new term (S10).
func TestSaveHardStateCrash(t *testing.T) {
	forA, forB := candidate{"a", "A"}, candidate{"b", "B"}
	for _, tt := range []struct {
		before, save hardState
		want         []string // after a crash before the first write, the second, …
	}{
		{hardState{}, hardState{1, forA},
			[]string{"term 0", "term 1", "term 1", "term 1", "term 1 vote a at A"}},
		{hardState{4, forA}, hardState{5, forB},
			[]string{"term 4 vote a at A", "term 5", "term 5", "term 5", "term 5 vote b at B"}},
		{hardState{4, forA}, hardState{5, candidate{}},
			[]string{"term 4 vote a at A", "term 5"}},
		// The term was saved before, the vote follows.
		{hardState{5, candidate{}}, hardState{5, forB},
			[]string{"term 5", "term 5", "term 5", "term 5", "term 5 vote b at B"}},
		// One address, two servers: the vote is never for the wrong one (S9).
		{hardState{4, candidate{"a", "X"}}, hardState{5, candidate{"b", "X"}},
			[]string{"term 4 vote a at X", "term 5", "term 5", "term 5", "term 5 vote b at X"}},
	} {
		for writes := range tt.want {
			s := NewInmemStore()
			if err := saveHardState(s, tt.before); err != nil {
				t.Fatal(err)
			}
			err := saveHardState(&plainStable{s, writes}, tt.save)
			if done := writes == len(tt.want)-1; done != (err == nil) || !done && !errors.Is(err, errInjected) {
				t.Errorf("%s to %s, %d writes: %v", stateText(tt.before), stateText(tt.save), writes, err)
			}
			if got := mustLoad(t, s); got != tt.want[writes] {
				t.Errorf("%s to %s, %d writes: %s, want %s", stateText(tt.before), stateText(tt.save), writes, got, tt.want[writes])
			}
		}
	}
}

// A store that can write all in one step does.
func TestSaveHardStateAtOnce(t *testing.T) {
	s := NewInmemStore()
	if err := saveHardState(s, hardState{7, candidate{"a", "A"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := mustLoad(t, s), "term 7 vote a at A"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// hashicorp/raft reads the first three keys.
	addr, err1 := s.Get([]byte("LastVoteCand"))
	voteTerm, err2 := s.GetUint64([]byte("LastVoteTerm"))
	term, err3 := s.GetUint64([]byte("CurrentTerm"))
	if err := errors.Join(err1, err2, err3); err != nil || string(addr) != "A" || voteTerm != 7 || term != 7 {
		t.Errorf("stored: %q, %d, %d, %v", addr, voteTerm, term, err)
	}
}

// hashicorpVote is what hashicorp/raft writes when it votes.
func hashicorpVote(t *testing.T, s StableStore, term uint64, addr string) {
	t.Helper()
	err := errors.Join(s.SetUint64(keyCurrentTerm, term), s.SetUint64(keyLastVoteTerm, term), s.Set(keyLastVoteCand, []byte(addr)))
	if err != nil {
		t.Fatal(err)
	}
}

// Votes of hashicorp/raft are for an address, and one that follows ours makes our
// record of the ServerID worthless.
func TestLoadHardStateOfHashicorp(t *testing.T) {
	s := NewInmemStore()
	if got, want := mustLoad(t, s), "term 0"; got != want {
		t.Errorf("empty: %s", got)
	}
	hashicorpVote(t, s, 3, "A")
	if got, want := mustLoad(t, s), "term 3 vote  at A"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := saveHardState(s, hardState{4, candidate{"a", "A"}}); err != nil {
		t.Fatal(err)
	}
	hashicorpVote(t, s, 5, "A") // the same address, by now another server perhaps
	if got, want := mustLoad(t, s), "term 5 vote  at A"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// It writes a new term without a vote, too.
	if err := s.SetUint64(keyCurrentTerm, 6); err != nil {
		t.Fatal(err)
	}
	if got, want := mustLoad(t, s), "term 6"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// A vote without an address is none.
	hashicorpVote(t, s, 7, "")
	if got, want := mustLoad(t, s), "term 7"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A damaged record costs the ServerID, not the vote.
func TestLoadHardStateDamagedID(t *testing.T) {
	good := encodeVoteID(hardState{5, candidate{"a", "A"}})
	huge := binary.AppendUvarint(binary.BigEndian.AppendUint64(nil, 5), 1<<63)
	for _, rec := range [][]byte{nil, {}, good[:7], good[:8], good[:9], append([]byte{1}, good...), huge,
		encodeVoteID(hardState{4, candidate{"a", "A"}}), encodeVoteID(hardState{5, candidate{"a", "B"}})} {
		s := NewInmemStore()
		hashicorpVote(t, s, 5, "A")
		if err := s.Set(keyLastVoteID, rec); err != nil {
			t.Fatal(err)
		}
		if got, want := mustLoad(t, s), "term 5 vote  at A"; got != want {
			t.Errorf("%x: %s, want %s", rec, got, want)
		}
	}
}

// A server that was told nonsense by its disk says so: it would not stand for ever.
func TestLoadPromise(t *testing.T) {
	failed := errors.New("failed")
	saved := NewInmemStore()
	if err := savePromise(saved, time.Second); err != nil {
		t.Fatal(err)
	}
	damaged := NewInmemStore()
	if err := damaged.SetUint64(keyLeasePromise, 1<<63); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		store StableStore
		want  time.Duration
		err   string // "" for none
	}{
		{"none", NewInmemStore(), 0, ""},
		{"one", saved, time.Second, ""},
		{"a damaged one", damaged, 0, "no promise is longer than"},
		{"a store that fails", failingStable{saved, "LeasePromise", failed}, 0, "failed"},
	} {
		got, err := loadPromise(tt.store)
		if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
}

// failingStable fails to read one key.
type failingStable struct {
	StableStore
	key string
	err error
}

func (s failingStable) Get(key []byte) ([]byte, error) {
	if string(key) == s.key {
		return nil, s.err
	}
	return s.StableStore.Get(key)
}

func (s failingStable) GetUint64(key []byte) (uint64, error) {
	if string(key) == s.key {
		return 0, s.err
	}
	return s.StableStore.GetUint64(key)
}

// "not found" is an absence in all the ways in which stores say it, anything else a
// failure (D8).
func TestLoadHardStateErrors(t *testing.T) {
	for key, text := range map[string]string{
		"CurrentTerm":  "failed to load current term: injected",
		"LastVoteTerm": "failed to load last vote term: injected",
		"LastVoteCand": "failed to load last vote candidate: injected",
		"LastVoteID":   "failed to load last vote ID: injected",
	} {
		s := NewInmemStore()
		if err := saveHardState(s, hardState{5, candidate{"a", "A"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := loadHardState(failingStable{s, key, errInjected}); err == nil || err.Error() != text || !errors.Is(err, errInjected) {
			t.Errorf("%s: %v, want %q", key, err, text)
		}
		for _, absent := range []error{nil, errors.New("not found"), fmt.Errorf("store: %w", ErrLogNotFound)} {
			h, err := loadHardState(failingStable{s, key, absent})
			if err != nil || h.vote == (candidate{"a", "A"}) {
				t.Errorf("%s absent with %v: %s, %v", key, absent, stateText(h), err)
			}
		}
	}
}

func TestCandidateIs(t *testing.T) {
	for _, tt := range []struct {
		a, b candidate
		want bool
	}{
		{candidate{"a", "A"}, candidate{"a", "A"}, true},
		{candidate{"a", "A"}, candidate{"a", "B"}, true},  // it moved
		{candidate{"a", "A"}, candidate{"b", "A"}, false}, // its address was recycled
		{candidate{"", "A"}, candidate{"a", "A"}, true},   // a record by address
		{candidate{"", "A"}, candidate{"a", "B"}, false},
	} {
		if tt.a.is(tt.b) != tt.want || tt.b.is(tt.a) != tt.want {
			t.Errorf("%+v is %+v: want %v", tt.a, tt.b, tt.want)
		}
	}
}
