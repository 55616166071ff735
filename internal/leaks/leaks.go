// Package leaks finds the goroutines that tests leave behind: a goroutine that
// outlives what it worked for is a defect of the library, or of the test.
//
// A package has all of its tests checked by one function:
//
//	func TestMain(m *testing.M) { leaks.Main(m) }
//
// and a test, or a helper that starts something for a test, checks itself by
// [Check], which says whose goroutines they are. Tests in a bubble of
// testing/synctest need neither: it does not end before its goroutines do.
package leaks

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines get to end by themselves: what a Close has
// stopped may take a moment to notice, on a busy machine.
const patience = 10 * time.Second

// Main runs the tests of a package and ends the process. If they have passed and
// goroutines are left that were not there before, it prints their stacks and the
// process fails.
func Main(m *testing.M) { os.Exit(run(m, patience, os.Stderr)) }

func run(m interface{ Run() int }, patience time.Duration, out io.Writer) (code int) {
	before := goroutines()
	if code = m.Run(); code != 0 {
		return code // a failed test may leave anything
	}
	left := await(before, patience)
	if len(left) == 0 {
		return 0
	}
	fmt.Fprintf(out, "FAIL: the tests have left %d goroutines:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
	return 1
}

// Check fails the test if goroutines are left at its end that were not there when
// Check was called. Call it before anything is started: cleanups run in the reverse
// order. The test must not be parallel to others.
func Check(t testing.TB) {
	t.Helper()
	check(t, patience)
}

func check(t testing.TB, patience time.Duration) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if left := await(before, patience); len(left) > 0 {
			t.Errorf("%d goroutines are left:\n\n%s", len(left), strings.Join(left, "\n\n"))
		}
	})
}

// await waits until no goroutines are left but those of before. It returns the
// stacks of the others, if there are any when its patience ends.
func await(before map[string]string, patience time.Duration) (left []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		left = nil
		for id, stack := range goroutines() {
			if _, old := before[id]; !old {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// goroutines returns the stacks of all goroutines by ID, except for the caller's
// and those of Go itself.
func goroutines() map[string]string {
	all := map[string]string{}
	for i, stack := range strings.Split(allStacks(), "\n\n") {
		// goroutine 12 [chan receive]:
		id, _, ok := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		if ok && i > 0 && !isGos(stack) { // the first is the caller
			all[id] = stack
		}
	}
	return all
}

func allStacks() string {
	for buf := make([]byte, 1<<16); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return string(buf[:n])
		}
	}
}

// isGos reports whether a goroutine is one that Go's runtime, its signals or package
// testing keep for themselves.
func isGos(stack string) bool {
	for _, mark := range []string{
		"\ncreated by runtime.",
		"\ncreated by os/signal.",
		"\ncreated by testing.(*F).",
		"\ncreated by testing.runTests",
		"\ncreated by internal/fuzz.",
		"\ntesting.(*M).Run(",
	} {
		if strings.Contains(stack, mark) {
			return true
		}
	}
	return false
}
