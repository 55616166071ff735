package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestLimitFileSize holds that a limit is felt by a running process, this one, and
// that it is gone afterwards.
func TestLimitFileSize(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := limitFileSize(os.Getpid(), 4096); err != nil {
		t.Fatal(err)
	}
	_, before := f.WriteAt([]byte("x"), 4095)
	_, behind := f.WriteAt([]byte("x"), 4096)
	if err := limitFileSize(os.Getpid(), noLimit); err != nil {
		t.Fatal(err)
	}
	_, after := f.WriteAt([]byte("x"), 4096)
	if before != nil || !errors.Is(behind, syscall.EFBIG) || after != nil {
		t.Errorf("below the limit %v, above %v, afterwards %v", before, behind, after)
	}
}

func TestTmpfs(t *testing.T) {
	dir := t.TempDir()
	d, err := newTmpfs(dir)
	if mayLack(err) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	data := filepath.Join(d.root(), "data")
	write := func(name string) error { return os.WriteFile(filepath.Join(data, name), make([]byte, 10000), 0o644) }
	if err := errors.Join(os.Mkdir(data, 0o755), write("a"), d.fill()); err != nil {
		t.Fatal(err)
	}
	if err := write("b"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full: %v", err)
	}
	if err := errors.Join(d.empty(), write("c"), d.save()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c")); err != nil {
		t.Error(err)
	}
}
