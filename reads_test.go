package raft

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// do applies an event in words, and tells which reads completed.
//
//	read x 7    a read named x of what is committed through 7
//	round       a round of heartbeats starts
//	confirm 3   a majority has answered round 3
//	apply 9     the FSM has applied 9
//	fail        the leadership ends
func (s *reads) do(t *testing.T, event string, done *[]string, applied *uint64) string {
	t.Helper()
	f := strings.Fields(event)
	switch f[0] {
	case "read":
		s.add(parseUint(t, f[2]), readFunc(func(index uint64, err error) {
			if err != nil {
				*done = append(*done, fmt.Sprintf("%s: %v", f[1], err))
			} else {
				*done = append(*done, fmt.Sprintf("%s=%d", f[1], index))
			}
		}))
	case "round":
		s.round++
	case "confirm":
		s.confirm(parseUint(t, f[1]))
	case "apply":
		*applied = parseUint(t, f[1])
	case "fail":
		s.fail(errors.New("lost"))
	default:
		t.Fatalf("no event: %q", event)
	}
	if f[0] != "fail" {
		s.complete(*applied)
	}
	got := strings.Join(*done, " ")
	*done = nil
	if n := len(s.waiting); n > 0 && s.waiting[n-1].round > s.round && !s.underWay() {
		got = strings.TrimSpace(got + " start a round")
	}
	return got
}

func TestReads(t *testing.T) {
	type step struct{ event, want string }
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a round is started for a read", []step{
			{"apply 7", ""},
			{"read x 7", "start a round"},
			{"round", ""},
			{"confirm 1", "x=7"},
		}},
		{"a round that started before the read does not count (R14)", []step{
			{"apply 7", ""},
			{"round", ""},
			{"read x 7", ""},
			{"confirm 1", "start a round"},
			{"round", ""},
			{"confirm 2", "x=7"},
		}},
		{"nor does one that was confirmed before", []step{
			{"apply 7", ""},
			{"round", ""},
			{"confirm 1", ""},
			{"read x 7", "start a round"},
			{"confirm 1", "start a round"},
		}},
		{"all reads that wait share the next round", []step{
			{"apply 7", ""},
			{"read x 5", "start a round"},
			{"round", ""},
			{"read y 6", ""}, // while the first round is under way
			{"read z 7", ""},
			{"confirm 1", "x=5 start a round"},
			{"round", ""},
			{"confirm 2", "y=6 z=7"},
		}},
		{"a later round confirms the earlier reads too", []step{
			{"apply 7", ""},
			{"read x 7", "start a round"},
			{"round", ""},
			{"round", ""}, // the first was not answered
			{"confirm 2", "x=7"},
		}},
		{"a read waits for the FSM", []step{
			{"apply 6", ""},
			{"read x 7", "start a round"},
			{"read y 6", "start a round"},
			{"round", ""},
			{"confirm 1", "y=6"},
			{"apply 7", "x=7"},
		}},
		{"a late answer does not take a confirmation back", []step{
			{"apply 7", ""},
			{"round", ""},
			{"round", ""},
			{"confirm 2", ""},
			{"confirm 1", ""},
			{"read x 7", "start a round"},
			{"round", ""},
			{"confirm 3", "x=7"},
		}},
		{"all reads fail with the leadership", []step{
			{"read x 7", "start a round"},
			{"round", ""},
			{"read y 8", ""},
			{"fail", "x: lost y: lost"},
			{"apply 9", ""},
			{"confirm 9", ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s reads
			var done []string
			var applied uint64
			for i, step := range tt.steps {
				if got := s.do(t, step.event, &done, &applied); got != step.want {
					t.Fatalf("step %d, %s: %q, want %q", i, step.event, got, step.want)
				}
			}
		})
	}
}

// Each row is how many seconds ago each voter was heard, and how long ago a
// majority was. a is this node.
func TestQuorumContact(t *testing.T) {
	for _, tt := range []struct {
		name   string
		voters string
		self   ServerID
		want   int
	}{
		{"alone", "a:0", "a", 0},
		{"of two, the other is needed", "a:0 b:3", "a", 3},
		{"the better of two others", "a:0 b:3 c:9", "a", 3},
		{"of five, the second of four others", "a:0 b:9 c:3 d:5 e:8", "a", 5},
		{"of four, the second of three others", "a:0 b:9 c:3 d:5", "a", 5},
		{"this node is always in contact with itself", "a:99 b:3 c:9", "a", 3},
		{"a leader without a vote does not count", "b:3 c:9 d:5", "a", 5},
		{"a leader without a vote and two voters", "b:3 c:9", "a", 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			var voters []ServerID
			contact := map[ServerID]time.Time{}
			for f := range strings.FieldsSeq(tt.voters) {
				id, ago, _ := strings.Cut(f, ":")
				voters = append(voters, ServerID(id))
				contact[ServerID(id)] = now.Add(-time.Duration(parseUint(t, ago)) * time.Second)
			}
			got := quorumContact(voters, tt.self, now, func(id ServerID) time.Time { return contact[id] })
			if ago := now.Sub(got); ago != time.Duration(tt.want)*time.Second {
				t.Errorf("%v ago, want %d s", ago, tt.want)
			}
		})
	}
}

// A voter that was never heard is as good as silent for ever.
func TestQuorumContactNever(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	got := quorumContact([]ServerID{"a", "b"}, "a", now, func(ServerID) time.Time { return time.Time{} })
	if now.Sub(got) < 200*365*24*time.Hour {
		t.Errorf("in contact as of %v", got)
	}
}
