package main

import (
	"hash/maphash"
	"maps"
)

// shardCount bounds what a write costs after a snapshot: the first write to
// each shard copies that shard, a thousandth of the keys (not of the values).
const shardCount = 1024

// A table maps keys to values and owns both. Values are immutable: a write
// replaces the slice and never changes its bytes. So freeze is a copy of 1024
// pointers, whatever the table's size.
//
// A table is not safe for concurrent use. What freeze returned is, beside any
// use of the table.
type table struct {
	seed   maphash.Seed
	shards [shardCount]shard
	keys   int
	bytes  int64 // of keys and values
	sum    digest
}

type shard struct {
	m      map[string]entry
	frozen bool // m is shared with a snapshot: copy it before the next write
}

type entry struct {
	value []byte
	sum   digest // of key and value; the table's sum contains it
}

// frozenTable is the content of a table at one moment. It never changes.
type frozenTable struct {
	shards [shardCount]map[string]entry
	keys   int
	sum    digest
}

func newTable() *table { return &table{seed: maphash.MakeSeed()} }

func (t *table) get(key string) (entry, bool) {
	e, ok := t.shard(key).m[key]
	return e, ok
}

func (t *table) put(key string, e entry) {
	t.delete(key)
	t.writable(key)[key] = e
	t.keys++
	t.bytes += int64(len(key) + len(e.value))
	t.sum.add(e.sum)
}

func (t *table) delete(key string) {
	e, ok := t.get(key)
	if !ok {
		return
	}
	delete(t.writable(key), key)
	t.keys--
	t.bytes -= int64(len(key) + len(e.value))
	t.sum.remove(e.sum)
}

// freeze returns the present content.
func (t *table) freeze() *frozenTable {
	f := &frozenTable{keys: t.keys, sum: t.sum}
	for i := range t.shards {
		f.shards[i] = t.shards[i].m
		t.shards[i].frozen = true
	}
	return f
}

func (t *table) shard(key string) *shard {
	return &t.shards[maphash.String(t.seed, key)%shardCount]
}

// writable returns the map of key's shard, which no snapshot can see.
func (t *table) writable(key string) map[string]entry {
	s := t.shard(key)
	switch {
	case s.m == nil:
		s.m = make(map[string]entry)
	case s.frozen:
		s.m = maps.Clone(s.m)
	}
	s.frozen = false
	return s.m
}
