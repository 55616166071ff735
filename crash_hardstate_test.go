package raft_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/internal/crashtest"
	"github.com/hashicorp/raft/raftboltdb"
)

// This file tests that a crash makes a node forget no term and no vote that it has told
// of, and remember none that it has not cast (R1, S10).

// oneByOne is a store that writes one value at a time.
type oneByOne struct{ raft.StableStore }

// voteTermFirst is a plain store with a fault: the term of a vote, which alone makes it
// valid, gets to the disk before whom it is for.
type voteTermFirst struct {
	raft.StableStore
	late []func() error
}

func (s *voteTermFirst) Set(key, val []byte) error {
	s.late = append(s.late, func() error { return s.StableStore.Set(key, val) })
	return nil
}

func (s *voteTermFirst) SetUint64(key []byte, val uint64) error {
	errs := []error{s.StableStore.SetUint64(key, val)}
	if string(key) == "LastVoteTerm" {
		for _, set := range s.late {
			errs = append(errs, set())
		}
		s.late = nil
	}
	return errors.Join(errs...)
}

// tapedBolt is a bolt store that keeps what its file was after each write.
type tapedBolt struct {
	*raftboltdb.BoltStore
	path string
	tape []crashtest.Image
}

func (s *tapedBolt) wrote(err error) error {
	image, readErr := crashtest.ReadImage(s.path)
	s.tape = append(s.tape, image)
	return errors.Join(err, readErr)
}

func (s *tapedBolt) Set(k, v []byte) error              { return s.wrote(s.BoltStore.Set(k, v)) }
func (s *tapedBolt) SetUint64(k []byte, v uint64) error { return s.wrote(s.BoltStore.SetUint64(k, v)) }
func (s *tapedBolt) SetAll(values []raft.StableValue) error {
	return s.wrote(s.BoltStore.SetAll(values))
}

// openBolt opens a bolt store quickly: what a crash leaves is worked out, not tried.
func openBolt(path string) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{Path: path, NoSync: true})
}

// hardStateIn returns the hard state in a file of this content.
func hardStateIn(path string, i crashtest.Image) (string, error) {
	if err := i.WriteFile(path); err != nil {
		return "", err
	}
	s, err := openBolt(path)
	if err != nil {
		return "", err
	}
	state, err := raft.LoadHardState(s)
	return state, errors.Join(err, s.Close())
}

// hardStateCrashes changes the hard state a few times, through what wrap puts before the
// store, and opens what crashes leave. It returns the first thing that was wrong.
func hardStateCrashes(t *testing.T, seed uint64, tally crashtest.Tally, wrap func(*tapedBolt) raft.StableStore) error {
	dir := t.TempDir()
	path := filepath.Join(dir, "raft.db")
	bolt, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	defer bolt.Close()
	tape := &tapedBolt{BoltStore: bolt, path: path}
	store := wrap(tape)
	if err := tape.wrote(nil); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, seed))
	before, term, voted := "term 0", uint64(0), true
	for range 8 {
		tape.tape = tape.tape[len(tape.tape)-1:]
		if voted || rng.IntN(2) == 0 {
			term++
		}
		vote := []raft.ServerID{"", "a", "b", "c"}[rng.IntN(4)]
		voted = vote != ""
		if err := raft.SaveHardState(store, term, vote); err != nil {
			t.Fatal(err)
		}
		after, err := raft.LoadHardState(bolt)
		if err != nil {
			t.Fatal(err)
		}
		allowed := []string{before, fmt.Sprintf("term %d", term), after}
		for i, image := range tape.tape[1:] {
			for _, c := range crashtest.BoltCrashes(tape.tape[i], image, crashtest.Limit(4), seed) {
				tally[c.Kind]++
				got, err := hardStateIn(filepath.Join(dir, "crashed.db"), c.Image)
				if err != nil || !slices.Contains(allowed, got) {
					return fmt.Errorf("from %s to %s, write %d, %s: %s, %v", before, after, i, c.Kind, got, err)
				}
			}
		}
		got, err := hardStateIn(filepath.Join(dir, "crashed.db"), tape.tape[len(tape.tape)-1])
		if err != nil || got != after {
			return fmt.Errorf("%s was acknowledged, after a crash it is %s, %v", after, got, err)
		}
		before = after
	}
	return nil
}

func TestHardStateCrash(t *testing.T) {
	for name, wrap := range map[string]func(*tapedBolt) raft.StableStore{
		"in one step":         func(s *tapedBolt) raft.StableStore { return s },
		"one value at a time": func(s *tapedBolt) raft.StableStore { return oneByOne{s} },
	} {
		t.Run(name, func(t *testing.T) {
			tally := crashtest.Tally{}
			for seed := range uint64(crashtest.Limit(4)+3) / 4 {
				if err := hardStateCrashes(t, seed, tally, wrap); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			t.Log("crash states:", tally)
		})
	}
}

func TestHardStateCrashFindsVoteTermFirst(t *testing.T) {
	err := hardStateCrashes(t, 0, crashtest.Tally{}, func(s *tapedBolt) raft.StableStore {
		return &voteTermFirst{StableStore: oneByOne{s}}
	})
	if err == nil {
		t.Error("the wrong order was not found")
	}
	t.Log(err)
}
