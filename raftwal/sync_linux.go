package raftwal

import (
	"os"
	"syscall"
)

// Sync is fdatasync: it leaves out the time of modification, and with it a write to the
// file system's journal.
func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
