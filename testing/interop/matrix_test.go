package main

import (
	"slices"
	"testing"
)

func TestRequired(t *testing.T) {
	const a, b = peerPrefix + "1.0.0", noPreVotes
	all := required([]string{a, b}, false)
	seen := map[cell]bool{}
	for _, x := range all {
		if seen[x] {
			t.Errorf("%v: two scenarios have one name", x)
		}
		seen[x] = true
	}
	for x := range seen {
		oneWay := x.scenario == rollingUpgrade || x.scenario == rollingDowngrade
		if back := (cell{x.scenario, x.to, x.from}); seen[back] == oneWay {
			t.Errorf("%v: wanted %v, the way back %v", x, true, !oneWay)
		}
	}
	for _, x := range required([]string{a}, true) {
		if !seen[x] {
			t.Errorf("%v is wanted of the short matrix alone", x)
		}
	}
}

func TestCautious(t *testing.T) {
	const a, b = peerPrefix + "1.0.0", noPreVotes
	for _, tt := range []struct{ mix, want []string }{
		{[]string{ours, a, a}, nil},
		{[]string{ours, b, b}, []string{}},
		{[]string{ours, a, b}, []string{a}},
	} {
		if got := cautious(tt.mix); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.mix, got, tt.want)
		}
	}
}
