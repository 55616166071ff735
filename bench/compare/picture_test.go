package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft/bench/compare/load"
)

// fakeResults returns results of cases, with figures that are easy to find.
func fakeResults(t *testing.T, cases []testCase) *results {
	t.Helper()
	res := newResults(fakeSetting)
	for _, c := range cases {
		for i, e := range c.entrants {
			m := c.measurement(e)
			rate := float64((i + 1) * 1000 * c.load.clients)
			err := res.add(record{Round: 1, Peer: m.peer, Args: m.args, Metrics: load.Metrics{"rate": rate, "p99": 1e6 / rate}})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return res
}

func TestPictures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pictures")
	cases := append(fakeCases(), testCase{"restart", "", workload{name: "restart"}, []entrant{baseline}})
	cases[0].group += "&<" // of which XML must not notice anything
	cases[2].group += "&<"
	if err := writePictures(dir, cases, fakeResults(t, fakeCases())); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, error %v, want two pictures", entries, err)
	}
	for i, want := range []int{2 * 2 * 2, 3 * 2 * 2} { // entrants, numbers of clients and panels
		data, err := os.ReadFile(filepath.Join(dir, entries[i].Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := wellFormed(string(data)); err != nil {
			t.Errorf("%s: %v", entries[i].Name(), err)
		}
		if got := strings.Count(string(data), "<circle class=\"dot\""); got != want+want/4 { // and the legend's
			t.Errorf("%s has %d dots, want %d", entries[i].Name(), got, want+want/4)
		}
	}
	if err := writePictures(dir, cases, newResults(fakeSetting)); err == nil {
		t.Error("no results are a picture")
	}
}

// Every group of several cases is drawn.
func TestPicturesOfAllCases(t *testing.T) {
	dir := t.TempDir()
	cases := allCases()
	if err := writePictures(dir, cases, fakeResults(t, cases)); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, group := range groups(cases) {
		name := strings.ReplaceAll(group[0].group, "/", "-")
		switch {
		case strings.HasPrefix(name, "nodes-"):
			want = append(want, name+"-c64.svg", name+"-c256.svg")
		case len(group) > 1:
			want = append(want, name+".svg")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("pictures %q, want %q", got, want)
	}
}

func wellFormed(text string) error {
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestTicks(t *testing.T) {
	for _, tt := range []struct{ values, want []float64 }{
		{[]float64{30, 170}, []float64{20, 50, 100, 200}},
		{[]float64{1000, 900}, []float64{500, 1000}},
		{[]float64{100, 500}, []float64{100, 200, 500}},
		{[]float64{0.3, 3}, []float64{0.2, 0.5, 1, 2, 5}},
		{[]float64{7}, []float64{5, 10}},
		{[]float64{10}, []float64{10}},
	} {
		if got := ticks(tt.values); !slices.Equal(got, tt.want) {
			t.Errorf("ticks of %v are %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestScale(t *testing.T) {
	s := newScale([]float64{100, 1, 10}, 200, 0)
	for value, want := range map[float64]float64{1: 200, 10: 100, 100: 0} {
		if got := s.at(value); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%v is at %v, want %v", value, got, want)
		}
	}
	if got := newScale([]float64{5}, 0, 100).at(5); got != 50 {
		t.Errorf("the only value is at %v, want the middle", got)
	}
}

func TestLabels(t *testing.T) {
	got := []string{count(500), count(20_000), count(999_600), count(4_420_000), latency(0.5), latency(200), latency(5000), latency(2e6)}
	if want := []string{"500", "20k", "1M", "4.42M", "0.5 µs", "200 µs", "5 ms", "2 s"}; !slices.Equal(got, want) {
		t.Errorf("labels %q, want %q", got, want)
	}
}
