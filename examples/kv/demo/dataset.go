package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile is the largest file to load: a kv node takes 64 MiB by default.
const maxFile = 64 << 20

// An item is a file to load. The key is its path below the root.
type item struct {
	key  string
	path string
	size int64
}

func goRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// collect lists all files of root's src and, while there are fewer than minKeys
// or less than minBytes, those of its other directories, one after the other.
// The order of the result is random but always the same.
func collect(root string, minKeys int, minBytes int64) ([]item, error) {
	dirs, err := directories(root)
	if err != nil {
		return nil, err
	}
	var items []item
	var size int64
	for _, dir := range dirs {
		if len(items) >= minKeys && size >= minBytes {
			break
		}
		more, err := filesIn(root, dir)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
		size += totalSize(more)
	}
	if len(items) < max(minKeys, 1) || size < minBytes {
		return nil, fmt.Errorf("%s has only %d files of %d bytes", root, len(items), size)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return items, nil
}

// directories returns the names of root's directories, src first.
func directories(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		// A distribution may have symbolic links here.
		if info, err := os.Stat(filepath.Join(root, e.Name())); err == nil && info.IsDir() {
			dirs = append(dirs, e.Name())
		}
	}
	slices.SortStableFunc(dirs, func(a, b string) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return dirs, nil
}

func rank(dir string) int {
	if dir == "src" {
		return 0
	}
	return 1
}

// filesIn lists the regular files below root/dir that can be read.
func filesIn(root, dir string) ([]item, error) {
	top, err := filepath.EvalSymlinks(filepath.Join(root, dir))
	if err != nil {
		return nil, err
	}
	var items []item
	err = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() > maxFile {
			return err
		}
		rel, err := filepath.Rel(top, path)
		items = append(items, item{key: dir + "/" + filepath.ToSlash(rel), path: path, size: info.Size()})
		return err
	})
	return items, err
}

func totalSize(items []item) (n int64) {
	for _, it := range items {
		n += it.size
	}
	return n
}

func sizeRange(items []item) (smallest, largest int64) {
	smallest = items[0].size
	for _, it := range items {
		smallest = min(smallest, it.size)
		largest = max(largest, it.size)
	}
	return smallest, largest
}
