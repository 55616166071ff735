package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/raft/testing/safety/scenarios/verdict"
)

// This library is safe in every scenario, and README.md says so of each. With -race it is built with the detector too,
// and a race ends its process.
func TestOursIsSafe(t *testing.T) {
	lib, err := build(t.Context(), t.TempDir(), ours, raceDetector)
	if err != nil {
		t.Fatal(err)
	}
	list, err := lib.scenarios(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkReadme(t, list)
	verdicts, err := lib.runAll(t.Context(), list, 8) // they wait more than they work
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range list {
		t.Run(s.ID, func(t *testing.T) {
			if verdicts[i].Kind != verdict.Safe {
				t.Errorf("%s: %s", s.Line, cell(verdicts[i]))
			}
		})
	}
}

// checkReadme compares the table in README.md with the scenarios that there are.
func checkReadme(t *testing.T, list []verdict.Scenario) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if !strings.Contains(string(readme), fmt.Sprintf("\n| %s | %s | ", s.ID, s.Line)) {
			t.Errorf("no row for %s (%s) in README.md: run `go run .` and copy its table", s.ID, s.Line)
		}
	}
	rows := regexp.MustCompile(`(?m)^\| \w+ \| .* \| .* \| safe \|$`).FindAll(readme, -1)
	if len(rows) != len(list) {
		t.Errorf("%d rows in README.md say that this library is safe, there are %d scenarios", len(rows), len(list))
	}
}

// However a process ends, it is a verdict.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name           string
		late, ok       bool
		stdout, stderr string
		want           verdict.Verdict
	}{
		{"its own verdict", false, true, `{"Kind":"violated","Detail":"x"}`, "", verdict.Verdict{Kind: verdict.Violated, Detail: "x"}},
		{"no verdict", false, true, "", "", verdict.Verdict{Kind: verdict.Killed}},
		{"a hang", true, false, "", "panic: late", verdict.Verdict{Kind: verdict.Hangs, Detail: "no verdict within 1m30s"}},
		{"a panic", false, false, "", "log\npanic: boom\n\ngoroutine 1", verdict.Verdict{Kind: verdict.Panics, Detail: "boom"}},
		{"out of memory", false, false, "", "fatal error: runtime: out of memory", verdict.Verdict{Kind: verdict.Panics, Detail: "fatal error: runtime: out of memory"}},
		{"a race", false, false, "", "==================\nWARNING: DATA RACE\n", verdict.Verdict{Kind: verdict.Panics, Detail: "WARNING: DATA RACE"}},
		{"a signal", false, false, "", "", verdict.Verdict{Kind: verdict.Killed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.late, tt.ok, []byte(tt.stdout), tt.stderr); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
