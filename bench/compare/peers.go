package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// A peer is a program that measures one library.
type peer struct {
	path  string
	build string // hash of the program
}

// buildPeers builds the programs of that name, whose sources are in peers/, into dir.
func buildPeers(ctx context.Context, dir string, names []string) (map[string]peer, error) {
	peers := map[string]peer{}
	for _, name := range names {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		// Nothing but the source may change the hash of the program.
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, ".")
		build.Dir = filepath.Join("peers", name)
		build.Env = append(os.Environ(), "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building peer %s: %w\n%s", name, err, out)
		}
		program, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		peers[name] = peer{path, fmt.Sprintf("%.8x", sha256.Sum256(program))}
	}
	return peers, nil
}

// runLimit is how long a run may take, with all that it writes before it measures.
const runLimit = 15 * time.Minute

// run runs the peer in a directory of its own below dir. What it cannot do is
// [load.ErrUnsupported].
func (p peer) run(ctx context.Context, dir, args string, measured time.Duration) (load.Metrics, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit, fmt.Errorf("not done after %v", runLimit))
	defer cancel()
	dir, err := os.MkdirTemp(dir, "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	syscall.Sync() // what earlier runs wrote is not to be written during this one

	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, p.path, append(strings.Fields(args), "-time", measured.String(), "-dir", dir)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A peer may have started processes. They must end when it does: what still holds its
	// output a second later is killed, and the run has failed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if cmd.Process != nil {
		err = errors.Join(err, killGroup(cmd))
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return outcome(err, stdout.Bytes(), stderr.String())
}

// killGroup kills all processes of a command that still are.
func killGroup(cmd *exec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// outcome returns what a peer has said by the time it ended.
func outcome(err error, stdout []byte, stderr string) (load.Metrics, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == load.Unsupported {
		return nil, load.ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, tail(stderr, 2000))
	}
	var m load.Metrics
	if err := json.Unmarshal(stdout, &m); err != nil {
		return nil, fmt.Errorf("no JSON object on its standard output but %q: %w", tail(string(stdout), 200), err)
	}
	return m, nil
}

// tail returns the last n bytes of s.
func tail(s string, n int) string { return strings.TrimSpace(s[max(len(s)-n, 0):]) }
