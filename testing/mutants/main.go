// Mutants shows that the quick tests of this repository notice when something is
// wrong: it breaks the code in small ways, one at a time, and runs the tests. The
// faults are in mutants.txt; nothing is changed on disk.
//
//	go run ./testing/mutants               # all of them
//	go run ./testing/mutants -run read     # those whose name matches
//
// It prints which test caught each fault, and fails if one survived.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"time"
)

func main() {
	which := flag.String("run", "", "only mutants whose name matches this regular expression")
	parallel := flag.Int("parallel", runtime.NumCPU(), "how many are tested at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := check(ctx, *which, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// check tests the mutants that match, and reports those that survived as an error.
func check(ctx context.Context, which string, parallel int) error {
	match, err := regexp.Compile(which)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	all, err := parse(list)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(m mutant) bool { return !match.MatchString(m.name) })
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	start := time.Now()
	survived, broken := testAll(ctx, lab{root: root, dir: dir}, all, parallel)
	fmt.Printf("\n%d mutants, %d caught, %d survived, %d could not be tested, %v\n",
		len(all), len(all)-survived-broken, survived, broken, time.Since(start).Round(time.Second))
	if survived+broken > 0 || len(all) == 0 {
		return fmt.Errorf("not all mutants were caught")
	}
	return ctx.Err()
}

// testAll tests the mutants, some at a time, and prints a line for each.
func testAll(ctx context.Context, l lab, all []mutant, parallel int) (survived, broken int) {
	var mu sync.Mutex
	var group sync.WaitGroup
	slots := make(chan struct{}, max(parallel, 1))
	for _, m := range all {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			start := time.Now()
			by, err := l.test(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			verdict := by
			switch {
			case err != nil:
				broken++
				verdict = "NOT TESTED: " + err.Error()
			case by == "":
				survived++
				verdict = "SURVIVED: " + m.what
			}
			fmt.Printf("%-38s %-5s %4.0fs  %s\n", m.name, m.rules, time.Since(start).Seconds(), verdict)
		})
	}
	group.Wait()
	return survived, broken
}
