package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft/bench/compare/load"
)

func TestRatios(t *testing.T) {
	for _, tt := range []struct {
		name              string
		a, b              series
		median, low, high float64
	}{
		{"odd", series{1: 2, 2: 9, 3: 4}, series{1: 1, 2: 3, 3: 1}, 3, 2, 4},
		{"even", series{1: 2, 2: 4}, series{1: 1, 2: 1}, 3, 2, 4},
		{"by round, not of medians", series{1: 1, 2: 10, 3: 100}, series{1: 100, 2: 1, 3: 10}, 10, 0.01, 10},
		{"rounds that both have", series{1: 2, 2: 100}, series{1: 1, 3: 7}, 2, 2, 2},
		{"not by nothing", series{1: 2, 2: 3}, series{1: 1, 2: 0}, 2, 2, 2},
	} {
		ratio := tt.a.over(tt.b)
		low, high := ratio.spread()
		if ratio.median() != tt.median || low != tt.low || high != tt.high {
			t.Errorf("%s: %v: median %v, spread %v to %v", tt.name, ratio, ratio.median(), low, high)
		}
	}
	if ratio := (series{1: 1}).over(series{2: 1}); len(ratio) > 0 {
		t.Errorf("rounds apart have the ratio %v", ratio)
	}
}

func TestBound(t *testing.T) {
	// Three commit 300 times a second: each waits 10 ms. A round trip takes 10 ms too.
	commits := limitRate{series{1: 300, 2: 300, 3: 300}, 3}
	trips := limitRate{series{1: 100, 2: 0}, 1}
	got := bound(commits, trips)
	if len(got) != 1 || got[1] < 49.99 || got[1] > 50.01 {
		t.Errorf("bound %v, want 50 in round 1", got)
	}
}

func TestFigure(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0.00", 0.0123: "0.0123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.5: "1,234", 123456: "123,456", 1234567: "1,234,567",
	} {
		if got := figure(value); got != want {
			t.Errorf("%v is %s, want %s", value, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	got := table{{"a", "ratio"}, {"–––––", ""}}.String()
	const want = "| a     | ratio |\n| ----- | ----- |\n| ––––– |       |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// The limits and the relations, with figures that are easy to follow.
func TestRelations(t *testing.T) {
	res := newResults(fakeSetting)
	put := func(m measurement, rate float64) {
		t.Helper()
		rec := record{Round: 1, Peer: m.peer, Args: m.args, Metrics: load.Metrics{"rate": rate, "p50": 1, "p99": 2}}
		if err := res.add(rec); err != nil {
			t.Fatal(err)
		}
	}
	put(limit{name: commit1, workers: 3}.measurement(), 300)
	put(limit{name: roundTrip, workers: 1}.measurement(), 100)
	rates := map[string]float64{"write/bolt/c1": 25, "write/bolt/c64": 1000, "biglog/bolt/c64": 900, "nodes/bolt/n5/c64": 500}
	var cases []testCase
	for _, c := range allCases() {
		c.entrants = c.entrants[:1]
		if rate, ok := rates[c.name()]; ok {
			put(c.measurement(c.entrants[0]), rate)
			delete(rates, c.name())
		}
		if c.group == "write/bolt" || c.group == "biglog/bolt" || c.group == "nodes/bolt" {
			cases = append(cases, c)
		}
	}
	if len(rates) > 0 {
		t.Fatalf("no such cases: %v", rates)
	}
	var out strings.Builder
	if err := writeTables(&out, cases, res); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/relations.md", out.String())
}

func TestResultsOfAnotherSetting(t *testing.T) {
	name := filepath.Join(t.TempDir(), "results.jsonl")
	res, err := openResults(name, fakeSetting)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.add(record{Round: 1, Peer: "ours", Build: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := res.close(); err != nil {
		t.Fatal(err)
	}
	other := fakeSetting
	other.Time = "1s"
	if _, err := openResults(name, other); err == nil {
		t.Error("results of different times are mixed")
	}
	if res, err = openResults(name, fakeSetting); err != nil {
		t.Fatal(err)
	}
	defer res.close()
	if err := res.otherBuild("ours", "1"); err != nil {
		t.Error(err)
	}
	if err := res.otherBuild("ours", "2"); err == nil {
		t.Error("results of different programs are mixed")
	}
	if err := os.WriteFile(name, []byte("{}\nno JSON\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openResults(name, fakeSetting); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v, want one about line 2", err)
	}
}
