package main

import "testing"

func TestDigestIgnoresOrder(t *testing.T) {
	facts := []digest{
		digestOf(factKey, "a", []byte("1")),
		digestOf(factKey, "b", nil),
		digestOf(factMember, "n1", []byte("127.0.0.1:1")),
	}
	var forward, backward digest
	for i := range facts {
		forward.add(facts[i])
		backward.add(facts[len(facts)-1-i])
	}
	if forward != backward {
		t.Errorf("%v in one order, %v in the other", forward, backward)
	}
	for _, f := range facts {
		forward.remove(f)
	}
	if forward != (digest{}) {
		t.Errorf("%v is left of nothing", forward)
	}
}

func TestDigestTellsFactsApart(t *testing.T) {
	facts := []struct {
		kind       byte
		key, value string
	}{
		{factKey, "ab", "c"},
		{factKey, "a", "bc"},
		{factKey, "abc", ""},
		{factKey, "", "abc"},
		{factMember, "ab", "c"},
	}
	seen := map[digest]int{}
	for i, f := range facts {
		d := digestOf(f.kind, f.key, []byte(f.value))
		if j, dup := seen[d]; dup {
			t.Errorf("%v and %v have one digest", facts[j], f)
		}
		seen[d] = i
	}
}
