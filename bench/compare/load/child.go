package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A Child is a process that runs this program again. Its parent speaks to it over its
// standard input and hears from it over its standard output, in JSON values. It must end
// when its input does, for then its parent is done or gone.
type Child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *json.Encoder
	in    *json.Decoder
}

// childEnv is set in the environment of a child.
const childEnv = "RAFT_COMPARE_CHILD"

// IsChild says whether this process is a [Child]. A program that starts children asks it
// before it does anything else.
func IsChild() bool { return os.Getenv(childEnv) != "" }

// StartChild starts a child with these arguments. A child can start none: one that took
// itself for its parent would, and so would all that came of it, without end.
func StartChild(args ...string) (*Child, error) {
	if IsChild() {
		return nil, errors.New("a child starts no other processes: this program does not know that it is one")
	}
	c, err := startChild(args)
	if err != nil {
		return nil, fmt.Errorf("starting a process: %w", err)
	}
	return c, nil
}

func startChild(args []string) (*Child, error) {
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &Child{cmd: cmd, stdin: stdin, out: json.NewEncoder(stdin), in: json.NewDecoder(stdout)}, cmd.Start()
}

// Send sends v to the child.
func (c *Child) Send(v any) error { return c.out.Encode(v) }

// Receive waits for a value from the child, which must fit v, a pointer.
func (c *Child) Receive(v any) error { return c.in.Decode(v) }

// Stop ends what the child hears, and waits until it has ended. Its error is that of a
// child which failed, too.
func (c *Child) Stop() error { return errors.Join(c.stdin.Close(), c.cmd.Wait()) }
