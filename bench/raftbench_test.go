package raftbench

import (
	"flag"
	"testing"

	"github.com/hashicorp/raft"
)

var (
	logBenchmarks = map[string]func(*testing.B, raft.LogStore){
		"FirstIndex": FirstIndex, "LastIndex": LastIndex, "GetLog": GetLog,
		"StoreLog": StoreLog, "StoreLogs": StoreLogs, "DeleteRange": DeleteRange,
	}
	stableBenchmarks = map[string]func(*testing.B, raft.StableStore){
		"Set": Set, "Get": Get, "SetUint64": SetUint64, "GetUint64": GetUint64,
	}
)

// each calls f with every benchmark, on the store that needs no disk.
func each(f func(name string, bench func(b *testing.B))) {
	for name, bench := range logBenchmarks {
		f(name, func(b *testing.B) { bench(b, raft.NewInmemStore()) })
	}
	for name, bench := range stableBenchmarks {
		f(name, func(b *testing.B) { bench(b, raft.NewInmemStore()) })
	}
}

func BenchmarkInmemStore(b *testing.B) {
	each(func(name string, bench func(*testing.B)) { b.Run(name, bench) })
}

// Every benchmark runs without an error.
func TestBenchmarks(t *testing.T) {
	benchtime := flag.Lookup("test.benchtime")
	defer benchtime.Value.Set(benchtime.Value.String())
	if err := benchtime.Value.Set("3x"); err != nil {
		t.Fatal(err)
	}
	each(func(name string, bench func(*testing.B)) {
		if r := testing.Benchmark(bench); r.N != 3 {
			t.Errorf("%s failed", name)
		}
	})
}
