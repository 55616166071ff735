// Interop runs clusters of real processes that mix this library with
// hashicorp/raft, breaks them in every way that a process can break, and checks
// that nothing was lost, invented, reordered or left to differ.
//
//	go run . -duration 10m
//	go run . -mix ours,ours,upstream-1.8.0
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
	o := options{out: os.Stdout}
	var mix string
	flag.StringVar(&mix, "mix", "ours,upstream-1.8.0,upstream-1.8.0", "library of each server")
	flag.StringVar(&o.upgrade, "upgrade", "", "change all servers to this library and back, instead of the tour")
	flag.StringVar(&o.peers, "peers", defaultPeers(), "directory with a module for each library")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long random actions go on; the tour is done in any case")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of actions and payloads")
	flag.IntVar(&o.clients, "clients", 6, "number of clients")
	flag.DurationVar(&o.pace, "pace", 5*time.Millisecond, "pause of a client between two commands, on average")
	flag.StringVar(&o.dir, "dir", "", "directory for data and logs, by default a temporary one")
	flag.BoolVar(&o.keep, "keep", false, "keep data and logs after success")
	flag.BoolVar(&o.race, "race", false, "build the nodes of this library with the race detector; a race ends the run")
	flag.Parse()
	o.mix = strings.Split(mix, ",")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}
