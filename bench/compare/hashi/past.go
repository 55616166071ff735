package hashi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/bench/compare/load"
)

// past is what a cluster has seen before it is measured: nodes find it in their stores
// when they start.
type past struct {
	Servers []raft.Server // the first entry of the log
	Entries int           // commands that follow it
	Size    int           // of each in bytes

	// Snapshot says that the log was compacted away. The commands are in the snapshot.
	Snapshot bool
}

const (
	pastTerm = 1

	// A batch that is stored has so many entries at most, and about so many bytes.
	batchEntries = 4096
	batchBytes   = 4 << 20

	// snapshotPiece is the size of a command in a large snapshot.
	snapshotPiece = 64 << 10
)

// write puts the past into empty stores.
func (p past) write(logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore) error {
	if err := stable.SetUint64([]byte("CurrentTerm"), pastTerm); err != nil {
		return fmt.Errorf("setting the term: %w", err)
	}
	if p.Snapshot {
		return p.writeSnapshot(snaps)
	}
	return p.writeLog(logs)
}

func (p past) writeLog(logs raft.LogStore) error {
	batch := []*raft.Log{p.entry(1, raft.LogConfiguration, raft.EncodeConfiguration(p.configuration()))}
	size := 0
	c := newCommands(p.Size)
	for i := range p.Entries {
		if len(batch) == batchEntries || size >= batchBytes {
			if err := logs.StoreLogs(batch); err != nil {
				return fmt.Errorf("filling the log: %w", err)
			}
			batch, size = nil, 0 // a store in memory keeps what it gets
		}
		batch = append(batch, p.entry(uint64(i+2), raft.LogCommand, c.next()))
		size += p.Size
	}
	if err := logs.StoreLogs(batch); err != nil {
		return fmt.Errorf("filling the log: %w", err)
	}
	return nil
}

func (p past) entry(index uint64, t raft.LogType, data []byte) *raft.Log {
	return &raft.Log{Index: index, Term: pastTerm, Type: t, Data: data, AppendedAt: time.Now()}
}

func (p past) configuration() raft.Configuration { return raft.Configuration{Servers: p.Servers} }

func (p past) writeSnapshot(snaps raft.SnapshotStore) error {
	_, encoder := raft.NewInmemTransport("") // Create asks a transport how peers are encoded
	sink, err := snaps.Create(1, uint64(p.Entries)+1, pastTerm, p.configuration(), 1, encoder)
	if err != nil {
		return fmt.Errorf("making a snapshot: %w", err)
	}
	if err := p.copyTo(sink); err != nil {
		return fmt.Errorf("writing a snapshot: %w", errors.Join(err, sink.Cancel()))
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finishing a snapshot: %w", err)
	}
	return nil
}

func (p past) copyTo(w io.Writer) error {
	c := newCommands(p.Size)
	for range p.Entries {
		if _, err := w.Write(c.next()); err != nil {
			return err
		}
	}
	return nil
}

// machine returns a machine that has applied it all.
func (p past) machine() *load.Machine {
	m := load.NewMachine()
	c := newCommands(p.Size)
	for range p.Entries {
		m.Apply(c.next())
	}
	return m
}

// commands makes commands of one size that all differ.
type commands struct {
	template []byte
	number   uint64
}

func newCommands(size int) *commands {
	c := &commands{template: make([]byte, size)}
	rand.New(rand.NewSource(2)).Read(c.template) // a disk or file system may compress
	return c
}

func (c *commands) next() []byte {
	c.number++
	command := append([]byte(nil), c.template...)
	binary.LittleEndian.PutUint64(command, c.number)
	return command
}
