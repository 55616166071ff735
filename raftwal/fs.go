package raftwal

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"
)

// fileSystem is what a Store needs of an operating system. Nothing of it survives a crash
// unless it was synced: a file's bytes by its Sync, a name in a directory (made, renamed
// or removed) by SyncDir. Tests put failures and crashes behind it.
type fileSystem interface {
	// List returns the names of the files in a directory.
	List(dir string) ([]string, error)

	// Create makes an empty file, or empties the one that is there.
	Create(name string) (file, error)

	// Open opens a file for reading and writing.
	Open(name string) (file, error)

	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
}

// file is an open file of a fileSystem.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer

	// Sync makes the bytes and the size of the file durable.
	Sync() error

	Size() (int64, error)
}

// osFS is the operating system's fileSystem.
type osFS struct{}

func (osFS) List(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (osFS) Create(name string) (file, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (osFS) Open(name string) (file, error) { return open(name, os.O_RDWR) }

func open(name string, flag int) (file, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err // f itself would be a non-nil file
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

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

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
