package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/hashicorp/raft/bench/compare/load"
)

// A limit is an operation of the disk or the network alone: no library that has to wait
// for it is faster.
type limit struct {
	name    string
	workers int // that do it at the same time, each with a file or connection of its own
	open    func(dir string) (worker, error)
}

// A worker does the operation of a limit.
type worker struct {
	op    func() error
	close func() error
}

func (l limit) measurement() measurement {
	return measurement{peer: "limit", args: fmt.Sprintf("%s x%d", l.name, l.workers)}
}

// The names of the limits.
const (
	appending   = "append"    // 4 KiB to the end of a file, and fdatasync
	overwriting = "overwrite" // 4 KiB of a file, and fdatasync
	commit1     = "bbolt1"    // a transaction that puts one entry
	commit64    = "bbolt64"   // a transaction that puts 64 entries
	roundTrip   = "tcp"       // 256 bytes there and back
)

// allLimits returns every limit, for one worker and for three at once: a cluster of
// three nodes in one machine has three that share a disk.
func allLimits() []limit {
	var all []limit
	for _, workers := range []int{1, 3} {
		all = append(all,
			limit{appending, workers, openAppend},
			limit{overwriting, workers, openOverwrite},
			limit{commit1, workers, func(dir string) (worker, error) { return openBolt(dir, 1) }},
			limit{commit64, workers, func(dir string) (worker, error) { return openBolt(dir, 64) }},
			limit{roundTrip, workers, func(string) (worker, error) { return openEcho() }},
		)
	}
	return all
}

// measure measures the limit with files in a directory of its own below dir.
func (l limit) measure(dir string, d time.Duration) (m load.Metrics, err error) {
	dir, err = os.MkdirTemp(dir, "limit-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	workers := make([]worker, 0, l.workers)
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.close())
		}
	}()
	for i := range l.workers {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o755); err != nil {
			return nil, err
		}
		w, err := l.open(own)
		if err != nil {
			return nil, err
		}
		workers = append(workers, w)
	}
	return load.Loop(load.Options{Clients: l.workers, Time: d}, func(i int) error { return workers[i].op() })
}

const block = 4 * kib

func openAppend(dir string) (worker, error) {
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return worker{}, err
	}
	data := make([]byte, block)
	return worker{func() error {
		if _, err := file.Write(data); err != nil {
			return err
		}
		return datasync(file)
	}, file.Close}, nil
}

func openOverwrite(dir string) (worker, error) {
	const blocks = 4096
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return worker{}, err
	}
	data, next := make([]byte, block), int64(0)
	_, err = file.Write(make([]byte, blocks*block))
	if err = errors.Join(err, file.Sync()); err != nil {
		return worker{}, errors.Join(err, file.Close())
	}
	return worker{func() error {
		if _, err := file.WriteAt(data, next%blocks*block); err != nil {
			return err
		}
		next++
		return datasync(file)
	}, file.Close}, nil
}

// openBolt commits so many entries of 256 bytes at a time, with keys in order, as a log
// has them.
func openBolt(dir string, puts int) (worker, error) {
	db, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o644, nil)
	if err != nil {
		return worker{}, err
	}
	name, value, next := []byte("logs"), make([]byte, 256), uint64(0)
	return worker{func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			for range puts {
				next++
				if err := bucket.Put(binary.BigEndian.AppendUint64(nil, next), value); err != nil {
					return err
				}
			}
			return nil
		})
	}, db.Close}, nil
}

// openEcho connects to itself, over loopback.
func openEcho() (worker, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return worker{}, err
	}
	echoed := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}) // not splice: a program reads
			err = errors.Join(err, conn.Close())
		}
		echoed <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return worker{}, errors.Join(err, listener.Close())
	}
	out, in := make([]byte, 256), make([]byte, 256)
	return worker{func() error {
		if _, err := conn.Write(out); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, in)
		return err
	}, func() error {
		return errors.Join(conn.Close(), <-echoed, listener.Close())
	}}, nil
}
