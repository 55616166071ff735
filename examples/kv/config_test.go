package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestParseConfigMistakes(t *testing.T) {
	const good = "-id n1 -data d"
	for _, tt := range []struct{ args, want string }{
		{"", "-id is required"},
		{"-id n1", "-data is required"},
		{good + " -bootstrap -join 127.0.0.1:1", "-bootstrap and -join exclude each other"},
		{good + " -raft-addr nowhere", "-raft-addr: address nowhere: missing port"},
		{good + " -http-addr 127.0.0.1:99999", "-http-addr: "},
		{good + " -raft-addr :7000", "-raft-advertise is required"},
		{good + " -raft-addr [::]:7000", "-raft-advertise is required"},
		{good + " -raft-advertise 0.0.0.0:7000", "-raft-advertise is required"},
		{good + " -dial-from localhost", `-dial-from "localhost": not an IP address`},
		{good + " -join 127.0.0.1:1,there", "-join there: address there: missing port"},
		{good + " -heartbeat-timeout 1s -election-timeout 500ms", "ElectionTimeout (500ms) must be equal or greater"},
		{good + " -heartbeat-timeout 0", "HeartbeatTimeout is too low"},
		{good + " -request-timeout 0s", "-request-timeout 0s: must be positive"},
		{good + " -max-value 0", "-max-value 0: must be between"},
		{good + " -max-value 100 -max-inflight 99", "-max-inflight 99: must be at least -max-value, 100"},
		{good + " -log-level loud", `-log-level "loud": unknown`},
		{good + " extra", `unexpected argument "extra"`},
		{good + " -no-such-flag", "flag provided but not defined"},
	} {
		var out strings.Builder
		_, err := parseConfig(strings.Fields(tt.args), &out)
		if err == nil || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%q: error %v, output %q; want %q", tt.args, err, out.String(), tt.want)
		}
	}
}

func TestParseConfigReportsAllMistakes(t *testing.T) {
	var out strings.Builder
	parseConfig([]string{"-max-value", "-1"}, &out)
	for _, want := range []string{"-id", "-data", "-max-value"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q does not speak of %s", out.String(), want)
		}
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	if _, err := parseConfig([]string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error %v", err)
	}
	var c config
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	c.register(fs)
	fs.VisitAll(func(f *flag.Flag) {
		if !strings.Contains(out.String(), "  -"+f.Name) || f.Usage == "" {
			t.Errorf("-%s is not explained", f.Name)
		}
	})
}
