package main

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// A printer writes lines that start with the time since the demo's start. It may
// be used by several goroutines.
type printer struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
	steps int
}

func newPrinter(w io.Writer) *printer { return &printer{w: w, start: time.Now()} }

// step begins a numbered part of the demo.
func (p *printer) step(title string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps++
	p.print(fmt.Sprintf("%d. %s", p.steps, title))
}

// line says something about the present step.
func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print("   " + fmt.Sprintf(format, args...))
}

func (p *printer) print(s string) {
	fmt.Fprintf(p.w, "[%5.1fs] %s\n", time.Since(p.start).Seconds(), s)
}

// count writes n as 12,345.
func count[T int | int64 | uint64](n T) string {
	s := strconv.FormatUint(uint64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
