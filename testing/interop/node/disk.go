package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// disk is what a server has before Raft runs on it: the stores in its data
// directory, and its address.
type disk struct {
	store Store
	snaps raft.SnapshotStore
	trans *raft.NetworkTransport
}

func openDisk(o options, open func(path string) (Store, error)) (*disk, error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	store, err := open(filepath.Join(o.dir, "raft.db"))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	snaps, err := raft.NewFileSnapshotStore(o.dir, 2, os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	trans, err := raft.NewTCPTransport(o.addr, nil, 3, 5*time.Second, os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return &disk{store, snaps, trans}, nil
}

// close closes what is open; Raft must not run on it any more.
func (d *disk) close() error {
	err := d.trans.Close()
	if c, ok := d.store.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// bootstrap writes the first configuration to an empty data directory. Every
// first server writes the same one.
func (d *disk) bootstrap(o options) error {
	if o.bootstrap == "" {
		return nil
	}
	exists, err := raft.HasExistingState(d.store, d.store, d.snaps)
	if err != nil || exists {
		return err
	}
	var first raft.Configuration
	for _, s := range strings.Split(o.bootstrap, ",") {
		id, addr, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("not ID=ADDR: " + s)
		}
		first.Servers = append(first.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addr)})
	}
	return raft.BootstrapCluster(o.conf, d.store, d.store, d.snaps, d.trans, first)
}

// recover gives the server the configuration in a peers.json.
func (d *disk) recover(o options) error {
	forced, err := raft.ReadConfigJSON(o.recovery)
	if err != nil {
		return err
	}
	return raft.RecoverCluster(o.conf, &machine{}, d.store, d.store, d.snaps, d.trans, forced)
}
