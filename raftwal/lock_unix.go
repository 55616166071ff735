//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package raftwal

import (
	"fmt"
	"os"
	"syscall"
)

// lock keeps other processes, and other stores of this one, from a directory.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // the first error is the one to report
		if err == syscall.EWOULDBLOCK {
			return nil, fmt.Errorf("%w: %s", ErrLocked, name)
		}
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return f.Close, nil
}
