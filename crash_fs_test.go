package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft/internal/crashtest"
)

// crashFS is a fileSystem in memory that knows what a disk holds and what only the
// page cache does. Its crash returns what is left: all that was synced, and of the rest
// what the chooser wants. Of a file's bytes any sector may have been written, and the
// file may be longer than what has been; changes of names may be missing, and come in
// any order, each directory on its own.
type crashFS struct {
	mu   sync.Mutex
	root *crashNode
	open int // files not closed

	// before is asked before each operation, with its name and path; the operation
	// fails with its error and does nothing (but a Close does close). If that is
	// errPretend the operation does nothing and reports success.
	before func(op, path string) error
}

// errPretend makes an operation of a crashFS a fault: it is left out.
var errPretend = errors.New("pretend that it is done")

// crashNode is a file or directory, as it is and as the disk has it.
type crashNode struct {
	isDir         bool
	data, durable []byte
	emptied       bool // since the last sync: what the disk has may have gone already
	names, onDisk map[string]*crashNode
	pending       []func(names map[string]*crashNode) // changes since the last sync
}

func newCrashFS() *crashFS {
	return &crashFS{root: newCrashDir(nil), before: func(op, path string) error { return nil }}
}

func newCrashDir(names map[string]*crashNode) *crashNode {
	if names == nil {
		names = make(map[string]*crashNode)
	}
	return &crashNode{isDir: true, names: names, onDisk: maps.Clone(names)}
}

// change changes names in the page cache.
func (n *crashNode) change(f func(names map[string]*crashNode)) {
	f(n.names)
	n.pending = append(n.pending, f)
}

// chooser says what of the unsynced a crash keeps.
type chooser = crashtest.Choose

func dropAll(n int) int            { return crashtest.Nothing(n) }
func keepAll(n int) int            { return crashtest.Everything(n) }
func keepSome(seed uint64) chooser { return crashtest.Some(seed, seed) }

// crash returns the file system that the next process finds.
func (c *crashFS) crash(choose chooser) *crashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.crashLocked(choose)
}

// crashLocked is crash with the lock held, as it is in before.
func (c *crashFS) crashLocked(choose chooser) *crashFS {
	after := newCrashFS()
	after.root = c.root.crash(choose)
	return after
}

func (n *crashNode) crash(choose chooser) *crashNode {
	if !n.isDir {
		data := n.crashData(choose)
		return &crashNode{data: data, durable: data}
	}
	names := maps.Clone(n.onDisk)
	for _, change := range chooseChanges(n.pending, choose) {
		change(names)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		names[name] = names[name].crash(choose)
	}
	return newCrashDir(names)
}

// chooseChanges returns some of some changes, in any order.
func chooseChanges(pending []func(map[string]*crashNode), choose chooser) (changes []func(map[string]*crashNode)) {
	var kept []func(map[string]*crashNode)
	for _, change := range pending {
		if choose(2) == 1 {
			kept = append(kept, change)
		}
	}
	for n := len(kept); n > 0; n-- {
		i := n - 1 - choose(n)
		changes = append(changes, kept[i])
		kept = slices.Delete(kept, i, i+1)
	}
	return changes
}

// crashData returns what the disk has of a file's bytes. Each sector has been written or
// not; if it is not and the file was emptied before, the old bytes may have gone.
func (n *crashNode) crashData(choose chooser) []byte {
	if bytes.Equal(n.data, n.durable) && !n.emptied {
		return n.durable
	}
	sizes := []int{len(n.durable)}
	if n.emptied {
		sizes = append(sizes, 0)
	}
	for size := 0; size < len(n.data); size += crashtest.Sector {
		if size > len(n.durable) || n.emptied && size > 0 {
			sizes = append(sizes, size)
		}
	}
	sizes = append(sizes, len(n.data))
	data := make([]byte, sizes[choose(len(sizes))])
	for at := 0; at < len(data); at += crashtest.Sector {
		sector := data[at:min(len(data), at+crashtest.Sector)]
		from := [][]byte{n.durable, n.data}
		if n.emptied {
			from = [][]byte{n.durable, nil, n.data}
		}
		if source := from[choose(len(from))]; at < len(source) {
			copy(sector, source[at:])
		}
	}
	return data
}

// String lists everything that there is.
func (c *crashFS) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	c.root.print(&b, "/")
	return b.String()
}

func (n *crashNode) print(b *strings.Builder, path string) {
	if !n.isDir {
		fmt.Fprintf(b, "%s %x\n", path, n.data)
		return
	}
	fmt.Fprintln(b, path)
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		n.names[name].print(b, filepath.Join(path, name))
	}
}

// do runs an operation under the lock unless before refuses it.
func (c *crashFS) do(op, path string, f func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch err := c.before(op, path); err {
	case nil:
		return f()
	case errPretend:
		return nil
	default:
		return err
	}
}

// walk returns the node of a path.
func (c *crashFS) walk(path string) (*crashNode, error) {
	n := c.root
	for _, name := range strings.Split(filepath.ToSlash(filepath.Clean(path)), "/") {
		if name == "" {
			continue
		}
		if n = n.names[name]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

func (c *crashFS) Mkdir(dir string) error {
	return c.do("mkdir", dir, func() error {
		parent, err := c.walk(filepath.Dir(dir))
		if err != nil {
			return err
		}
		base := filepath.Base(dir)
		if parent.names[base] != nil {
			return fs.ErrExist
		}
		made := newCrashDir(nil)
		parent.change(func(names map[string]*crashNode) { names[base] = made })
		return nil
	})
}

func (c *crashFS) ReadDir(dir string) (entries []fs.DirEntry, err error) {
	err = c.do("readdir", dir, func() error {
		n, err := c.walk(dir)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(n.names)) {
			entries = append(entries, fs.FileInfoToDirEntry(crashInfo{name, n.names[name]}))
		}
		return nil
	})
	return entries, err
}

func (c *crashFS) Create(name string) (f file, err error) {
	err = c.do("create", name, func() error {
		parent, err := c.walk(filepath.Dir(name))
		if err != nil {
			return err
		}
		base := filepath.Base(name)
		n := parent.names[base]
		if n == nil {
			n = &crashNode{}
			parent.change(func(names map[string]*crashNode) { names[base] = n })
		}
		n.emptied = n.emptied || len(n.data) > 0
		n.data = nil
		c.open++
		f = &crashFile{fs: c, name: name, node: n}
		return nil
	})
	return f, err
}

func (c *crashFS) Open(name string) (f file, err error) {
	err = c.do("open", name, func() error {
		n, err := c.walk(name)
		if err != nil {
			return err
		}
		c.open++
		f = &crashFile{fs: c, name: name, node: n}
		return nil
	})
	return f, err
}

func (c *crashFS) Rename(from, to string) error {
	return c.do("rename", from, func() error {
		parent, err := c.walk(filepath.Dir(from))
		if err != nil {
			return err
		}
		old, new := filepath.Base(from), filepath.Base(to)
		n := parent.names[old]
		if n == nil {
			return fs.ErrNotExist
		}
		if parent.names[new] != nil {
			return fs.ErrExist
		}
		parent.change(func(names map[string]*crashNode) {
			delete(names, old)
			names[new] = n
		})
		return nil
	})
}

// RemoveAll is not atomic: what is inside goes first, each on its own.
func (c *crashFS) RemoveAll(name string) error {
	entries, _ := c.ReadDir(name)
	for _, e := range entries {
		if err := c.RemoveAll(filepath.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return c.do("remove", name, func() error {
		parent, err := c.walk(filepath.Dir(name))
		if err != nil {
			return err
		}
		base := filepath.Base(name)
		if parent.names[base] != nil {
			parent.change(func(names map[string]*crashNode) { delete(names, base) })
		}
		return nil
	})
}

func (c *crashFS) SyncDir(dir string) error {
	return c.do("syncdir", dir, func() error {
		n, err := c.walk(dir)
		if err != nil {
			return err
		}
		n.onDisk, n.pending = maps.Clone(n.names), nil
		return nil
	})
}

type crashFile struct {
	fs     *crashFS
	name   string
	node   *crashNode
	at     int
	closed bool
}

func (f *crashFile) Read(p []byte) (n int, err error) {
	err = f.fs.do("read", f.name, func() error {
		n = copy(p, f.node.data[f.at:])
		f.at += n
		if n == 0 && len(p) > 0 {
			return io.EOF
		}
		return nil
	})
	return n, err
}

func (f *crashFile) Write(p []byte) (n int, err error) {
	err = f.fs.do("write", f.name, func() error {
		f.node.data = append(slices.Clone(f.node.data), p...)
		n = len(p)
		return nil
	})
	return n, err
}

func (f *crashFile) Seek(offset int64, whence int) (int64, error) {
	f.at = int(offset) // from the start, as the store does
	return offset, nil
}

func (f *crashFile) Sync() error {
	return f.fs.do("sync", f.name, func() error {
		f.node.durable, f.node.emptied = f.node.data, false
		return nil
	})
}

func (f *crashFile) Close() error {
	f.fs.mu.Lock()
	if f.closed {
		f.fs.mu.Unlock()
		return fs.ErrClosed
	}
	f.closed = true
	f.fs.open--
	f.fs.mu.Unlock()
	return f.fs.do("close", f.name, func() error { return nil })
}

type crashInfo struct {
	name string
	node *crashNode
}

func (i crashInfo) Name() string { return i.name }
func (i crashInfo) Size() int64  { return int64(len(i.node.data)) }
func (i crashInfo) Mode() fs.FileMode {
	if i.node.isDir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
func (i crashInfo) ModTime() time.Time { return time.Time{} }
func (i crashInfo) IsDir() bool        { return i.node.isDir }
func (i crashInfo) Sys() interface{}   { return nil }
