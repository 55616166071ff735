//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package raftwal

import "os"

// lock makes the file of the lock. On this system nobody is kept from the directory.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}
