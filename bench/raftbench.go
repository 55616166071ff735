// Package raftbench has benchmarks for implementations of [raft.LogStore] and
// [raft.StableStore], with the names that hashicorp/raft's package has. A store's
// own benchmark calls one:
//
//	func BenchmarkStoreLogs(b *testing.B) {
//		raftbench.StoreLogs(b, openEmptyStore(b))
//	}
//
// Each takes an empty store and leaves entries and values behind in it.
package raftbench

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

const (
	prefilled = 10_000 // entries that are there before reading is timed
	batch     = 16     // entries that StoreLogs and DeleteRange handle at a time
)

// FirstIndex measures LogStore.FirstIndex.
func FirstIndex(b *testing.B, store raft.LogStore) {
	fill(b, store)
	for b.Loop() {
		_, err := store.FirstIndex()
		check(b, err)
	}
}

// LastIndex measures LogStore.LastIndex.
func LastIndex(b *testing.B, store raft.LogStore) {
	fill(b, store)
	for b.Loop() {
		_, err := store.LastIndex()
		check(b, err)
	}
}

// GetLog measures LogStore.GetLog of entries all over the log.
func GetLog(b *testing.B, store raft.LogStore) {
	fill(b, store)
	index := uint64(1)
	for b.Loop() {
		check(b, store.GetLog(index, new(raft.Log)))
		index = (index+7919)%prefilled + 1 // a prime, so that all indexes come
	}
}

// StoreLog measures LogStore.StoreLog, an entry an operation.
func StoreLog(b *testing.B, store raft.LogStore) {
	next := uint64(1)
	for b.Loop() {
		check(b, store.StoreLog(entries(next, 1)[0]))
		next++
	}
}

// StoreLogs measures LogStore.StoreLogs, 16 entries an operation.
func StoreLogs(b *testing.B, store raft.LogStore) {
	next := uint64(1)
	for b.Loop() {
		check(b, store.StoreLogs(entries(next, batch)))
		next += batch
	}
}

// DeleteRange measures LogStore.DeleteRange of the 16 oldest entries. They are
// stored outside of the time measured.
func DeleteRange(b *testing.B, store raft.LogStore) {
	next := uint64(1)
	for b.Loop() {
		b.StopTimer()
		check(b, store.StoreLogs(entries(next, batch)))
		b.StartTimer()
		check(b, store.DeleteRange(next, next+batch-1))
		next += batch
	}
}

// Set measures StableStore.Set.
func Set(b *testing.B, store raft.StableStore) {
	i := 0
	for b.Loop() {
		check(b, store.Set(key(i), []byte("value")))
		i++
	}
}

// Get measures StableStore.Get.
func Get(b *testing.B, store raft.StableStore) {
	for i := range keys {
		check(b, store.Set(key(i), []byte("value")))
	}
	i := 0
	for b.Loop() {
		_, err := store.Get(key(i))
		check(b, err)
		i++
	}
}

// SetUint64 measures StableStore.SetUint64.
func SetUint64(b *testing.B, store raft.StableStore) {
	i := 0
	for b.Loop() {
		check(b, store.SetUint64(key(i), uint64(i)))
		i++
	}
}

// GetUint64 measures StableStore.GetUint64.
func GetUint64(b *testing.B, store raft.StableStore) {
	for i := range keys {
		check(b, store.SetUint64(key(i), uint64(i)))
	}
	i := 0
	for b.Loop() {
		_, err := store.GetUint64(key(i))
		check(b, err)
		i++
	}
}

func fill(b *testing.B, store raft.LogStore) {
	b.Helper()
	for first := uint64(1); first <= prefilled; first += 100 {
		check(b, store.StoreLogs(entries(first, 100)))
	}
}

func entries(first uint64, n int) []*raft.Log {
	logs := make([]*raft.Log, n)
	for i := range logs {
		logs[i] = &raft.Log{Index: first + uint64(i), Term: 1, Data: []byte("command")}
	}
	return logs
}

const keys = 10

func key(i int) []byte { return fmt.Appendf(nil, "key %d", i%keys) }

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
