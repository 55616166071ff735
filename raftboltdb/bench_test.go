package raftboltdb

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

const benchEntrySize = 256

func benchEntries(first uint64, n int) []*raft.Log {
	logs := make([]*raft.Log, n)
	for i := range logs {
		logs[i] = &raft.Log{Index: first + uint64(i), Term: 7, Data: make([]byte, benchEntrySize), AppendedAt: time.Unix(1715949296, 789012345)}
	}
	return logs
}

// BenchmarkStoreLogs appends to a growing log.
func BenchmarkStoreLogs(b *testing.B) {
	for _, batch := range []int{1, 64, 1024} {
		for _, sync := range []bool{true, false} {
			b.Run(fmt.Sprintf("batch=%d/sync=%v", batch, sync), func(b *testing.B) {
				s := open(b, Options{Path: filepath.Join(b.TempDir(), "raft.db"), NoSync: !sync})
				logs := benchEntries(1, batch)
				b.SetBytes(int64(batch * benchEntrySize))
				b.ReportAllocs()
				writes := s.Stats().TxStats
				for b.Loop() {
					must(b, s.StoreLogs(logs))
					for _, l := range logs {
						l.Index += uint64(batch)
					}
				}
				now := s.Stats().TxStats
				b.ReportMetric(float64(now.GetWrite()-writes.GetWrite())/float64(b.N), "writes/op")
			})
		}
	}
}

func BenchmarkGetLog(b *testing.B) {
	const n = 10_000
	s := open(b, Options{Path: filepath.Join(b.TempDir(), "raft.db"), NoSync: true})
	must(b, s.StoreLogs(benchEntries(1, n)))
	b.ReportAllocs()
	var l raft.Log
	var i uint64
	for b.Loop() {
		must(b, s.GetLog(i%n+1, &l))
		i++
	}
}

// BenchmarkReadLogs visits entries; an operation is one entry.
func BenchmarkReadLogs(b *testing.B) {
	const n = 10_000
	s := open(b, Options{Path: filepath.Join(b.TempDir(), "raft.db"), NoSync: true})
	must(b, s.StoreLogs(benchEntries(1, n)))
	b.ReportAllocs()
	for left := b.N; left > 0; left -= n {
		must(b, s.ReadLogs(1, uint64(min(left, n)), func(*raft.Log) bool { return true }))
	}
}

// BenchmarkDeleteRange deletes a prefix of a long log, as compaction does.
func BenchmarkDeleteRange(b *testing.B) {
	for _, n := range []int{64, 512} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			s := open(b, Options{Path: filepath.Join(b.TempDir(), "raft.db"), NoSync: true})
			last, first := uint64(0), uint64(1)
			for b.Loop() {
				if last-first+1 < uint64(n)*2 {
					b.StopTimer()
					must(b, s.StoreLogs(benchEntries(last+1, 20_000)))
					last += 20_000
					b.StartTimer()
				}
				must(b, s.DeleteRange(first, first+uint64(n)-1))
				first += uint64(n)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	l := benchEntries(1<<20, 1)[0]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendEntry(buf[:0], l, false)
	}
}

func BenchmarkDecode(b *testing.B) {
	buf := appendEntry(nil, benchEntries(1<<20, 1)[0], false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeEntry(buf); err != nil {
			b.Fatal(err)
		}
	}
}
