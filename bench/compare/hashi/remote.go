package hashi

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// remote is a node in a process of its own. It is asked one question at a time, and
// answers each.
type remote struct {
	spec  spec
	child *load.Child
}

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
	child, err := load.StartChild()
	if err != nil {
		return nil, err
	}
	return &remote{s, child}, nil
}

func (r *remote) call(q question) (answer, error) {
	var a answer
	if err := r.child.Send(q); err != nil {
		return a, fmt.Errorf("asking node %s: %w", r.spec.Server.ID, err)
	}
	if err := r.child.Receive(&a); err != nil {
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
func (r *remote) stop() error { return r.child.Stop() }

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
