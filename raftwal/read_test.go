package raftwal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

// countedReads counts the reads of the files.
type countedReads struct {
	fileSystem
	reads int
}

type countedFile struct {
	file
	fs *countedReads
}

func (c *countedReads) Open(name string) (file, error) {
	f, err := c.fileSystem.Open(name)
	return countedFile{f, c}, err
}

func (f countedFile) ReadAt(b []byte, at int64) (int, error) {
	f.fs.reads++
	return f.file.ReadAt(b, at)
}

func numbered(first uint64, n, size int) []*raft.Log {
	logs := make([]*raft.Log, n)
	for i := range logs {
		logs[i] = &raft.Log{Index: first + uint64(i), Term: 1, Data: slices.Repeat([]byte{byte(i)}, size)}
	}
	return logs
}

// Entries that lie together are read together, also those of several records.
func TestReadLogsReadsPieces(t *testing.T) {
	const batches, n, size = 8, 500, 256 // 1 MiB
	fs := &countedReads{fileSystem: osFS{}}
	s, err := openStore(Options{Dir: t.TempDir(), SegmentSize: 700 << 10}, fs)
	must(t, err)
	defer s.Close()
	for i := range uint64(batches) {
		must(t, s.StoreLogs(numbered(1+i*n, n, size)))
	}
	// The first entries of a segment are behind what was truncated.
	must(t, s.DeleteRange(batches*n, batches*n))
	must(t, s.StoreLogs(numbered(batches*n, 1, 2*pieceSize)))

	fs.reads = 0
	next := uint64(1)
	must(t, s.ReadLogs(1, batches*n, func(e *raft.Log) bool {
		if e.Index != next || e.Data[0] != byte((next-1)%n) && next < batches*n {
			t.Fatalf("entry %d with data %d where %d should be", e.Index, e.Data[0], next)
		}
		next++
		return true
	}))
	if next != batches*n+1 {
		t.Errorf("ended before entry %d", next)
	}
	if most := batches*n*size/pieceSize + 4; fs.reads > most {
		t.Errorf("%d reads, want %d at most", fs.reads, most)
	}
}

// What the disk has changed is not taken for an entry, and the entries before it are read.
func TestReadLogsChecks(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, Options{Dir: dir})
	must(t, s.StoreLogs(numbered(1, 9, 100)))
	f, err := os.OpenFile(filepath.Join(dir, "0000000000000001.wal"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	at := s.segments[0].frames[5].end() - 1
	_, err = f.WriteAt([]byte{77}, int64(at))
	must(t, err)
	visited := 0
	err = s.ReadLogs(1, 9, func(*raft.Log) bool {
		visited++
		return true
	})
	if !errors.Is(err, ErrCorrupt) || visited != 5 {
		t.Errorf("after %d entries: %v, want 5 and ErrCorrupt", visited, err)
	}
}

// BenchmarkReadLogs visits entries; an operation is one entry.
func BenchmarkReadLogs(b *testing.B) {
	const n = 10_000
	s := open1(b, Options{Dir: b.TempDir(), NoSync: true})
	must(b, s.StoreLogs(numbered(1, n, 256)))
	b.ReportAllocs()
	for left := b.N; left > 0; left -= n {
		must(b, s.ReadLogs(1, uint64(min(left, n)), func(*raft.Log) bool { return true }))
	}
}

func BenchmarkGetLog(b *testing.B) {
	const n = 10_000
	s := open1(b, Options{Dir: b.TempDir(), NoSync: true})
	must(b, s.StoreLogs(numbered(1, n, 256)))
	b.ReportAllocs()
	var l raft.Log
	for i := uint64(0); b.Loop(); i++ {
		must(b, s.GetLog(i%n+1, &l))
	}
}
