package rafttest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

// CheckStableStore checks an implementation of [raft.StableStore] and, if it has
// it, of its extension [raft.BatchStableStore]. Each check is a subtest of t with a
// store of its own. What Set and SetUint64 store under the same key may or may not
// be the same value: raft never does both.
//
// open opens the store in a directory, which is empty at first. It is called again
// for the same directory after the store was closed, by Close if it is an
// [io.Closer], to see what it has kept; see [Volatile] for a store in memory.
func CheckStableStore(t *testing.T, open func(dir string) (raft.StableStore, error), options ...CheckOption) {
	t.Helper()
	o := newCheckOptions(options)
	stableStoreSuite(open, o).test(t, o)
}

func stableStoreSuite(open func(dir string) (raft.StableStore, error), o *checkOptions) suite {
	return bindChecks(stableStoreChecks, func(p *probe) *stableProbe {
		return &stableProbe{newOpenStore(p, open, o), map[string][]byte{}, map[string]uint64{}}
	})
}

var stableStoreChecks = []check[*stableProbe]{
	{
		"MissingKeys",
		`a missing key gives nil and 0, and either no error or one with the text "not found"`,
		"NewRaft takes a new server for a broken one and fails",
		func(s *stableProbe) {
			for range 2 {
				s.verifyMissing("CurrentTerm")
				s.set("other", []byte("x"))
				s.setNumber("another", 7)
				s.verifyMissing("CurrentTerm")
				s.reopen()
			}
		},
	},
	{
		"Values",
		"Get returns what Set stored last, also after the store was opened again",
		"a server forgets whom it voted for and votes twice in a term: two leaders",
		func(s *stableProbe) {
			for _, value := range []string{"one", "a longer value", "short", "a longer value"} {
				s.set("LastVoteCand", []byte(value))
				s.set("other "+value, []byte(value))
				s.verifyAndReopen()
			}
		},
	},
	{
		"Numbers",
		"GetUint64 returns what SetUint64 stored last, any of 64 bits, also after the store was opened again",
		"a server's term goes back, and it votes again in a term in which it has voted: two leaders",
		func(s *stableProbe) {
			for i, n := range []uint64{1, 0, math.MaxUint64, 1 << 63, 1<<63 - 1, 255, 256, 1 << 32, 0x0102030405060708, 3} {
				s.setNumber("CurrentTerm", n)
				s.setNumber(fmt.Sprint("number ", i), n)
				s.verifyNumbers()
			}
			s.verifyAndReopen()
		},
	},
	{
		"EmptyValue",
		`an empty value reads back as empty, or as a missing key; it replaces an older value`,
		"an older vote comes back in place of none",
		func(s *stableProbe) {
			for _, empty := range [][]byte{{}, nil} {
				s.set("key", []byte("value"))
				s.set("key", empty)
				s.verifyAndReopen()
			}
		},
	},
	{
		"AnyBytes",
		"keys and values are any bytes of any length that an address may have; a key that begins like another one is another key",
		"a vote is stored for another candidate",
		func(s *stableProbe) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			s.set(string(all), all)
			s.set("key", pattern(64<<10, 1))
			for _, key := range []string{"k", "ke", "key\x00", "key\xff", "\x00", "\xff", "KEY", " key", "key/a", "../key"} {
				s.set(key, []byte("of "+key))
			}
			s.verifyAndReopen()
		},
	},
	{
		"NumberAndValueOfOneKey",
		"a number stays what it is whatever Get makes of it: the value is missing, or 8 bytes long",
		"a tool that lists the keys breaks a server's term",
		func(s *stableProbe) {
			s.setNumber("key", 7)
			got, err := s.store.Get([]byte("key"))
			if missing(len(got) == 0, err) != nil && (len(got) != 8 || err != nil) {
				s.errorf("Get of a key that SetUint64 stored returns %q, error %v", got, err)
			}
			s.verifyAndReopen()
		},
	},
	{
		"CallersBytes",
		"keys and values are the caller's again when a call returns",
		"a vote changes after it was stored",
		func(s *stableProbe) {
			key, value := []byte("key"), []byte("value")
			s.values["key"] = []byte("value")
			s.must(s.store.Set(key, value), "Set")
			copy(key, "xxx")
			copy(value, "xxxxx")
			s.verify()
			got, err := s.store.Get([]byte("key"))
			s.must(err, "Get")
			clear(got)
			s.verifyAndReopen()
		},
	},
	{
		"HardState",
		"what raft stores about terms and votes is there after the store was opened again",
		"a server votes twice in a term: two leaders",
		func(s *stableProbe) {
			for term := uint64(1); term <= 5; term++ {
				s.setNumber("CurrentTerm", term)
				s.set("LastVoteCand", fmt.Appendf(nil, "10.0.0.%d:8300", term))
				s.set("LastVoteID", fmt.Appendf(nil, "\x00\x00\x00%c server-%d", rune(term), term))
				s.setNumber("LastVoteTerm", term)
				s.reopen()
				s.verify()
			}
		},
	},
	{
		"RandomOperations",
		"whatever is stored in which order, the store has what was stored last, also after it was opened again",
		"a server's term or vote goes back",
		func(s *stableProbe) {
			rng := rand.New(rand.NewPCG(1, 0))
			for range 100 {
				key := fmt.Sprint("key ", rng.IntN(8))
				switch n := rng.IntN(10); {
				case n < 4:
					s.set("value "+key, pattern(rng.IntN(300), rng.Uint64()))
				case n < 8:
					s.setNumber("number "+key, rng.Uint64()>>rng.IntN(64))
				default:
					s.verifyAndReopen()
				}
			}
			s.verifyAndReopen()
		},
	},
	{
		"Concurrency",
		"every method may be called from several goroutines at once",
		"a vote is lost while something else is stored or read",
		(*stableProbe).checkConcurrency,
	},
	{
		"SetAll",
		"SetAll stores each value as Set would, or as SetUint64 if it has no Bytes; an empty list is no error",
		"a vote is lost, or read as something else by another version of the library",
		(*stableProbe).checkSetAll,
	},
	{
		"SetAllOrNone",
		"SetAll stores all values, or none if it fails",
		"a server has the vote of one term with the number of another, and votes twice",
		func(s *stableProbe) {
			batch := s.batch()
			s.set("key", []byte("old"))
			s.setNumber("number", 1)
			err := batch.SetAll([]raft.StableValue{
				{Key: []byte("key"), Bytes: []byte("new")},
				{Key: []byte("number"), Number: 2},
				{Key: nil, Bytes: []byte("a store may refuse an empty key")},
			})
			if err == nil {
				s.skipf("the store takes an empty key: there is nothing to make SetAll fail with")
			}
			s.verifyAndReopen()
		},
	},
}

func (s *stableProbe) checkConcurrency() {
	const rounds = 20
	s.setNumber("shared", 1)
	var writers []<-chan struct{}
	for w := range 4 {
		value, number := fmt.Sprint("value of ", w), fmt.Sprint("number of ", w)
		last := uint64(rounds - 1)
		s.values[value], s.numbers[number] = fmt.Append(nil, last), last
		writers = append(writers, s.spawn(func() {
			for n := range uint64(rounds) {
				err := errors.Join(
					s.store.Set([]byte(value), fmt.Append(nil, n)),
					s.store.SetUint64([]byte(number), n))
				got, err1 := s.store.Get([]byte(value))
				gotNumber, err2 := s.store.GetUint64([]byte(number))
				if err := errors.Join(err, err1, err2); err != nil || string(got) != fmt.Sprint(n) || gotNumber != n {
					s.errorf("beside other writers: stored %d, read %q and %d, error %v", n, got, gotNumber, err)
				}
				if n, err := s.store.GetUint64([]byte("shared")); n != 1 || err != nil {
					s.errorf("beside writers of other keys: read %d, error %v, want 1", n, err)
				}
			}
		}))
	}
	for _, done := range writers {
		<-done
	}
	s.verifyAndReopen()
}

func (s *stableProbe) checkSetAll() {
	s.must(s.batch().SetAll(nil), "SetAll(nil)")
	s.set("key", []byte("old"))
	s.setNumber("number", 1)
	for _, n := range []uint64{0, math.MaxUint64} {
		values := []raft.StableValue{
			{Key: []byte("CurrentTerm"), Number: n},
			{Key: []byte("LastVoteCand"), Bytes: []byte("10.0.0.1:8300"), Number: 99},
			{Key: []byte("LastVoteID"), Bytes: pattern(50, n)},
			{Key: []byte("LastVoteTerm"), Number: n},
			{Key: []byte("empty"), Bytes: []byte{}},
			{Key: []byte("key"), Bytes: []byte("new")},
			{Key: []byte("number"), Number: 2},
		}
		s.must(s.batch().SetAll(values), "SetAll")
		for _, v := range values {
			if v.Bytes != nil {
				s.values[string(v.Key)] = v.Bytes
			} else {
				s.numbers[string(v.Key)] = v.Number
			}
		}
		s.verifyAndReopen()
	}
}

// stableProbe is the run of a check on a stable store, and what the store should
// have.
type stableProbe struct {
	*openStore[raft.StableStore]
	values  map[string][]byte
	numbers map[string]uint64
}

func (s *stableProbe) batch() raft.BatchStableStore {
	batch, ok := s.store.(raft.BatchStableStore)
	if !ok {
		s.skipf("the store is no BatchStableStore")
	}
	return batch
}

func (s *stableProbe) set(key string, value []byte) {
	s.values[key] = bytes.Clone(value)
	s.must(s.store.Set([]byte(key), value), "Set(%q, %s)", key, shorten(value))
}

func (s *stableProbe) setNumber(key string, n uint64) {
	s.numbers[key] = n
	s.must(s.store.SetUint64([]byte(key), n), "SetUint64(%q, %d)", key, n)
}

// missing returns nil if an answer is the one for a missing key.
func missing(zero bool, err error) error {
	if err != nil && err.Error() != "not found" {
		return err
	}
	if !zero {
		return errors.New("there is a value")
	}
	return nil
}

func (s *stableProbe) verifyMissing(key string) {
	got, err := s.store.Get([]byte(key))
	if missing(len(got) == 0, err) != nil {
		s.errorf("Get of a missing key returns %q, error %v", got, err)
	}
	n, err := s.store.GetUint64([]byte(key))
	if missing(n == 0, err) != nil {
		s.errorf("GetUint64 of a missing key returns %d, error %v", n, err)
	}
}

func (s *stableProbe) verify() {
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		want := s.values[key]
		got, err := s.store.Get([]byte(key))
		if len(want) == 0 && missing(len(got) == 0, err) == nil {
			continue
		}
		if err != nil || !bytes.Equal(got, want) {
			s.errorf("Get(%s) returns %s, error %v, want %s", shorten([]byte(key)), shorten(got), err, shorten(want))
		}
	}
	s.verifyNumbers()
}

func (s *stableProbe) verifyNumbers() {
	for _, key := range slices.Sorted(maps.Keys(s.numbers)) {
		if got, err := s.store.GetUint64([]byte(key)); err != nil || got != s.numbers[key] {
			s.errorf("GetUint64(%q) returns %d, error %v, want %d", key, got, err, s.numbers[key])
		}
	}
}

func (s *stableProbe) verifyAndReopen() {
	s.verify()
	s.reopen()
	s.verify()
}
