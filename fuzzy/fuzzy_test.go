package fuzzy

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

var (
	hours    = flag.Float64("hours", 0, "virtual hours to play; 0 for as much as takes about a minute")
	first    = flag.Uint64("first", 1, "the first seed")
	minutes  = flag.Float64("minutes", 5, "virtual minutes of troubles in each seed")
	nodes    = flag.Int("nodes", 0, "voters at the start; 0 for five, now and then three or seven")
	workers  = flag.Int("workers", 2, "processes that play at the same time")
	failures = flag.String("failures", "failures", "the directory for what is known of failures")
	seed     = flag.Uint64("seed", 0, "play this seed alone, and show what happens")
	isPlayer = flag.Bool("player", false, "for the processes that TestFuzz starts")
	nodeLogs = flag.Bool("nodelogs", false, "with -seed: show the logs of the nodes, too")
)

// TestSeed plays the seed that -seed names. What happens at one instant happens in an
// order that nobody draws, so a failure may take a few tries: -count=20.
func TestSeed(t *testing.T) {
	if *seed == 0 {
		t.Skip("plays again the one seed that -seed names; TestFuzz plays many")
	}
	logger := hclog.NewNullLogger()
	if *nodeLogs {
		logger = hclog.New(&hclog.LoggerOptions{Output: os.Stdout, Level: hclog.Debug, TimeFormat: "04:05.000"})
	}
	begin := time.Now()
	o := run(t, *seed, settings{span(), *nodes, os.Stdout, logger})
	fmt.Printf("%v virtual, %v real\n%v\n%+v\n", o.Virtual, time.Since(begin), &o.Counts, o.Searches)
	for _, f := range o.Failures {
		t.Errorf("%s: %s", f.Property, f.Detail)
	}
}

func span() time.Duration { return time.Duration(*minutes * float64(time.Minute)) }

// TestFuzz plays seeds until they add up to the virtual hours asked for. It fails if
// something is wrong with any of them, and also if they have not gone through all that
// can go wrong.
func TestFuzz(t *testing.T) {
	wanted := time.Duration(*hours * float64(time.Hour))
	if wanted == 0 {
		wanted = time.Duration(shortRun * float64(time.Hour))
	}
	begin := time.Now()
	sum := playAll(t, wanted, func(sum *total) { fmt.Println(sum.progress(time.Since(begin))) })
	fmt.Println(sum.summary(time.Since(begin), childrenCPU()))
	long := *hours >= shortRun || *hours == 0 && !raceEnabled
	if missing := sum.missing(); long && len(missing) > 0 {
		t.Errorf("no seed had any %s", strings.Join(missing, ", "))
	}
}

// playAll has the workers play seeds, and tells of the progress every few seconds.
func playAll(t *testing.T, wanted time.Duration, tell func(*total)) *total {
	var mu sync.Mutex
	sum, next := new(total), *first
	take := func() (seed uint64, more bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, sum.virtual < wanted
	}
	done := func(o outcome) {
		mu.Lock()
		defer mu.Unlock()
		sum.add(o)
		if len(o.Failures) > 0 {
			file, err := keep(*failures, o)
			t.Errorf("seed %d: %s: %s\n%s %v", o.Seed, o.Failures[0].Property, o.Failures[0].Detail, file, err)
			fmt.Printf("seed %d FAILED: %s (%s)\n", o.Seed, o.Failures[0].Property, file)
		}
	}
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	all := make(chan struct{})
	go func() {
		defer close(all)
		var group sync.WaitGroup
		for range *workers {
			group.Go(func() { work(take, done) })
		}
		group.Wait()
	}()
	for {
		select {
		case <-ticker.C:
			mu.Lock()
			tell(sum)
			mu.Unlock()
		case <-all:
			return sum
		}
	}
}

// work plays seeds in a process of its own.
func work(take func() (uint64, bool), done func(outcome)) {
	p := &player{command: func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPlayer$", "-test.timeout=0", "-player", fmt.Sprintf("-minutes=%v", *minutes), fmt.Sprintf("-nodes=%v", *nodes))
		// A simulated cluster does one thing after the other, so more than one
		// processor mostly makes goroutines wait for locks.
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		return cmd
	}}
	for seed, more := take(); more; seed, more = take() {
		done(p.play(seed))
	}
	_ = p.end(nil)
}

// TestPlayer is what the other processes run.
func TestPlayer(t *testing.T) {
	if !*isPlayer {
		t.Skip("no test by itself: TestFuzz starts processes that run it, with -player")
	}
	err := serve(os.Stdin, os.Stdout, func(seed uint64) (o outcome) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { o = run(t, seed, settings{virtual: span(), nodes: *nodes}) })
		return o
	})
	if err != nil {
		t.Error(err)
	}
}

// childrenCPU is the time that the processors have spent on the players.
func childrenCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
