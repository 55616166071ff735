package leaks

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// tests stand for a testing.M.
type tests func() int

func (f tests) Run() int { return f() }

// hidden is what the deliberate leaks wait in, so that it is on their stacks.
func hidden(end chan struct{}) { <-end }

func TestMainOfTestsThatLeak(t *testing.T) {
	end := make(chan struct{})
	var out bytes.Buffer
	code := run(tests(func() int { go hidden(end); go hidden(end); return 0 }), time.Millisecond, &out)
	if code != 1 || strings.Count(out.String(), "leaks.hidden(") != 2 || !strings.Contains(out.String(), "left 2 goroutines") {
		t.Errorf("code %d:\n%s", code, out.String())
	}
	out.Reset()
	if code := run(tests(func() int { return 0 }), time.Millisecond, &out); code != 0 || out.Len() > 0 {
		t.Errorf("what was there before counts: code %d:\n%s", code, out.String())
	}
	close(end)
}

// A goroutine that ends in time is no leak.
func TestMainWaits(t *testing.T) {
	end := make(chan struct{})
	var out bytes.Buffer
	code := run(tests(func() int {
		go hidden(end)
		time.AfterFunc(20*time.Millisecond, func() { close(end) })
		return 0
	}), patience, &out)
	if code != 0 {
		t.Errorf("code %d:\n%s", code, out.String())
	}
}

// Tests that fail do so for their own reason.
func TestMainOfTestsThatFail(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	var out bytes.Buffer
	if code := run(tests(func() int { go hidden(end); return 2 }), time.Millisecond, &out); code != 2 || out.Len() > 0 {
		t.Errorf("code %d:\n%s", code, out.String())
	}
}

// recorder is a test that is not reported as failed.
type recorder struct {
	testing.TB
	cleanups []func()
	text     string
}

func (r *recorder) Helper()          {}
func (r *recorder) Failed() bool     { return false }
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) {
	r.text += fmt.Sprintf(format, args...)
}

func TestCheck(t *testing.T) {
	end := make(chan struct{})
	old := make(chan struct{})
	defer close(old)
	go hidden(old)
	r := &recorder{}
	check(r, time.Millisecond)
	go hidden(end)
	for _, f := range r.cleanups {
		f()
	}
	if !strings.HasPrefix(r.text, "1 goroutines are left") || !strings.Contains(r.text, "leaks.hidden(") {
		t.Errorf("reported: %q", r.text)
	}
	close(end)

	r = &recorder{}
	Check(r)
	done := make(chan struct{})
	go close(done)
	for _, f := range r.cleanups {
		f()
	}
	if r.text != "" {
		t.Errorf("reported: %q", r.text)
	}
}
