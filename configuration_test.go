package raft

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// members reads a configuration: "a b- c~" is a voter a, a non-voter b and a staging
// server c, at the addresses A, B, C; "a@X" is at X.
func members(text string) (c Configuration) {
	for _, word := range strings.Fields(text) {
		s := Server{Suffrage: Voter}
		name, addr, moved := strings.Cut(word, "@")
		switch {
		case strings.HasSuffix(name, "-"):
			s.Suffrage = Nonvoter
		case strings.HasSuffix(name, "~"):
			s.Suffrage = Staging
		}
		s.ID = ServerID(strings.TrimRight(name, "-~"))
		s.Address = ServerAddress(strings.ToUpper(string(s.ID)))
		if moved {
			s.Address = ServerAddress(addr)
		}
		c.Servers = append(c.Servers, s)
	}
	return c
}

// memberText is the inverse of members.
func memberText(c Configuration) string {
	var words []string
	for _, s := range c.Servers {
		word := string(s.ID) + [...]string{Voter: "", Nonvoter: "-", Staging: "~"}[s.Suffrage]
		if string(s.Address) != strings.ToUpper(string(s.ID)) {
			word += "@" + string(s.Address)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestNextConfiguration(t *testing.T) {
	for _, tt := range []struct {
		current string
		change  membershipChange
		want    string // or the error
	}{
		{"a", membershipChange{AddVoter, "b", "B", 0}, "a b"},
		{"a b", membershipChange{AddVoter, "b", "X", 0}, "a b@X"},
		{"a b-", membershipChange{AddVoter, "b", "X", 0}, "a b@X"},
		{"a b~", membershipChange{AddVoter, "b", "B", 0}, "a b"},
		{"a", membershipChange{AddNonvoter, "b", "B", 0}, "a b-"},
		{"a b-", membershipChange{AddNonvoter, "b", "X", 0}, "a b-@X"},
		{"a b", membershipChange{AddNonvoter, "b", "X", 0}, "a b@X"}, // keeps its vote
		{"a b~", membershipChange{AddNonvoter, "b", "X", 0}, "a b~@X"},
		{"a b", membershipChange{DemoteVoter, "b", "", 0}, "a b-"},
		{"a b~", membershipChange{DemoteVoter, "b", "", 0}, "a b-"},
		{"a b-", membershipChange{DemoteVoter, "b", "", 0}, "a b-"},
		{"a", membershipChange{DemoteVoter, "b", "", 0}, "a"}, // unknown: nothing changes
		{"a b c", membershipChange{RemoveServer, "b", "", 0}, "a c"},
		{"a", membershipChange{RemoveServer, "b", "", 0}, "a"},
		{"a", membershipChange{AddVoter, "b", "B", 7}, "a b"}, // the latest is at 7
		{"a", membershipChange{AddVoter, "b", "B", 6}, "configuration changed since 6 (latest is 7)"},
		{"a", membershipChange{AddVoter, "b", "A", 0}, "found duplicate address in configuration: A"},
		{"a", membershipChange{AddVoter, "", "B", 0}, "empty ID in configuration: {[{Voter a A} {Voter  B}]}"},
		{"a", membershipChange{RemoveServer, "a", "", 0}, "need at least one voter in configuration: {[]}"},
		{"a b-", membershipChange{DemoteVoter, "a", "", 0}, "need at least one voter in configuration: {[{Nonvoter a A} {Nonvoter b B}]}"},
		{"a", membershipChange{Promote, "a", "", 0}, "unknown configuration change: Promote"},
	} {
		current := members(tt.current)
		next, err := nextConfiguration(current, 7, tt.change)
		got := memberText(next)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q, %+v: %q, want %q", tt.current, tt.change, got, tt.want)
		}
		if memberText(current) != tt.current {
			t.Errorf("%q, %+v: changed its argument to %q", tt.current, tt.change, memberText(current))
		}
	}
}

// Any change leads from one majority to another that has a member in common with it
// (§4.1): the sets of voters differ by one server at most.
func TestNextConfigurationChangesOneVoter(t *testing.T) {
	for _, current := range []string{"a", "a b", "a b-", "a b c-", "a b~ c"} {
		for command := AddVoter; command <= RemoveServer; command++ {
			for _, id := range []ServerID{"a", "b", "c", "d"} {
				before := members(current)
				after, err := nextConfiguration(before, 1, membershipChange{command, id, "Z", 0})
				if err != nil {
					continue
				}
				changed := 0
				for _, id := range []ServerID{"a", "b", "c", "d"} {
					if before.isVoter(id) != after.isVoter(id) {
						changed++
					}
				}
				if changed > 1 {
					t.Errorf("%q to %q: %d voters changed", current, memberText(after), changed)
				}
			}
		}
	}
}

func TestCheckConfiguration(t *testing.T) {
	for _, tt := range []struct{ servers, want string }{
		{"a", ""},
		{"a b- c~", ""},
		{"", "need at least one voter in configuration: {[]}"},
		{"b- c~", "need at least one voter in configuration: {[{Nonvoter b B} {Staging c C}]}"},
		{"a a@X", "found duplicate ID in configuration: a"},
		{"a b-@A", "found duplicate address in configuration: A"},
		{"a @X", "empty ID in configuration: {[{Voter a A} {Voter  X}]}"},
		{"a b@", "empty address in configuration: {Voter b }"},
		{"a@ @X", "empty address in configuration: {Voter a }"}, // the first failure wins
	} {
		got := ""
		if err := checkConfiguration(members(tt.servers)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.servers, got, tt.want)
		}
	}
}

func TestConfigurationQueries(t *testing.T) {
	c := members("a b- c~ d")
	if got := c.voters(); !reflect.DeepEqual(got, []ServerID{"a", "d"}) {
		t.Errorf("voters %v", got)
	}
	for id, want := range map[ServerID]bool{"a": true, "b": false, "c": false, "d": true, "x": false} {
		if c.isVoter(id) != want {
			t.Errorf("isVoter(%s) is %v", id, !want)
		}
	}
	if s, ok := c.find("b"); !ok || s.Address != "B" {
		t.Errorf("find: %v, %v", s, ok)
	}
	if s, ok := c.findAddr("B"); !ok || s.ID != "b" {
		t.Errorf("findAddr: %v, %v", s, ok)
	}
	if _, ok := c.find("B"); ok {
		t.Error("found an address by ID")
	}
	clone := c.Clone()
	clone.Servers[0].ID = "changed"
	if c.Servers[0].ID != "a" {
		t.Error("a clone shares servers")
	}
	if clone := (&Configuration{Servers: []Server{}}).Clone(); clone.Servers != nil {
		t.Error("the clone of an empty list is not nil")
	}
}

// configurations is tested by sentences: each word is a call, and what follows it the
// list as index:servers.
func TestConfigurations(t *testing.T) {
	for _, tt := range []struct{ calls, want string }{
		{"base 0", "0:"},
		{"base 0, append 1 a", "0: 1:a"},
		{"base 1 a, append 5 ab, append 9 abc", "1:a 5:ab 9:abc"},
		// Truncation falls back to the configuration before; the base stays (R8).
		{"base 1 a, append 5 ab, append 9 abc, truncate 9", "1:a 5:ab"},
		{"base 1 a, append 5 ab, append 9 abc, truncate 6", "1:a 5:ab"},
		{"base 1 a, append 5 ab, append 9 abc, truncate 5", "1:a"},
		{"base 1 a, append 5 ab, truncate 1", "1:a"},
		{"base 1 a, append 5 ab, truncate 6", "1:a 5:ab"},
		{"base 1 a, append 5 ab, truncate 5, append 5 ac", "1:a 5:ac"},
		// Compaction keeps the one in force at its index.
		{"base 1 a, append 5 ab, append 9 abc, compact 4", "1:a 5:ab 9:abc"},
		{"base 1 a, append 5 ab, append 9 abc, compact 5", "5:ab 9:abc"},
		{"base 1 a, append 5 ab, append 9 abc, compact 8", "5:ab 9:abc"},
		{"base 1 a, append 5 ab, append 9 abc, compact 99", "9:abc"},
		// A snapshot at 7 with its configuration; the log keeps what is above.
		{"base 1 a, append 5 ab, append 9 abc, reset 7 6 abd", "6:abd 9:abc"},
		{"base 1 a, append 5 ab, append 9 abc, reset 9 9 abd", "9:abd"},
		{"base 1 a, append 5 ab, append 9 abc, reset 20 3 abd", "3:abd"},
	} {
		var c configurations
		for _, call := range strings.Split(tt.calls, ", ") {
			var verb, servers string
			var index, at uint64
			switch _, _ = fmt.Sscan(call, &verb); verb {
			case "base":
				_, _ = fmt.Sscan(call, &verb, &index, &servers)
				c = newConfigurations(configEntry{index, letters(servers)})
			case "append":
				_, _ = fmt.Sscan(call, &verb, &index, &servers)
				c.append(configEntry{index, letters(servers)})
			case "truncate":
				_, _ = fmt.Sscan(call, &verb, &index)
				c.truncate(index)
			case "compact":
				_, _ = fmt.Sscan(call, &verb, &index)
				c.compact(index)
			case "reset":
				_, _ = fmt.Sscan(call, &verb, &at, &index, &servers)
				c.reset(at, configEntry{index, letters(servers)})
			}
		}
		var got []string
		for _, e := range c.list {
			got = append(got, fmt.Sprintf("%d:%s", e.index, strings.ReplaceAll(memberText(e.config), " ", "")))
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.calls, got, tt.want)
		}
		if got := c.latest(); got.index != c.list[len(c.list)-1].index {
			t.Errorf("%s: latest is %d", tt.calls, got.index)
		}
	}
}

// letters is members of single letters.
func letters(ids string) Configuration {
	return members(strings.Join(strings.Split(ids, ""), " "))
}

func TestConfigurationsAt(t *testing.T) {
	c := newConfigurations(configEntry{3, letters("a")})
	c.append(configEntry{5, letters("ab")})
	c.append(configEntry{9, letters("abc")})
	for at, want := range map[uint64]uint64{0: 3, 3: 3, 4: 3, 5: 5, 8: 5, 9: 9, 99: 9} {
		if got := c.at(at).index; got != want {
			t.Errorf("at %d: that of %d, want %d", at, got, want)
		}
	}
}

func TestConfigurationEncodingsGolden(t *testing.T) {
	var g struct {
		Configuration []struct {
			Name          string
			Configuration Configuration
			Msgpack       hexBytes
		}
		LegacyPeers []struct {
			Voters  []ServerAddress
			Msgpack hexBytes
		} `json:"legacy_peers"`
	}
	loadGolden(t, "encodings.json", &g)
	if len(g.Configuration) == 0 || len(g.LegacyPeers) == 0 {
		t.Fatal("no cases")
	}
	for _, tt := range g.Configuration {
		if got := EncodeConfiguration(tt.Configuration); string(got) != string(tt.Msgpack) {
			t.Errorf("%s: encoded as %x, want %x", tt.Name, got, tt.Msgpack)
		}
		if got := DecodeConfiguration(tt.Msgpack); memberText(got) != memberText(tt.Configuration) {
			t.Errorf("%s: decoded as %v", tt.Name, got)
		}
	}
	for _, tt := range g.LegacyPeers {
		c := Configuration{Servers: []Server{{Nonvoter, "n", "N"}}} // not among the peers
		var want Configuration
		for _, addr := range tt.Voters {
			c.Servers = append(c.Servers, Server{Voter, ServerID("id of " + addr), addr})
			want.Servers = append(want.Servers, Server{Voter, ServerID(addr), addr})
		}
		if got, err := encodePeers(c, addrTransport{}); err != nil || string(got) != string(tt.Msgpack) {
			t.Errorf("%v: encoded as %x, %v, want %x", tt.Voters, got, err, tt.Msgpack)
		}
		if got, err := decodePeers(tt.Msgpack, addrTransport{}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: decoded as %v, %v", tt.Voters, got, err)
		}
	}
}

func TestEntryConfiguration(t *testing.T) {
	peers, err := encodePeers(members("a b"), addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		entry Log
		want  string
		fails bool
	}{
		{Log{Type: LogCommand, Data: EncodeConfiguration(members("a"))}, "", false},
		{Log{Type: LogConfiguration, Data: EncodeConfiguration(members("a b-"))}, "a b-", false},
		{Log{Type: LogAddPeerDeprecated, Data: peers}, "A B", false},
		{Log{Type: LogRemovePeerDeprecated, Data: peers}, "A B", false},
		{Log{Type: LogConfiguration, Data: []byte{0xff}}, "", true},
		{Log{Type: LogAddPeerDeprecated, Data: []byte{0xff}}, "", true},
		{Log{Type: LogConfiguration}, "", true},
		// Without a voter it would be the end of the cluster.
		{Log{Type: LogConfiguration, Data: EncodeConfiguration(members("b-"))}, "", true},
		{Log{Type: LogAddPeerDeprecated, Data: []byte{0xc0}}, "", true},
	} {
		c, ok, err := entryConfiguration(&tt.entry, addrTransport{})
		if memberText(c) != tt.want || ok != (tt.want != "") || (err != nil) != tt.fails {
			t.Errorf("%v %x: %v, %v, %v", tt.entry.Type, tt.entry.Data, c, ok, err)
		}
	}
}

// Every version reads what any version writes.
func TestConfigurationLog(t *testing.T) {
	for version, want := range map[ProtocolVersion]LogType{1: LogRemovePeerDeprecated, 2: LogConfiguration, 3: LogConfiguration} {
		entry, err := configurationLog(members("A B"), version, addrTransport{})
		if err != nil || entry.Type != want {
			t.Errorf("version %d: %v, %v", version, entry.Type, err)
		}
		if c, ok, err := entryConfiguration(&entry, addrTransport{}); !ok || err != nil || memberText(c) != "A B" {
			t.Errorf("version %d: read as %v, %v", version, c, err)
		}
	}
}
