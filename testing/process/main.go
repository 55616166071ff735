// Process runs a cluster of examples/kv as real processes, kills and stops them,
// fills their disks, disturbs the network between them, and checks that what the
// service told its clients is linearizable and that nothing was lost.
//
//	go run . -duration 10m -nodes 5 -race
//
// See README.md. It needs Linux.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// defaultKV is where the service's source lies, seen from this directory.
var defaultKV = filepath.Join("..", "..", "examples", "kv")

func main() {
	o := options{out: os.Stdout}
	flag.StringVar(&o.kv, "kv", defaultKV, "directory of the service's source")
	flag.IntVar(&o.nodes, "nodes", 3, "number of nodes, at least three")
	faults := flag.String("faults", "", "regular `expression` for the names of the faults, by default all")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long faults go on; each comes once in any case")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of faults and operations")
	flag.IntVar(&o.clients, "clients", 8, "number of clients")
	flag.BoolVar(&o.race, "race", false, "build the service with the race detector; a race ends the run")
	flag.StringVar(&o.dir, "dir", "", "where to make a `directory` for data and logs, by default where temporary files go")
	flag.BoolVar(&o.keep, "keep", false, "keep data and logs also after success")
	flag.Parse()
	var err error
	if o.faults, err = regexp.Compile(*faults); err != nil || o.nodes < 3 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}
