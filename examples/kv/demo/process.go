package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

const stopTimeout = 15 * time.Second

// A process is one node: how to start it, and the running process if there is
// one. It ends with the demo, even if that is killed: its standard input is a
// pipe from the demo, and it stops at the end of it.
type process struct {
	id       string
	binary   string
	args     []string
	httpAddr string
	logPath  string

	mu      sync.Mutex
	cmd     *exec.Cmd // nil if not running
	stdin   io.WriteCloser
	exited  chan struct{} // closed after the process has ended and err is set
	err     error
	meant   bool        // it is to end: kill or stop was called
	crashed func(error) // called if it ends although it is not meant to
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(p.binary, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.id, err)
	}
	p.cmd, p.stdin, p.exited, p.meant = cmd, stdin, make(chan struct{}), false
	go p.wait(cmd, p.exited)
	return nil
}

func (p *process) wait(cmd *exec.Cmd, exited chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	p.err, p.cmd = err, nil
	meant := p.meant
	p.mu.Unlock()
	close(exited)
	if !meant {
		p.crashed(fmt.Errorf("node %s has ended: %v", p.id, err))
	}
}

// kill ends the process at once (SIGKILL) and waits until it is gone.
func (p *process) kill() {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.meant = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	cmd.Process.Kill() // fails only if it has just ended
	<-exited
}

// stop asks the process to end in good order and reports if it did not.
func (p *process) stop(ctx context.Context) error {
	p.mu.Lock()
	cmd, stdin, exited := p.cmd, p.stdin, p.exited
	p.meant = true
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	stdin.Close()
	select {
	case <-exited:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stopTimeout):
		return fmt.Errorf("%s did not stop within %v", p.id, stopTimeout)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return fmt.Errorf("%s stopped with an error: %w", p.id, p.err)
	}
	return nil
}

// newProcesses prepares three nodes: the first makes the cluster, the others join.
func (d *demo) newProcesses() ([]*process, error) {
	addrs, err := freeAddresses(6)
	if err != nil {
		return nil, err
	}
	logs := filepath.Join(d.dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	var all []*process
	for i := range 3 {
		id := fmt.Sprint("n", i+1)
		p := &process{
			id: id, binary: d.binary(), httpAddr: addrs[2*i],
			logPath: filepath.Join(logs, id+".log"),
			crashed: d.fail,
		}
		p.args = append(d.nodeFlags(), "-id", id, "-data", filepath.Join(d.dataDir(), id),
			"-http-addr", addrs[2*i], "-raft-addr", addrs[2*i+1])
		if i == 0 {
			p.args = append(p.args, "-bootstrap")
		} else {
			p.args = append(p.args, "-join", addrs[0])
		}
		all = append(all, p)
	}
	return all, nil
}

// nodeFlags are the flags that all nodes share. Snapshots are so frequent that
// the log which a node misses while it is dead is gone when it returns.
func (d *demo) nodeFlags() []string {
	return []string{
		"-stop-on-eof",
		"-snapshot-interval", "1s",
		"-snapshot-threshold", fmt.Sprint(d.snapshotThreshold()),
		"-trailing-logs", fmt.Sprint(d.trailingLogs()),
	}
}

func (d *demo) snapshotThreshold() int { return max(len(d.items)/5, 1) }
func (d *demo) trailingLogs() int      { return max(len(d.items)/40, 1) }

func (d *demo) binary() string {
	name := "kv"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(d.dir, name)
}

func (d *demo) dataDir() string { return filepath.Join(d.dir, "data") }

// build compiles the kv command.
func (d *demo) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", d.binary(), "github.com/hashicorp/raft/examples/kv")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("go build: %w", err), errors.New(string(out)))
	}
	return nil
}

// killAll leaves no process behind.
func (d *demo) killAll() {
	for _, p := range d.nodes {
		p.kill()
	}
}
