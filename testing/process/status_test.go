package main

import (
	"strings"
	"testing"
)

func TestLeaders(t *testing.T) {
	type in struct {
		id    string
		run   int
		state string
		term  uint64
	}
	for _, tt := range []struct {
		name string
		seen []in
		want string
	}{
		{"a term each", []in{{"a", 1, "Leader", 1}, {"b", 2, "Leader", 2}, {"b", 2, "Leader", 2}}, ""},
		{"two of one term", []in{{"a", 1, "Leader", 2}, {"b", 2, "Leader", 2}}, "two leaders of term 2"},
		{"followers don't count", []in{{"a", 1, "Leader", 2}, {"b", 2, "Follower", 2}}, ""},
		{"a term falls", []in{{"a", 1, "Follower", 2}, {"a", 1, "Follower", 1}}, "went back"},
		{"a term that was only heard of is forgotten", []in{{"a", 1, "Follower", 2}, {"a", 2, "Follower", 1}}, ""},
		{"a term that was led is forgotten", []in{{"a", 1, "Leader", 2}, {"a", 2, "Follower", 1}}, "went back"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l leaders
			var err error
			for _, s := range tt.seen {
				if e := l.see(status{ID: s.id, State: s.state, Term: s.term}, s.run); e != nil {
					err = e
				}
			}
			wantError(t, "leaders", err, tt.want)
		})
	}
}

// TestStates holds that equal indexes mean equal states, and different ones nothing.
func TestStates(t *testing.T) {
	var at states
	see := func(id string, index uint64, hash string) error {
		return at.see(status{ID: id, HashIndex: index, Hash: hash})
	}
	wantError(t, "the first", see("a", 5, "x"), "")
	wantError(t, "equal", see("b", 5, "x"), "")
	wantError(t, "at another index", see("b", 6, "y"), "")
	wantError(t, "different", see("a", 6, "x"), "b and a differ at index 6")
}

func TestCheckLog(t *testing.T) {
	for line, want := range map[string]string{
		"[ERROR] raft: failed to contact quorum":   "",
		"panic: runtime error: index out of range": "log:2: panic",
		"WARNING: DATA RACE":                       "log:2",
		"fatal error: all goroutines are asleep":   "log:2",
		"[DEBUG] n1: http: panic serving 1.2.3.4":  "log:2",
		"panic: without an end of line":            "log:2",
	} {
		log := "=== run 1 of n1\n" + line + "\nmore\n"
		if strings.HasSuffix(line, "line") {
			log = strings.TrimSuffix(log, "\nmore\n")
		}
		wantError(t, line, checkLog("log", strings.NewReader(log)), want)
	}
}
