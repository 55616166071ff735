// Package child runs the servers of a test cluster as processes that end with the
// driver that started them, however it ends.
package child

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
)

// A Child is one run of a process. Its methods may be called from any goroutine.
type Child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	killed atomic.Bool
	exited chan struct{} // closed when the process is gone and cmd.ProcessState is set
}

// Start starts cmd in a process group of its own, so that a signal from the
// terminal is the driver's alone. Standard input is a pipe that ends with the
// driver, however that ends: cmd must stop at its end. A process that is stopped by
// a signal then ends too, because the system sends SIGHUP and SIGCONT to stopped
// process groups that have lost their parent.
func Start(cmd *exec.Cmd) (*Child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &Child{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	go c.wait()
	return c, nil
}

func (c *Child) wait() {
	_ = c.cmd.Wait() // the ProcessState tells more
	close(c.exited)
}

// Pid is the process's ID. It may belong to another process once this one is gone.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Signal sends a signal. It fails if the process is gone.
func (c *Child) Signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

// Kill ends the process with SIGKILL and waits until it is gone. It may be called
// again.
func (c *Child) Kill() {
	c.killed.Store(true)
	_ = c.cmd.Process.Kill() // fails only if it is gone
	_ = c.stdin.Close()
	<-c.exited
}

// Exited is closed when the process is gone.
func (c *Child) Exited() <-chan struct{} { return c.exited }

// Crashed returns how the process ended if it did so before Kill made it, else
// nil.
func (c *Child) Crashed() *os.ProcessState {
	select {
	case <-c.exited:
	default:
		return nil
	}
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if c.killed.Load() && ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return nil
	}
	return c.cmd.ProcessState
}

// FreeAddr returns an address of the loopback interface that nobody listens on.
// Its port is below those that systems give to outgoing connections: a server that
// is down for a while must get its port back.
func FreeAddr() (string, error) {
	const first, last = 20000, 32000
	var err error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port: %w", err)
}
