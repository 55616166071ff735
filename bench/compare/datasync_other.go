//go:build !linux

package main

import "os"

// datasync waits until what was written to file is on its disk.
func datasync(file *os.File) error { return file.Sync() }
