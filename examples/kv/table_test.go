package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// content is a table's content as a plain map.
func (f *frozenTable) content() map[string]string {
	m := make(map[string]string)
	for _, shard := range f.shards {
		for key, e := range shard {
			m[key] = string(e.value)
		}
	}
	return m
}

// A random walk beside a plain map: a table does what a map does, and what was
// frozen on the way stays as it was.
func TestTableWalk(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	tab, model := newTable(), map[string]string{}
	type moment struct {
		frozen *frozenTable
		want   map[string]string
	}
	var moments []moment
	for range 5000 {
		key := fmt.Sprint("k", rnd.IntN(3000))
		switch rnd.IntN(100) {
		case 0:
			moments = append(moments, moment{tab.freeze(), maps.Clone(model)})
		case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
			tab.delete(key)
			delete(model, key)
		default:
			value := fmt.Sprint("v", rnd.IntN(10))
			tab.put(key, entry{[]byte(value), digestOf(factKey, key, []byte(value))})
			model[key] = value
		}
	}
	moments = append(moments, moment{tab.freeze(), model})

	for i, m := range moments {
		if got := m.frozen.content(); !maps.Equal(got, m.want) {
			t.Errorf("moment %d: %d keys, want %d, or their values differ", i, len(got), len(m.want))
		}
		if m.frozen.keys != len(m.want) {
			t.Errorf("moment %d: counts %d keys, want %d", i, m.frozen.keys, len(m.want))
		}
		if got, want := m.frozen.sum, sumOf(m.want); got != want {
			t.Errorf("moment %d: sum %v, want %v", i, got, want)
		}
	}
	var size int64
	for key, value := range model {
		size += int64(len(key) + len(value))
	}
	if tab.bytes != size {
		t.Errorf("counts %d bytes, want %d", tab.bytes, size)
	}
}

func sumOf(m map[string]string) (sum digest) {
	for key, value := range m {
		sum.add(digestOf(factKey, key, []byte(value)))
	}
	return sum
}
