package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft/testing/interop/node/control"
)

// checkpoint holds the clients, waits until all servers are the same, and holds
// everything against everything.
func (s *session) checkpoint(ctx context.Context) error {
	s.writers.pause()
	defer s.writers.resume()
	if err := s.nemesis.converge(ctx); err != nil {
		return fmt.Errorf("converge: %w", err)
	}
	members := s.c.members()
	lists := make([][]control.Record, len(members))
	dumps := make([]dump, len(members))
	for i, p := range members {
		var err error
		if lists[i], err = p.applied(ctx); err != nil {
			return err
		}
		st, _ := s.c.last(p)
		dumps[i] = dump{node: p.id, snapshot: st.Snapshot}
		if dumps[i].entries, err = p.log(ctx); err != nil {
			return err
		}
	}
	var wrong []error
	for i, p := range members {
		wrong = append(wrong, checkSequence(p.id, lists[i]))
		for j := range i {
			wrong = append(wrong, checkSame(members[j].id, p.id, lists[j], lists[i]))
			dead, err := checkLogs(dumps[j], dumps[i])
			wrong = append(wrong, err)
			s.c.count(func(st *stats) { st.dead = max(st.dead, dead) })
		}
	}
	for _, old := range s.c.retired() {
		wrong = append(wrong, checkPrefix(old.id, members[0].id, old.applied, lists[0]))
	}
	wrong = append(wrong, checkHistory(s.writers.record(), lists[0]))
	st, _ := s.c.last(members[0])
	fmt.Fprintf(s.o.out, "checked: %d servers, %d retired, %d commands, state %s\n",
		len(members), len(s.c.retired()), len(lists[0]), st.Chain)
	return errors.Join(wrong...)
}
