package rafttest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// faultyStable is a good stable store but for what its functions do instead.
type faultyStable struct {
	raft.StableStore
	set       func(s raft.StableStore, key, value []byte) error
	get       func(s raft.StableStore, key []byte) ([]byte, error)
	setNumber func(s raft.StableStore, key []byte, n uint64) error
	getNumber func(s raft.StableStore, key []byte) (uint64, error)
}

func (f *faultyStable) Set(key, value []byte) error {
	if f.set != nil {
		return f.set(f.StableStore, key, value)
	}
	return f.StableStore.Set(key, value)
}

func (f *faultyStable) Get(key []byte) ([]byte, error) {
	if f.get != nil {
		return f.get(f.StableStore, key)
	}
	return f.StableStore.Get(key)
}

func (f *faultyStable) SetUint64(key []byte, n uint64) error {
	if f.setNumber != nil {
		return f.setNumber(f.StableStore, key, n)
	}
	return f.StableStore.SetUint64(key, n)
}

func (f *faultyStable) GetUint64(key []byte) (uint64, error) {
	if f.getNumber != nil {
		return f.getNumber(f.StableStore, key)
	}
	return f.StableStore.GetUint64(key)
}

// faultyBatch has a SetAll of its own.
type faultyBatch struct {
	*raft.InmemStore
	setAll func(s *raft.InmemStore, values []raft.StableValue) error
}

func (f *faultyBatch) SetAll(values []raft.StableValue) error { return f.setAll(f.InmemStore, values) }

// sharedBytes keeps the slices that it is given, and gives them away.
type sharedBytes struct {
	raft.StableStore
	values map[string][]byte
}

func (s *sharedBytes) Set(key, value []byte) error {
	s.values[string(key)] = value
	return nil
}

func (s *sharedBytes) Get(key []byte) ([]byte, error) { return s.values[string(key)], nil }

func TestCheckStableStoreFindsFaults(t *testing.T) {
	var faults []fault
	use := func(name string, make func() raft.StableStore, found map[string]string) {
		faults = append(faults, fault{name: name, suite: stableStoreSuite(durable(make), &checkOptions{}), found: found})
	}
	add := func(name string, f faultyStable, found map[string]string) {
		use(name, func() raft.StableStore {
			f := f
			f.StableStore = raft.NewInmemStore()
			return &f
		}, found)
	}
	batch := func(name string, setAll func(s *raft.InmemStore, values []raft.StableValue) error, found map[string]string) {
		use(name, func() raft.StableStore { return &faultyBatch{raft.NewInmemStore(), setAll} }, found)
	}

	add("another error for a missing key", faultyStable{get: func(s raft.StableStore, key []byte) ([]byte, error) {
		value, err := s.Get(key)
		if err != nil {
			return nil, errors.New("no such key")
		}
		return value, nil
	}}, map[string]string{"MissingKeys": "no such key"})
	add("a missing number is not 0", faultyStable{getNumber: func(s raft.StableStore, key []byte) (uint64, error) {
		n, err := s.GetUint64(key)
		return max(n, 1), err
	}}, map[string]string{"MissingKeys": "returns 1", "Numbers": "returns 1, error <nil>, want 0"})
	add("a value is not replaced", faultyStable{set: func(s raft.StableStore, key, value []byte) error {
		if _, err := s.Get(key); err == nil {
			return nil
		}
		return s.Set(key, value)
	}}, map[string]string{"Values": `Get("LastVoteCand") returns "one"`, "EmptyValue": `returns "value"`, "RandomOperations": "Get(", "Concurrency": "read \"0\""})
	add("a shorter value replaces the beginning", faultyStable{set: func(s raft.StableStore, key, value []byte) error {
		old, _ := s.Get(key)
		return s.Set(key, append(bytes.Clone(value), old[min(len(old), len(value)):]...))
	}}, map[string]string{"Values": `"shortger value"`, "EmptyValue": `returns "value"`})
	add("numbers have 63 bits", faultyStable{setNumber: func(s raft.StableStore, key []byte, n uint64) error {
		return s.SetUint64(key, n&^(1<<63))
	}}, map[string]string{"Numbers": "want 18446744073709551615"})
	add("the number 0 is not stored", faultyStable{setNumber: func(s raft.StableStore, key []byte, n uint64) error {
		if n == 0 {
			return nil
		}
		return s.SetUint64(key, n)
	}}, map[string]string{"Numbers": "returns 1, error <nil>, want 0"})
	add("a key ends at a zero byte", faultyStable{set: func(s raft.StableStore, key, value []byte) error {
		key, _, _ = bytes.Cut(key, []byte{0})
		return s.Set(key, value)
	}}, map[string]string{"AnyBytes": "not found"})
	add("values of up to 1 KiB", faultyStable{set: func(s raft.StableStore, key, value []byte) error {
		return s.Set(key, value[:min(len(value), 1024)])
	}}, map[string]string{"AnyBytes": "(1024 bytes), error <nil>, want"})
	add("a number is something else as a value", faultyStable{setNumber: func(s raft.StableStore, key []byte, n uint64) error {
		return errors.Join(s.SetUint64(key, n), s.Set(key, binary.AppendUvarint(nil, n)))
	}}, map[string]string{"NumberAndValueOfOneKey": `returns "\a"`})
	use("bytes are shared", func() raft.StableStore { return &sharedBytes{raft.NewInmemStore(), map[string][]byte{}} },
		map[string]string{"CallersBytes": `returns "xxxxx"`})
	add("a panic", faultyStable{get: func(raft.StableStore, []byte) ([]byte, error) { panic("oops") }}, map[string]string{"Concurrency": "panic: oops"})
	faults = append(faults, fault{
		name:  "nothing survives",
		suite: stableStoreSuite(func(string) (raft.StableStore, error) { return raft.NewInmemStore(), nil }, &checkOptions{}),
		found: map[string]string{"Values": "not found", "Numbers": "returns 0", "HardState": "returns 0", "RandomOperations": "want"},
	})

	batch("an empty SetAll is an error", func(s *raft.InmemStore, values []raft.StableValue) error {
		if len(values) == 0 {
			return errFault
		}
		return s.SetAll(values)
	}, map[string]string{"SetAll": "SetAll(nil): no, thanks"})
	batch("SetAll takes an empty value for a number", func(s *raft.InmemStore, values []raft.StableValue) error {
		for _, v := range values {
			var err error
			if len(v.Bytes) > 0 {
				err = s.Set(v.Key, v.Bytes)
			} else {
				err = s.Set(v.Key, binary.BigEndian.AppendUint64(nil, v.Number))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, map[string]string{"SetAll": `Get("empty") returns "\x00`})
	batch("SetAll loses the last value", func(s *raft.InmemStore, values []raft.StableValue) error {
		return s.SetAll(values[:max(len(values)-1, 0)])
	}, map[string]string{"SetAll": `GetUint64("number") returns 1`})
	batch("SetAll fails in the middle", func(s *raft.InmemStore, values []raft.StableValue) error {
		for _, v := range values {
			if len(v.Key) == 0 {
				return errFault
			}
			_ = s.SetAll([]raft.StableValue{v})
		}
		return nil
	}, map[string]string{"SetAllOrNone": `Get("key") returns "new"`})
	testFaults(t, faults)
}
