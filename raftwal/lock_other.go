//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package raftwal

import "os"

// lock marks a directory as in use. On this system nobody is kept from it.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}
