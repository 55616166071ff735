package load

import (
	"bufio"
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
}

// Self returns what this process has used, but for its flushes, which only its stores
// know. It stops all goroutines for a moment.
func Self() (Usage, error) {
	var cpu syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &cpu); err != nil {
		return Usage{}, fmt.Errorf("getrusage: %w", err)
	}
	rss, err := peakRSS()
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
	}, nil
}

// add returns the usage of u and v together. Peaks are summed, as if they had been at
// the same time.
func (u Usage) add(v Usage) Usage {
	return Usage{u.CPU + v.CPU, u.Allocs + v.Allocs, u.Bytes + v.Bytes, u.Flushes + v.Flushes, u.RSS + v.RSS}
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

// peakRSS asks /proc: the peak that getrusage returns is not below that of the process
// which started this one.
func peakRSS() (uint64, error) {
	file, err := os.Open("/proc/self/status")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		value, found := strings.CutPrefix(lines.Text(), "VmHWM:")
		if !found {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("peak memory: %w", err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("peak memory: no VmHWM in %s: %w", file.Name(), lines.Err())
}
