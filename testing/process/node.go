package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/raft/testing/internal/child"
)

// node is one server of the cluster: a name, addresses and a data directory that
// stay, and the process that runs on them now, if any.
type node struct {
	index   int
	id      string
	http    string // where it listens for clients
	binary  string
	args    []string
	disk    disk
	logPath string

	mu      sync.Mutex
	live    *child.Child // nil while down
	runs    int
	excused bool // its disk is full: it may stop by itself
	stops   int  // how often it has
}

// start runs the node. It returns before the node answers.
func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live != nil {
		return fmt.Errorf("%s runs already", n.id)
	}
	log, err := os.OpenFile(n.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	n.runs++
	fmt.Fprintf(log, "=== run %d of %s\n", n.runs, n.id)
	cmd := exec.Command(n.binary, n.args...)
	// A pipe, not the file: a limit on the size of files is not to concern the log.
	cmd.Stderr = struct{ *os.File }{log}
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1") // a race is a crash
	cmd.ExtraFiles = n.disk.files()
	n.live, err = child.Start(cmd)
	if err != nil {
		log.Close()
		return fmt.Errorf("%s: %w", n.id, err)
	}
	go func(c *child.Child) {
		<-c.Exited()
		log.Close()
	}(n.live)
	return nil
}

// kill ends the process with SIGKILL, if there is one. That it had crashed is not
// forgotten.
func (n *node) kill() error {
	err := n.checkAlive()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live != nil {
		n.live.Kill()
		n.live = nil
	}
	return err
}

var errDown = errors.New("process is down")

func (n *node) signal(s syscall.Signal) error {
	live := n.current()
	if live == nil {
		return fmt.Errorf("%s: %w", n.id, errDown)
	}
	return live.Signal(s)
}

// current is the present run of the node, nil while it is down.
func (n *node) current() *child.Child {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.live
}

// excuse says whether the node may stop by itself from now on.
func (n *node) excuse(may bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.excused = may
}

// checkAlive returns an error if the process ended by itself without an excuse. One
// with an excuse must have ended in good order; the node is down then.
func (n *node) checkAlive() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live == nil {
		return nil
	}
	how := n.live.Crashed()
	switch {
	case how == nil:
		return nil
	case n.excused && how.ExitCode() == exitFailed:
		n.live = nil
		n.stops++
		return nil
	}
	return fmt.Errorf("%s ended by itself: %v, see %s", n.id, how, n.logPath)
}

// exitFailed is the exit code of a kv node that can't go on and says so.
const exitFailed = 1

// addresses are where a node listens, and the proxies in front of it.
type addresses struct{ raft, raftProxy, http, httpProxy string }

func newAddresses(net *network, i int) (a addresses, err error) {
	if a.raft, err = child.FreeAddr(); err != nil {
		return a, err
	}
	if a.http, err = child.FreeAddr(); err != nil {
		return a, err
	}
	if a.raftProxy, err = net.proxy(i, a.raft); err != nil {
		return a, err
	}
	a.httpProxy, err = net.proxy(i, a.http)
	return a, err
}

// newNode lays out node i of a cluster; it does not run yet.
func newNode(i int, dir, binary string, all []addresses, d disk) *node {
	n := &node{id: fmt.Sprint("n", i+1), index: i, http: all[i].http, binary: binary, disk: d}
	n.logPath = filepath.Join(dir, n.id+".log")
	n.args = append(sharedArgs(),
		"-id", n.id, "-data", d.data(), "-dial-from", sourceAddr(i),
		"-raft-addr", all[i].raft, "-raft-advertise", all[i].raftProxy,
		"-http-addr", all[i].http, "-http-advertise", all[i].httpProxy)
	if i == 0 {
		n.args = append(n.args, "-bootstrap")
		return n
	}
	var seeds []string
	for j, a := range all {
		if j != i {
			seeds = append(seeds, a.httpProxy)
		}
	}
	n.args = append(n.args, "-join", strings.Join(seeds, ","))
	return n
}

// sharedArgs are the flags that all nodes share. Snapshots are so frequent that a
// node which is away for a while needs one, and timeouts so short that there is
// time for many elections.
func sharedArgs() []string {
	return []string{
		"-stop-on-eof", "-log-level", "debug",
		"-heartbeat-timeout", "500ms", "-election-timeout", "500ms", "-request-timeout", "2s",
		"-snapshot-interval", "500ms", "-snapshot-threshold", "200", "-trailing-logs", "50",
	}
}
