package main

import (
	"os"
	"syscall"
)

// datasync waits until what was written to file is on its disk.
func datasync(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }
