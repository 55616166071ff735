package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// disk is where a node keeps its data: a directory, or a small file system of its
// own, which can be filled.
type disk struct {
	dir   string   // of the data, or of the copy of it that is made after a failure
	tmpfs *os.File // nil for a directory
}

const (
	// tmpfsSize is room for a small log and its snapshots.
	tmpfsSize = "24m"
	// firstExtraFile is the descriptor of the first of exec.Cmd.ExtraFiles.
	firstExtraFile = 3
)

// newTmpfs makes a file system that is mounted nowhere: it is reached through its
// descriptor, which nodes inherit, and is gone with the last process that has it.
// It needs the right to mount, see mayLack.
func newTmpfs(dir string) (disk, error) {
	config, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return disk{}, fmt.Errorf("tmpfs: %w", err)
	}
	defer unix.Close(config)
	if err := errors.Join(unix.FsconfigSetString(config, "size", tmpfsSize), unix.FsconfigCreate(config)); err != nil {
		return disk{}, fmt.Errorf("tmpfs: %w", err)
	}
	mount, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return disk{}, fmt.Errorf("tmpfs: %w", err)
	}
	return disk{dir: dir, tmpfs: os.NewFile(uintptr(mount), "tmpfs")}, nil
}

// mayLack reports whether an error of newTmpfs means that this system has none for us.
func mayLack(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported)
}

// files are what a process needs to inherit.
func (d disk) files() []*os.File {
	if d.tmpfs == nil {
		return nil
	}
	return []*os.File{d.tmpfs}
}

// data is the data directory as the node calls it.
func (d disk) data() string {
	if d.tmpfs == nil {
		return d.dir
	}
	return fmt.Sprintf("/proc/self/fd/%d/data", firstExtraFile)
}

// root is the file system as the driver calls it.
func (d disk) root() string { return fmt.Sprintf("/proc/self/fd/%d", d.tmpfs.Fd()) }

// save copies data that would be gone with the driver into dir.
func (d disk) save() error {
	if d.tmpfs == nil {
		return nil
	}
	return os.CopyFS(d.dir, os.DirFS(filepath.Join(d.root(), "data")))
}

func (d disk) close() {
	if d.tmpfs != nil {
		d.tmpfs.Close()
	}
}

// fill takes all the space that is left.
func (d disk) fill() error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return nil
}

// empty gives back what fill took.
func (d disk) empty() error { return os.Remove(d.filler()) }

func (d disk) filler() string { return filepath.Join(d.root(), "filler") }

// limitFileSize makes writes of process pid behind the first limit bytes of a file
// fail with EFBIG. (They raise SIGXFSZ, too, which Go programs ignore.)
func limitFileSize(pid int, limit uint64) error {
	var r unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &r); err != nil {
		return err
	}
	r.Cur = min(limit, r.Max)
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &r, nil)
}

// noLimit undoes limitFileSize.
const noLimit uint64 = unix.RLIM_INFINITY
