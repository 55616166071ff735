package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	var got Flags
	workloads := map[string]func(Flags) (Metrics, error){
		"write": func(f Flags) (Metrics, error) { got = f; return Metrics{"rate": 1.5}, nil },
		"fail":  func(Flags) (Metrics, error) { return nil, errors.New("no disk") },
		"other": func(f Flags) (Metrics, error) { return nil, fmt.Errorf("store %s: %w", f.Store, ErrUnsupported) },
	}
	for _, tt := range []struct {
		args   string
		status int
		stdout string
		stderr string // part of it
	}{
		{"-dir d -store wal -clients 64 -time 2s", 0, `{"rate":1.5}`, ""},
		{"-dir d -workload fail", 1, "", "fail: no disk"},
		{"-dir d -workload other", 3, "", "store bolt: not supported"},
		{"-dir d -workload none", 3, "", `"none"`},
		{"-workload write", 1, "", "-dir is missing"},
		{"-dir d more", 2, "", `"more"`},
		{"-clients many", 2, "", "many"},
	} {
		var stdout, stderr strings.Builder
		status := run(strings.Fields(tt.args), &stdout, &stderr, workloads)
		if status != tt.status || strings.TrimSpace(stdout.String()) != tt.stdout || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: status %d, output %q, errors %q", tt.args, status, &stdout, &stderr)
		}
	}
	want := Flags{
		Workload: "write", Store: "wal", Method: "verify", Nodes: 3, Processes: 1, Clients: 64, Size: 256,
		Time: 2 * time.Second, Dir: "d",
	}
	if got != want {
		t.Errorf("flags %+v, want %+v", got, want)
	}
}

func TestRunWritesProfiles(t *testing.T) {
	dir := t.TempDir()
	cpu, mem := filepath.Join(dir, "cpu"), filepath.Join(dir, "mem")
	args := []string{"-dir", dir, "-time", "20ms", "-cpuprofile", cpu, "-memprofile", mem}
	var stdout, stderr strings.Builder
	status := run(args, &stdout, &stderr, map[string]func(Flags) (Metrics, error){
		"write": func(f Flags) (Metrics, error) { return Write(newFake(1), f.Options()) },
	})
	if status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	for _, name := range []string{cpu, mem} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("profile %s: %v, error %v", name, info, err)
		}
	}
}

func TestReportSurvivesJSON(t *testing.T) {
	want := Report{State{1, 1<<64 - 1}, Usage{time.Second, 2, 3, 4, 5, 6}}
	data, err := json.Marshal(want)
	var got Report
	if err = errors.Join(err, json.Unmarshal(data, &got)); err != nil || got != want {
		t.Errorf("%+v, error %v, want %+v", got, err, want)
	}
}
