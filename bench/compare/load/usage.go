package load

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what processes have used since they began.
type Usage struct {
	CPU     time.Duration // of user and system
	Allocs  uint64        // number of allocations
	Bytes   uint64        // allocated
	Flushes uint64        // of the stores of all nodes there
	RSS     uint64        // peak of resident memory, in bytes; 0 where there is no /proc
	Data    uint64        // resident now, and not pages of a file as code is; likewise
}

// Self returns what this process has used, but for its flushes, which only its stores
// know. It stops all goroutines for a moment.
func Self() (Usage, error) {
	var cpu syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &cpu); err != nil {
		return Usage{}, fmt.Errorf("getrusage: %w", err)
	}
	rss, data, err := resident()
	if err != nil {
		return Usage{}, err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return Usage{
		CPU:    time.Duration(cpu.Utime.Nano() + cpu.Stime.Nano()),
		Allocs: mem.Mallocs,
		Bytes:  mem.TotalAlloc,
		RSS:    rss,
		Data:   data,
	}, nil
}

// add returns the usage of u and v together. Peaks are summed, as if they had been at
// the same time.
func (u Usage) add(v Usage) Usage {
	return Usage{u.CPU + v.CPU, u.Allocs + v.Allocs, u.Bytes + v.Bytes, u.Flushes + v.Flushes, u.RSS + v.RSS, u.Data + v.Data}
}

// perOp returns metrics of what ops operations used, u being the usage before them and
// now that after.
func (u Usage) perOp(now Usage, ops float64) Metrics {
	return Metrics{
		"cpu":    float64(now.CPU-u.CPU) / float64(time.Microsecond) / ops,
		"allocs": float64(now.Allocs-u.Allocs) / ops,
		"bytes":  float64(now.Bytes-u.Bytes) / ops,
		"rss":    mebibytes(now.RSS),
	}
}

func mebibytes(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// resident asks /proc for the peak of this process's resident memory and for what of it
// is not pages of a file now. The peak that getrusage returns is not below that of the
// process which started this one.
func resident() (peak, data uint64, err error) {
	const name = "/proc/self/status"
	status, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("resident memory: %w", err)
	}
	for key, to := range map[string]*uint64{"VmHWM": &peak, "RssAnon": &data} {
		_, line, found := strings.Cut(string(status), "\n"+key+":")
		line, _, _ = strings.Cut(line, " kB\n")
		kib, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
		if !found || err != nil {
			return 0, 0, fmt.Errorf("resident memory: %s in %s: %w", key, name, err)
		}
		*to = kib << 10
	}
	return peak, data, nil
}
