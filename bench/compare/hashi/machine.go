package hashi

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// fsm is a machine as an FSM. It takes no snapshots; those that it restores are made by
// [past.writeSnapshot].
type fsm struct{ *load.Machine }

func (f fsm) Apply(l *raft.Log) interface{} { return f.Machine.Apply(l.Data) }

func (f fsm) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("a snapshot was to be taken, which is no part of any workload")
}

// Restore applies a snapshot piece by piece, so the machine's state tells whether all
// of it has come.
func (f fsm) Restore(r io.ReadCloser) error {
	defer r.Close()
	f.Machine.Restore(load.State{})
	for buf := make([]byte, snapshotPiece); ; {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			f.Machine.Apply(buf[:n])
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the snapshot: %w", err)
		}
	}
}
