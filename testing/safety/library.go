package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft/testing/safety/scenarios/verdict"
)

// timeLimit is how long a scenario may take. The longest wait for what a faulty library
// never does is far below.
const timeLimit = 90 * time.Second

// library is the program of scenarios with one library.
type library struct {
	name string
	path string
}

// build builds the program of the module in directory name.
func build(ctx context.Context, dir, name string, race bool) (*library, error) {
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = name
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return &library{name: name, path: path}, nil
}

// scenarios asks the program for its list.
func (l *library) scenarios(ctx context.Context) (list []verdict.Scenario, err error) {
	out, err := exec.CommandContext(ctx, l.path, "-list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.path, err)
	}
	return list, json.Unmarshal(out, &list)
}

// runAll takes the library through all scenarios, some at a time, and returns the
// verdicts in their order.
func (l *library) runAll(ctx context.Context, list []verdict.Scenario, parallel int) ([]verdict.Verdict, error) {
	verdicts, failures := make([]verdict.Verdict, len(list)), make([]error, len(list))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, s := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			verdicts[i], failures[i] = l.run(ctx, s.ID)
		})
	}
	wg.Wait()
	return verdicts, errors.Join(failures...)
}

// run takes the library through a scenario, in a process of its own. An error means that
// this was not possible; whatever the process does is a verdict.
func (l *library) run(ctx context.Context, id string) (verdict.Verdict, error) {
	tmp, err := os.MkdirTemp(filepath.Dir(l.path), id)
	if err != nil {
		return verdict.Verdict{}, err
	}
	defer os.RemoveAll(tmp)
	limited, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(limited, l.path, "-run", id)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "GORACE=halt_on_error=1")
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return verdict.Verdict{}, ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return verdict.Verdict{}, fmt.Errorf("%s: %w", id, err)
	}
	return judge(limited.Err() != nil, err == nil, stdout.Bytes(), stderr.String()), nil
}

// judge makes a verdict of how a process ended: out of time, by itself, or otherwise.
func judge(late, ok bool, stdout []byte, stderr string) verdict.Verdict {
	var v verdict.Verdict
	switch {
	case late:
		return verdict.Verdict{Kind: verdict.Hangs, Detail: fmt.Sprintf("no verdict within %v", timeLimit)}
	case ok && json.Unmarshal(stdout, &v) == nil:
		return v
	}
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		for _, sign := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
			if strings.HasPrefix(line, sign) {
				return verdict.Verdict{Kind: verdict.Panics, Detail: strings.TrimPrefix(line, "panic: ")}
			}
		}
	}
	return verdict.Verdict{Kind: verdict.Killed}
}
