package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// naiveQuorum is quorumValue by its definition: the greatest reported value that
// more than half of the voters reach.
func naiveQuorum(values []uint64) (best uint64) {
	for _, v := range values {
		reach := 0
		for _, w := range values {
			if w >= v {
				reach++
			}
		}
		if 2*reach > len(values) {
			best = max(best, v)
		}
	}
	return best
}

func TestQuorumValue(t *testing.T) {
	for _, tt := range []struct {
		values []uint64
		want   uint64
	}{
		{[]uint64{7}, 7},
		{[]uint64{7, 5}, 5}, // of two, both are needed
		{[]uint64{7, 5, 0}, 5},
		{[]uint64{7, 5, 3, 0}, 3},
		{[]uint64{7, 5, 3, 0, 0}, 3},
		{[]uint64{7, 0, 0, 0, 0}, 0},
		{[]uint64{6, 5, 4, 3, 2, 1}, 3},
	} {
		for _, values := range permutations(tt.values) {
			if got := quorumOf(values); got != tt.want {
				t.Errorf("quorumValue(%v) = %d, want %d", values, got, tt.want)
			}
		}
	}
}

func TestQuorumValueAgainstNaive(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for range 2000 {
		values := make([]uint64, 1+rng.IntN(9))
		for i := range values {
			values[i] = rng.Uint64N(8)
		}
		if got, want := quorumOf(values), naiveQuorum(values); got != want {
			t.Fatalf("quorumValue(%v) = %d, want %d", values, got, want)
		}
	}
}

func quorumOf(values []uint64) uint64 {
	voters := make([]ServerID, len(values))
	at := map[ServerID]uint64{}
	for i, v := range values {
		voters[i] = ServerID(fmt.Sprint(i))
		at[voters[i]] = v
	}
	return quorumValue(voters, func(id ServerID) uint64 { return at[id] })
}

func permutations(s []uint64) (all [][]uint64) {
	if len(s) == 0 {
		return [][]uint64{nil}
	}
	for i := range s {
		for _, p := range permutations(slices.Concat(s[:i], s[i+1:])) {
			all = append(all, append(p, s[i]))
		}
	}
	return all
}

// Of any two majorities one server at least is in both.
func TestQuorumSize(t *testing.T) {
	for n := 1; n < 20; n++ {
		if q := quorumSize(n); 2*q <= n || 2*(q-1) > n {
			t.Errorf("quorumSize(%d) = %d", n, q)
		}
	}
}

// Each step is an acknowledgement, "server:index", and the commit index that must
// follow.
func TestCommitIndex(t *testing.T) {
	for _, tt := range []struct {
		name   string
		voters string
		start  uint64 // the first index of the leader's term
		steps  string
	}{
		{"majority of three", "a b c", 1, "a:1→0 b:1→1 c:1→1"},
		{"a single voter commits alone", "a", 1, "a:1→1 a:4→4"},
		{"of two, both are needed", "a b", 1, "a:3→0 b:2→2 b:9→3"},
		{"of four, three are needed", "a b c d", 1, "a:3→0 b:3→0 c:3→3"},
		{"the slowest does not matter", "a b c", 1, "a:9→0 b:9→9 c:2→9"},
		{"what is committed stays so", "a b c", 1, "a:5→0 b:5→5 b:3→5 a:4→5"},
		{"other servers do not count", "a b c", 1, "x:5→0 y:5→0 a:5→0 z:5→0"},
		{"an older term is not counted", "a b c", 10, "a:9→0 b:9→0 c:9→0"},
		{"the own term commits the older", "a b c", 10, "a:9→0 b:9→0 a:10→0 b:10→10"},
		// Figure 8: entry 2 is on three of five servers, and of an older term. The
		// leader's own entry is 3; until a majority has that, 2 may still go.
		{"Figure 8", "a b c d e", 3, "a:2→0 b:2→0 c:2→0 a:3→0 b:3→0 c:3→3"},
		{"nobody votes", "", 1, "a:5→0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var voters []ServerID
			for _, id := range strings.Fields(tt.voters) {
				voters = append(voters, ServerID(id))
			}
			match, commit := map[ServerID]uint64{}, uint64(0)
			for step := range strings.FieldsSeq(tt.steps) {
				ack, want, _ := strings.Cut(step, "→")
				id, index, _ := strings.Cut(ack, ":")
				match[ServerID(id)] = parseUint(t, index)
				commit = commitIndex(voters, func(id ServerID) uint64 { return match[id] }, tt.start, commit)
				if commit != parseUint(t, want) {
					t.Fatalf("after %s: commit index %d, want %s", ack, commit, want)
				}
			}
		})
	}
}

// A candidate is written as its ID, "a", whose address is "addr-a"; as "a@addr-b"
// if it is elsewhere; and as "@addr-a" if it has no ID, like those of hashicorp/raft
// before protocol version 3.
func parseCandidate(s string) candidate {
	id, addr, ok := strings.Cut(s, "@")
	if !ok {
		addr = "addr-" + id
	}
	return candidate{ServerID(id), ServerAddress(addr)}
}

// A question is written as "candidate term last", with "transfer" behind it if the
// leader asked the candidate to stand.
func parseQuestion(t *testing.T, s string) voteQuestion {
	t.Helper()
	f := strings.Fields(s)
	return voteQuestion{
		term:     parseUint(t, f[1]),
		from:     parseCandidate(f[0]),
		last:     parseID(t, f[2]),
		transfer: len(f) > 3 && f[3] == "transfer",
	}
}

func TestVote(t *testing.T) {
	// The voter is in term 5, its log ends with entry 8 of term 4. a, b and c are
	// voters, n is none, x is not in the configuration.
	base := voter{hard: hardState{term: 5}, last: entryID{8, 4}, config: Configuration{[]Server{
		{Voter, "a", "addr-a"}, {Voter, "b", "addr-b"}, {Voter, "c", "addr-c"}, {Nonvoter, "n", "addr-n"},
	}}}
	votedFor := func(s string) voter { v := base; v.hard.vote = parseCandidate(s); return v }
	leader := func(s string) voter { v := base; v.leader = parseCandidate(s); return v }
	promising := leader("b")
	promising.promising = true
	unconfigured := base
	unconfigured.config = Configuration{}

	const (
		granted = "granted"
		adopted = "granted, term adopted"
		longer  = "our last index is greater"
		newer   = "our last term is greater"
		led     = "we have a leader"
		voted   = "already voted"
		bound   = "a leader may read by our promise"
		outside = "node is not a voter"
	)
	for _, tt := range []struct {
		name     string
		voter    voter
		question string
		vote     string
		preVote  string
	}{
		// §5.4.1
		{"same log", base, "a 5 8@4", granted, granted},
		{"longer log", base, "a 5 9@4", granted, granted},
		{"shorter log of a newer term", base, "a 5 1@5", granted, granted},
		{"shorter log", base, "a 5 7@4", longer, longer},
		{"longer log of an older term", base, "a 5 99@3", newer, newer},

		// §5.1
		{"older term", base, "a 4 99@4", "stale term", "stale term"},
		{"newer term", base, "a 6 8@4", adopted, granted},
		{"newer term, shorter log", base, "a 6 7@4", longer + ", term adopted", longer},

		// One vote a term (R1); a pre-vote is none.
		{"voted for another", votedFor("b"), "a 5 8@4", voted, granted},
		{"voted for another in an older term", votedFor("b"), "a 6 8@4", adopted, granted},
		{"asked again", votedFor("a"), "a 5 8@4", granted, granted},
		{"asked again with a shorter log", votedFor("a"), "a 5 7@4", longer, longer},
		{"asked again from another address", votedFor("a"), "a@addr-z 5 8@4", granted, granted},
		{"a recycled address", votedFor("b@addr-a"), "a 5 8@4", voted, granted}, // S9
		{"asked again without an ID", votedFor("a"), "@addr-a 5 8@4", granted, granted},
		{"another address without an ID", votedFor("a"), "@addr-b 5 8@4", voted, granted},
		{"voted for an address, it asks", votedFor("@addr-a"), "a 5 8@4", granted, granted},
		{"voted for an address, another asks", votedFor("@addr-b"), "a 5 8@4", voted, granted},

		// Stickiness, §4.2.3 of the dissertation. The term is not adopted either (R7).
		{"leader alive", leader("b"), "a 6 8@4", led, led},
		{"leader alive, newer log", leader("b"), "a 6 99@5", led, led},
		{"leader alive, older term", leader("b"), "a 4 8@4", "stale term", "stale term"},
		{"the leader asks itself", leader("a"), "a 6 8@4", adopted, granted},
		{"the leader asks from another address", leader("a"), "a@addr-z 6 8@4", adopted, granted},
		{"leader known by address asks", leader("@addr-a"), "a 6 8@4", adopted, granted},
		{"another behind the leader's address", leader("b@addr-a"), "a 6 8@4", led, led},
		{"transfer", leader("b"), "a 6 8@4 transfer", adopted, granted},
		// R20: not even to the leader itself, nor when it is gone.
		{"promised", promising, "a 6 99@5", bound, bound},
		{"promised, transfer", promising, "a 6 8@4 transfer", bound, bound},
		{"promised, the leader asks", promising, "b 6 8@4", bound, bound},
		{"promised before a restart", voter{hard: base.hard, last: base.last, promising: true}, "a 6 8@4", bound, bound},
		{"promised, older term", promising, "a 4 8@4", "stale term", "stale term"},
		{"transfer with a shorter log", leader("b"), "a 6 7@4 transfer", longer + ", term adopted", longer},

		// R9: who is no voter here needs a newer log; its term counts in any case.
		{"nonvoter, same log", base, "n 6 8@4", outside + ", term adopted", outside},
		{"nonvoter, longer log", base, "n 6 9@4", adopted, granted},
		{"nonvoter, newer last term", base, "n 6 2@5", adopted, granted},
		{"stranger, same log", base, "x 5 8@4", outside, outside},
		{"stranger, longer log", base, "x 5 9@4", granted, granted},
		{"stranger, shorter log", base, "x 6 7@4", longer + ", term adopted", longer},
		{"stranger at a voter's address", base, "x@addr-a 5 8@4", outside, outside},
		{"voter without an ID", base, "@addr-a 5 8@4", granted, granted},
		{"stranger without an ID", base, "@addr-x 5 8@4", outside, outside},
		{"nonvoter without an ID", base, "@addr-n 5 8@4", outside, outside},
		{"no configuration", unconfigured, "x 5 8@4", granted, granted},
		{"no configuration, shorter log", unconfigured, "x 5 7@4", longer, longer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := parseQuestion(t, tt.question)
			if got := tt.voter.vote(q).String(); got != tt.vote {
				t.Errorf("vote: %s, want %s", got, tt.vote)
			}
			if got := tt.voter.preVote(q).String(); got != tt.preVote {
				t.Errorf("pre-vote: %s, want %s", got, tt.preVote)
			}
		})
	}
}

// Logs are written as the terms of their entries, "1 1 2" has three. Those in
// brackets have been compacted into a snapshot. A request is the leader's log up to
// the last entry that it sends, with a slash before the first.
func TestPlanAppend(t *testing.T) {
	for _, tt := range []struct {
		log    string
		commit uint64 // what this node knows to be committed
		req    string
		leader uint64 // the leader's commit index
		want   string
	}{
		{"", 0, "/ 1 1", 0, "append 1..2 match 2 commit 0"},
		{"", 0, "/", 0, "match 0 commit 0"},
		{"1 1", 0, "1 1 / 1", 2, "append 3..3 match 3 commit 2"},
		{"1 1", 0, "1 1 /", 2, "match 2 commit 2"},
		{"1 1", 0, "1 1 / 2 2", 9, "append 3..4 match 4 commit 4"},
		{"1", 0, "1 1 1 / 1", 0, "mismatch"},
		{"", 0, "1 /", 0, "mismatch"},
		{"1 1 3", 0, "1 1 2 / 2", 0, "mismatch"},
		{"1 1 3", 2, "1 1 2 / 2", 0, "mismatch"},

		// Conflicts: the log goes from the first entry that differs, and no sooner.
		{"1 1", 0, "1 / 2 2", 0, "truncate 2 append 2..3 match 3 commit 0"},
		{"1 1 1", 0, "1 / 1 2", 0, "truncate 3 append 3..3 match 3 commit 0"},
		{"1 1 1 1", 1, "1 / 2", 2, "truncate 2 append 2..2 match 2 commit 2"},
		{"1 1 1", 0, "/ 2", 0, "truncate 1 append 1..1 match 1 commit 0"},

		// Late and repeated requests truncate nothing.
		{"1 1 1", 0, "1 / 1", 0, "match 2 commit 0"},
		{"1 1 1", 0, "/ 1 1 1", 0, "match 3 commit 0"},
		{"1 1 1", 0, "1 / 1 1 1", 0, "append 4..4 match 4 commit 0"},
		{"1 1 2", 3, "/ 1", 1, "match 1 commit 1"},

		// R3: what follows the match may be a deposed leader's: it is not committed.
		{"1 1 1", 0, "1 /", 3, "match 1 commit 1"},
		{"1 1 1", 0, "1 / 1", 3, "match 2 commit 2"},
		{"1 1 1", 0, "/", 3, "match 0 commit 0"},

		// A leader that denies what is committed here is no leader of this history.
		{"1 1 1", 3, "1 / 2", 3, "contradiction"},
		{"1 1 1", 2, "1 / 1 2", 3, "truncate 3 append 3..3 match 3 commit 3"},
		{"1 1 1", 3, "1 2 /", 3, "contradiction"},
		{"1 1 1", 3, "1 1 2 /", 3, "contradiction"},
		{"1 1 1", 3, "1 1 1 2 /", 3, "mismatch"}, // it may just be ahead

		// After a failed write the log may be shorter than what is committed.
		{"1 1", 4, "1 1 / 1 1", 4, "append 3..4 match 4 commit 4"},
		{"1 1", 4, "1 1 1 /", 4, "mismatch"},

		// What is below the floor is committed, here and on the leader.
		{"[1 1 1] 1", 3, "1 / 1", 4, "match 2 commit 2"},
		{"[1 1 1] 1", 3, "/", 4, "match 0 commit 0"},
		{"[1 1 1] 1", 3, "1 / 1 1", 4, "match 3 commit 3"},
		{"[1 1 1] 1", 3, "1 / 1 1 1 1", 5, "append 5..5 match 5 commit 5"},
		{"[1 1 1] 1", 3, "1 / 1 1 2", 4, "truncate 4 append 4..4 match 4 commit 4"},
		{"[1 1 1]", 3, "1 1 1 / 2", 4, "append 4..4 match 4 commit 4"},
		{"[1 1 1]", 3, "1 1 2 / 2", 4, "contradiction"},
		{"[1 1 1] 1", 3, "1 / 1 2 2", 4, "contradiction"}, // another entry at the floor
		{"[1 1 1] 1", 3, "1 1 / 2", 4, "contradiction"},
		{"[1 1 1]", 3, "1 1 1 1 / 1", 4, "mismatch"},
	} {
		t.Run(fmt.Sprintf("%s,%d|%s,%d", tt.log, tt.commit, tt.req, tt.leader), func(t *testing.T) {
			log := logWithTerms(t, tt.log)
			before := fmt.Sprint(log)
			if got := planAppend(log, tt.commit, requestWithTerms(t, tt.req, tt.leader)).String(); got != tt.want {
				t.Errorf("planAppend: %s, want %s", got, tt.want)
			}
			if fmt.Sprint(log) != before {
				t.Error("planAppend changed the log")
			}
		})
	}
}

// Against any log that may exist beside the leader's (§5.3), an obeyed request
// makes the logs equal through the match, touches nothing that is committed, and
// drops what follows only if it differs.
func TestPlanAppendProperty(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		common := growingTerms(rng, rng.IntN(6), 1)
		leader := append(slices.Clone(common), growingTerms(rng, rng.IntN(6), 10)...)
		ours := append(slices.Clone(common), growingTerms(rng, rng.IntN(6), 20)...)
		commit := rng.Uint64N(uint64(len(common)) + 1)
		floor := rng.Uint64N(commit + 1)
		from := rng.IntN(len(leader) + 1)
		to := from + rng.IntN(len(leader)-from+1)

		log := logOf(entriesOf(ours))
		log.snap = entryID{commit, termAt(ours, commit)}
		log.compact(floor)
		req := appendRequest(entriesOf(leader[:to]), from, rng.Uint64N(12))
		plan := planAppend(log, commit, req)
		name := fmt.Sprintf("seed %d: log %v commit %d floor %d, leader %v sends %d..%d: %v", seed, ours, commit, floor, leader, from+1, to, plan)

		if want := from <= len(common); (plan.verdict == fits) != want || plan.verdict == contradiction {
			t.Fatal(name)
		}
		if plan.verdict != fits {
			continue
		}
		if plan.truncate > 0 && plan.truncate <= commit {
			t.Fatalf("%s: truncates what is committed", name)
		}
		after := slices.Clone(ours)
		if plan.truncate > 0 {
			after = after[:plan.truncate-1]
		}
		for _, e := range plan.entries {
			if e.Index != uint64(len(after))+1 {
				t.Fatalf("%s: entry %d after %d", name, e.Index, len(after))
			}
			after = append(after, e.Term)
		}
		if plan.match != uint64(to) || !slices.Equal(after[:to], leader[:to]) {
			t.Fatalf("%s: log is %v", name, after)
		}
		if to <= len(common) && len(after) != len(ours) {
			t.Fatalf("%s: dropped what did not differ, log is %v", name, after)
		}
		if plan.commit != min(req.LeaderCommitIndex, plan.match) {
			t.Fatalf("%s: commit %d", name, plan.commit)
		}
	}
}

func growingTerms(rng *rand.Rand, n int, term uint64) []uint64 {
	terms := make([]uint64, n)
	for i := range terms {
		term += rng.Uint64N(2)
		terms[i] = term
	}
	return terms
}

func termAt(terms []uint64, index uint64) uint64 {
	if index == 0 {
		return 0
	}
	return terms[index-1]
}

// Requests that no leader sends, one fault each (R17).
func TestCheckAppend(t *testing.T) {
	withType := func(typ LogType) func(*AppendEntriesRequest) {
		return func(r *AppendEntriesRequest) { r.Entries[0].Type = typ }
	}
	for _, tt := range []struct {
		name    string
		term    uint64
		prev    string
		entries string
		change  func(*AppendEntriesRequest)
		want    string // "" if it is fine
	}{
		{"first entries", 2, "0@0", "1@1 2@2", nil, ""},
		{"no entries", 2, "4@2", "", nil, ""},
		{"entries of older terms", 9, "4@2", "5@2 6@3 7@9", nil, ""},
		{"every known type", 9, "4@2", "5@2", withType(LogConfiguration), ""},

		{"previous entry of the future", 2, "4@3", "", nil, "previous entry of term 3 in a request of term 2"},
		{"entry of the future", 2, "4@2", "5@3", nil, "entry 5 of term 3 follows term 2 in a request of term 2"},
		{"term going back", 5, "4@2", "5@3 6@2", nil, "entry 6 of term 2 follows term 3"},
		{"term going back from the previous entry", 5, "4@3", "5@2", nil, "entry 5 of term 2 follows term 3"},
		{"entry without a term", 5, "0@0", "1@0", nil, "entry 1 of term 0"},
		{"gap", 5, "4@2", "5@2 7@2", nil, "entry 7 follows entry 5"},
		{"gap after the previous entry", 5, "4@2", "6@2", nil, "entry 6 follows entry 4"},
		{"repeated entry", 5, "4@2", "5@2 5@2", nil, "entry 5 follows entry 5"},
		{"descending", 5, "4@2", "5@2 4@2", nil, "entry 4 follows entry 5"},
		{"nil entry", 5, "4@2", "5@2 6@2", func(r *AppendEntriesRequest) { r.Entries[1] = nil }, "entry after 5 is nil"},
		{"nil entry alone", 5, "4@2", "5@2", func(r *AppendEntriesRequest) { r.Entries[0] = nil }, "entry after 4 is nil"},
		{"unknown type", 5, "4@2", "5@2", withType(LogConfiguration + 1), "entry 5 has unknown type 6"},
		{"greatest type", 5, "4@2", "5@2", withType(255), "entry 5 has unknown type 255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prev := parseID(t, tt.prev)
			req := &AppendEntriesRequest{Term: tt.term, PrevLogEntry: prev.index, PrevLogTerm: prev.term, Entries: parseEntries(t, tt.entries)}
			if tt.change != nil {
				tt.change(req)
			}
			err := checkAppend(req)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("checkAppend: %v, want %q", err, tt.want)
			}
		})
	}
}

// An index at the end of the number range is refused without harm.
func TestPlanAppendAtTheEndOfNumbers(t *testing.T) {
	const most = ^uint64(0)
	for _, entries := range [][]*Log{nil, {{Index: 0, Term: 1}}} {
		req := &AppendEntriesRequest{Term: most, PrevLogEntry: most, PrevLogTerm: 1, LeaderCommitIndex: most, Entries: entries}
		if plan := planAppend(logWithTerms(t, "1 1"), 2, req); plan.verdict != mismatch {
			t.Errorf("%d entries: %v", len(entries), plan)
		}
	}
}

// logWithTerms returns a durable log, see TestPlanAppend for the notation.
func logWithTerms(t *testing.T, s string) *raftLog {
	t.Helper()
	below, above, compacted := strings.Cut(strings.TrimPrefix(s, "["), "]")
	log := logOf(termEntries(t, below+above))
	if compacted {
		floor := uint64(len(strings.Fields(below)))
		term, _ := log.term(floor)
		log.snap = entryID{floor, term}
		log.compact(floor)
	}
	return log
}

func logOf(entries []*Log) *raftLog {
	log := new(raftLog)
	log.append(entries)
	log.durable = log.last.index
	return log
}

// requestWithTerms returns an AppendEntries request, see TestPlanAppend.
func requestWithTerms(t *testing.T, s string, commit uint64) *AppendEntriesRequest {
	t.Helper()
	prev, next, _ := strings.Cut(s, "/")
	return appendRequest(termEntries(t, prev+" "+next), len(strings.Fields(prev)), commit)
}

// appendRequest sends what follows the first prev entries.
func appendRequest(leader []*Log, prev int, commit uint64) *AppendEntriesRequest {
	req := &AppendEntriesRequest{Term: 99, Entries: leader[prev:], LeaderCommitIndex: commit}
	if prev > 0 {
		req.PrevLogEntry, req.PrevLogTerm = leader[prev-1].Index, leader[prev-1].Term
	}
	return req
}

// termEntries parses terms, "1 1 2", into a log from index 1 on.
func termEntries(t *testing.T, s string) []*Log {
	t.Helper()
	var terms []uint64
	for f := range strings.FieldsSeq(s) {
		terms = append(terms, parseUint(t, f))
	}
	return entriesOf(terms)
}

func entriesOf(terms []uint64) []*Log {
	entries := make([]*Log, len(terms))
	for i, term := range terms {
		entries[i] = &Log{Index: uint64(i) + 1, Term: term}
	}
	return entries
}

// parseEntries parses "4@2 5@2".
func parseEntries(t *testing.T, s string) (entries []*Log) {
	t.Helper()
	for f := range strings.FieldsSeq(s) {
		id := parseID(t, f)
		entries = append(entries, &Log{Index: id.index, Term: id.term})
	}
	return entries
}

// parseID parses "8@4".
func parseID(t *testing.T, s string) entryID {
	t.Helper()
	index, term, ok := strings.Cut(s, "@")
	if !ok {
		t.Fatalf("no entry: %q", s)
	}
	return entryID{parseUint(t, index), parseUint(t, term)}
}

func parseUint(t *testing.T, s string) (n uint64) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatalf("no number: %q", s)
	}
	return n
}

// PrevLogTerm means nothing for entry 0: the request is no contradiction.
func TestPlanAppendPrevTermOfNothing(t *testing.T) {
	req := &AppendEntriesRequest{Term: 5, PrevLogEntry: 0, PrevLogTerm: 3, Entries: parseEntries(t, "1@1")}
	if err := checkAppend(req); err != nil {
		return // refused: fine
	}
	if plan := planAppend(new(raftLog), 0, req); plan.verdict == contradiction {
		t.Errorf("accepted by checkAppend, then %v on an empty log", plan)
	}
}

// A vote for a candidate without any name would not be recorded.
func TestVoteForNobody(t *testing.T) {
	v := voter{hard: hardState{term: 5}, last: entryID{8, 4}, config: Configuration{[]Server{{Voter, "a", "addr-a"}}}}
	for _, from := range []candidate{{}, {id: "a"}} {
		if b := v.vote(voteQuestion{term: 5, from: from, last: entryID{9, 4}}); b.granted {
			t.Errorf("granted to %+v", from)
		}
	}
}
