package main

import (
	"fmt"
	"slices"
	"testing"
)

func TestCasesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		if seen[c.name()] {
			t.Errorf("%s is there twice", c.name())
		}
		seen[c.name()] = true
	}
}

// Every figure has something to be compared with, and the table of a group compares
// with the same in every row.
func TestFirstEntrantIsTheBaseline(t *testing.T) {
	for _, c := range allCases() {
		first := c.entrants[0]
		if first.peer != "upstream" || first.store != "bolt" && c.group != "write/mem" {
			t.Errorf("%s is compared with %v", c.name(), first)
		}
	}
}

func TestPlan(t *testing.T) {
	a, b := entrant{peer: "a", store: "bolt"}, entrant{peer: "b", store: "bolt"}
	c := entrant{peer: "c", store: "bolt"}
	one, two := workload{name: "one"}, workload{name: "two"}
	cases := []testCase{
		{"x", "1", one, []entrant{a, b}},
		{"y", "1", one, []entrant{a, c}},
		{"x", "2", two, []entrant{a, b}},
		{"z", "", one, []entrant{b}}, // has been measured
	}
	for round, want := range map[int]string{
		1: "[a1 b1 c1 a2 b2]", 2: "[b1 c1 a1 b2 a2]", 3: "[c1 a1 b1 a2 b2]", 4: "[a1 b1 c1 b2 a2]",
	} {
		var got []string
		for _, m := range plan(cases, round) {
			load := map[string]string{"-workload one -store bolt": "1", "-workload two -store bolt": "2"}[m.args]
			got = append(got, m.peer+load)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("round %d: %v, want %s", round, got, want)
		}
	}
}

func TestShortened(t *testing.T) {
	all := allCases()
	short := shortened(all)
	if slices.EqualFunc(all, short, func(a, b testCase) bool { return a.load == b.load }) {
		t.Error("nothing is shorter")
	}
	for i, c := range short {
		if c.name() != all[i].name() || c.load.entries > 10_000 || c.load.size > 4*mib {
			t.Errorf("%s is %+v", c.name(), c.load)
		}
	}
}
