package load

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// Flags are the command line of a program that measures.
type Flags struct {
	Workload  string
	Store     string        // mem, bolt, wal, or raft-wal
	Method    string        // of reading: verify, readindex or lease
	Nodes     int           // of the cluster
	Processes int           // that they run in: 1, or as many as nodes
	Clients   int           // that call at the same time
	Writers   int           // that write beside readers
	Size      int           // of an entry, or of a snapshot
	Entries   int           // that are in the log before the measurement
	Time      time.Duration // measured
	Dir       string        // an empty directory for the files of the cluster

	CPUProfile, MemProfile string // files to write
}

// Options returns the part of f that says what load there is.
func (f Flags) Options() Options {
	return Options{
		Clients: f.Clients, Writers: f.Writers, Size: f.Size, Time: f.Time,
		CPUProfile: f.CPUProfile, MemProfile: f.MemProfile,
	}
}

// ErrUnsupported is the error of a workload, or wrapped in it, if the program has no
// such workload, store or method. The comparison leaves that combination out.
var ErrUnsupported = errors.New("not supported")

// Unsupported is the exit status of a program whose workload returned [ErrUnsupported].
const Unsupported = 3

// Main runs the workload that the command line names, prints its metrics as one JSON
// object, and exits. A failure is described on standard error.
func Main(workloads map[string]func(Flags) (Metrics, error)) {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, workloads))
}

// run is Main with all that it touches as arguments. It returns the exit status.
func run(args []string, stdout, stderr io.Writer, workloads map[string]func(Flags) (Metrics, error)) int {
	f, err := parse(args, stderr)
	if err != nil {
		return 2
	}
	m, err := measureWorkload(f, workloads)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(m)
	}
	switch {
	case errors.Is(err, ErrUnsupported):
		fmt.Fprintln(stderr, err)
		return Unsupported
	case err != nil:
		fmt.Fprintf(stderr, "%s: %v\n", f.Workload, err)
		return 1
	}
	return 0
}

func measureWorkload(f Flags, workloads map[string]func(Flags) (Metrics, error)) (Metrics, error) {
	workload, ok := workloads[f.Workload]
	if !ok {
		return nil, fmt.Errorf("workload %q: %w", f.Workload, ErrUnsupported)
	}
	if f.Dir == "" {
		return nil, errors.New("-dir is missing")
	}
	if f.MemProfile != "" {
		withoutMemProfile()
	}
	return workload(f)
}

// parse parses a command line. It reports errors to stderr itself.
func parse(args []string, stderr io.Writer) (Flags, error) {
	var f Flags
	set := flag.NewFlagSet("peer", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&f.Workload, "workload", "write", "what to measure")
	set.StringVar(&f.Store, "store", "bolt", "mem, bolt, wal or raft-wal")
	set.StringVar(&f.Method, "method", "verify", "of reading: verify, readindex or lease")
	set.IntVar(&f.Nodes, "nodes", 3, "of the cluster")
	set.IntVar(&f.Processes, "processes", 1, "that the nodes run in")
	set.IntVar(&f.Clients, "clients", 1, "that call at the same time")
	set.IntVar(&f.Writers, "writers", 0, "that write beside the clients of a read")
	set.IntVar(&f.Size, "size", 256, "bytes of an entry, or of a snapshot")
	set.IntVar(&f.Entries, "entries", 0, "in the log before the measurement")
	set.DurationVar(&f.Time, "time", 5*time.Second, "to measure, after a fifth of it to warm up")
	set.StringVar(&f.Dir, "dir", "", "`directory` for the files of the cluster; must be empty")
	set.StringVar(&f.CPUProfile, "cpuprofile", "", "`file` for a CPU profile of the measured time")
	set.StringVar(&f.MemProfile, "memprofile", "", "`file` for a profile of what is allocated in the measured time")
	err := set.Parse(args)
	if err == nil && set.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
		fmt.Fprintln(stderr, err)
	}
	return f, err
}
