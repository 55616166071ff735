// Interop runs clusters of real processes that mix this library with
// hashicorp/raft, breaks them in every way that a process can break, and checks
// that nothing was lost, invented, reordered or left to differ.
//
//	go run . -all
//	go run . -duration 10m -mix ours,ours,upstream-1.8.0
//
// Names in -mix are directories of peers/. See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	o := options{peers: defaultPeers(), story: tour, covered: &coverage{}, out: os.Stdout}
	var (
		all       = flag.Bool("all", false, "run the matrix: every scenario in both directions with every release; -mix, -upgrade, -no-prevote and -dir don't count")
		against   = flag.String("releases", strings.Join(releases, ","), "with -all, the releases")
		parallel  = flag.Int("parallel", 2, "with -all, clusters at a time")
		mix       = flag.String("mix", "ours,upstream-1.8.0,upstream-1.8.0", "library of each server")
		upgradeTo = flag.String("upgrade", "", "change all servers to this library and back, instead of the tour")
		noPreVote = flag.String("no-prevote", "", "libraries whose servers don't ask for pre-votes")
	)
	flag.DurationVar(&o.duration, "duration", 0, "how long a cluster lives at least: random actions go on after the tour")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of actions and payloads")
	flag.IntVar(&o.clients, "clients", 6, "number of clients")
	flag.DurationVar(&o.pace, "pace", 5*time.Millisecond, "pause of a client between two commands, on average")
	flag.StringVar(&o.dir, "dir", "", "directory for data and logs, by default a temporary one")
	flag.BoolVar(&o.keep, "keep", false, "keep data and logs after success")
	flag.BoolVar(&o.race, "race", false, "build the nodes of this library with the race detector; a race ends the run")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *all {
		o.dir = ""
		err = matrix{releases: split(*against), parallel: *parallel, options: o}.run(ctx)
	} else {
		o.mix, o.noPreVote = split(*mix), split(*noPreVote)
		if *upgradeTo != "" {
			o.story, o.others = upgrade(*upgradeTo), []string{*upgradeTo}
		}
		_, err = run(ctx, o)
	}
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

// split splits a list at commas; an empty one has no elements.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}
