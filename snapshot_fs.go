package raft

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// This file holds the seam between FileSnapshotStore and the operating system.
// Tests put failures and crashes behind it.

// fileSystem is what a FileSnapshotStore needs of an operating system. Nothing of
// it survives a crash unless it was synced: a file's bytes by its Sync, a name in
// a directory (made, renamed or removed) by SyncDir of that directory.
type fileSystem interface {
	// Mkdir makes one directory. Its error is fs.ErrExist if there is something
	// of that name, fs.ErrNotExist if the parent is missing.
	Mkdir(dir string) error

	// ReadDir lists a directory, sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)

	// Create makes a file or empties the one that is there.
	Create(name string) (file, error)

	// Open opens a file for reading.
	Open(name string) (file, error)

	// Rename renames a file or directory, atomically.
	Rename(from, to string) error

	// RemoveAll removes a file, or a directory with all that is in it, but not
	// atomically. It is no error if there is nothing of that name.
	RemoveAll(name string) error

	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// file is an open file of a fileSystem.
type file interface {
	io.ReadWriteSeeker
	io.Closer
	Sync() error
}

// osFS is the operating system's fileSystem.
type osFS struct{}

func (osFS) Mkdir(dir string) error                    { return os.Mkdir(dir, 0o755) }
func (osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (osFS) Rename(from, to string) error              { return os.Rename(from, to) }
func (osFS) RemoveAll(name string) error               { return os.RemoveAll(name) }

func (osFS) Create(name string) (file, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err // f itself would be a non-nil file
	}
	return f, nil
}

func (osFS) Open(name string) (file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// SyncDir does nothing on Windows, which can't sync a directory and keeps names in
// the file system's own journal, and in file systems that say they can't.
func (osFS) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
