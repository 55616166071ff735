package hashi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// remote is a node in a process of its own, which runs the same program. It is asked
// over its standard input, one question at a time, and answers on its standard output.
type remote struct {
	spec    spec
	cmd     *exec.Cmd
	stdin   io.Closer
	ask     *json.Encoder
	answers *json.Decoder
}

// remoteEnv, when it is set, makes the program serve as a remote.
const remoteEnv = "RAFT_COMPARE_REMOTE"

// question is what a remote is told to do. Exactly one field is set.
type question struct {
	Begin    *spec        // be this node
	HandOver *raft.Server // give the leadership to this one
	Report   bool
}

type answer struct {
	Error  string
	Report load.Report
}

// startRemote starts a process that is to be the node s.
func startRemote(s spec) (*remote, error) {
	if os.Getenv(remoteEnv) != "" {
		return nil, errors.New("a remote starts no other processes: this program does not know that it is one")
	}
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name)
	cmd.Env = append(os.Environ(), remoteEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a process: %w", err)
	}
	return &remote{spec: s, cmd: cmd, stdin: stdin, ask: json.NewEncoder(stdin), answers: json.NewDecoder(stdout)}, nil
}

func (r *remote) call(q question) (answer, error) {
	var a answer
	if err := r.ask.Encode(q); err != nil {
		return a, fmt.Errorf("asking node %s: %w", r.spec.Server.ID, err)
	}
	if err := r.answers.Decode(&a); err != nil {
		return a, fmt.Errorf("hearing from node %s: %w", r.spec.Server.ID, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("node %s: %s", r.spec.Server.ID, a.Error)
	}
	return a, nil
}

// begin is [node.begin] there.
func (r *remote) begin() error {
	_, err := r.call(question{Begin: &r.spec})
	return err
}

// handOver is [node.handOver] there.
func (r *remote) handOver(to raft.Server) error {
	_, err := r.call(question{HandOver: &to})
	return err
}

// Report implements [load.Remote].
func (r *remote) Report() (load.Report, error) {
	a, err := r.call(question{Report: true})
	return a.Report, err
}

// stop ends the process, which stops when nobody can ask it any more.
func (r *remote) stop() error { return errors.Join(r.stdin.Close(), r.cmd.Wait()) }

// serveRemote is the other side: it answers until there are no more questions, because
// whoever asks is done or gone.
func serveRemote(lib Library) {
	s := served{lib: lib}
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q question
		if questions.Decode(&q) != nil {
			return
		}
		a, err := s.answer(q)
		if err != nil {
			a.Error = err.Error()
		}
		if answers.Encode(a) != nil {
			return
		}
	}
}

// served is the node that a remote is, once it has begun.
type served struct {
	lib  Library
	node *node
}

func (s *served) answer(q question) (a answer, err error) {
	switch {
	case q.Begin != nil:
		if s.node, err = newNode(s.lib, *q.Begin); err != nil {
			return a, err
		}
		return a, s.node.begin()
	case q.HandOver != nil:
		return a, s.node.handOver(*q.HandOver)
	default:
		a.Report, err = s.node.report()
		return a, err
	}
}
