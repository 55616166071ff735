// Command compare measures this library beside others: the same work, on the same
// machine, in the same minutes. From its directory:
//
//	go run . -short                      every case once, in minutes: does all work?
//	go run . -run '^write/(bolt|wal)' -out results.jsonl
//	go run . -out results.jsonl          everything; may be interrupted and resumed
//	go run . -tables results.jsonl       print the results again
//	go run . -pictures DIR results.jsonl draw them
//
// See README.md for the cases and what is counted.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	list, tables, short bool
	pictures            string
	run                 string
	runs                int
	time                time.Duration
	dir, out            string
	file                string // of results to show
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	if err := o.do(ctx, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// parse parses a command line. It reports errors to stderr itself.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	set := flag.NewFlagSet("compare", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.BoolVar(&o.list, "list", false, "print the names of the cases and end")
	set.BoolVar(&o.tables, "tables", false, "print tables of the results in the file that follows, and end")
	set.StringVar(&o.pictures, "pictures", "", "draw the results in the file that follows into `directory`, and end")
	set.StringVar(&o.run, "run", "", "run the cases whose name matches `regexp`")
	set.BoolVar(&o.short, "short", false, "one round with less time and less data: the figures mean nothing")
	set.IntVar(&o.runs, "runs", 5, "rounds")
	set.DurationVar(&o.time, "time", 5*time.Second, "to measure in each run, after a fifth of it to warm up")
	set.StringVar(&o.dir, "dir", ".bench", "`directory` for the files of clusters, on the disk to measure")
	set.StringVar(&o.out, "out", "", "`file` for the results; what it already has is not run again")
	err := set.Parse(args)
	if err != nil {
		return o, err
	}
	if err = o.complete(set); err != nil {
		fmt.Fprintln(stderr, "compare:", err)
	}
	return o, err
}

// complete takes the arguments that are not flags, and what -short changes unless it
// is given.
func (o *options) complete(set *flag.FlagSet) error {
	wanted := 0
	if o.tables || o.pictures != "" {
		wanted = 1
	}
	if set.NArg() != wanted {
		return fmt.Errorf("%d arguments, want %d", set.NArg(), wanted)
	}
	o.file = set.Arg(0)
	if o.runs < 1 || o.time <= 0 {
		return fmt.Errorf("nothing to measure in %d rounds of %v", o.runs, o.time)
	}
	if !o.short {
		return nil
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["runs"] {
		o.runs = 1
	}
	if !given["time"] {
		o.time = 200 * time.Millisecond
	}
	return nil
}

func (o options) do(ctx context.Context, stdout, stderr io.Writer) error {
	switch {
	case o.list:
		return o.doList(stdout)
	case o.tables || o.pictures != "":
		return o.doShow(stdout)
	}
	return o.doRun(ctx, stdout, stderr)
}

// cases returns the cases that are selected, in a short run or not.
func (o options) cases(short bool) ([]testCase, error) {
	selected, err := regexp.Compile(o.run)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	cases := slices.DeleteFunc(allCases(), func(c testCase) bool { return !selected.MatchString(c.name()) })
	if len(cases) == 0 {
		return nil, fmt.Errorf("-run %s: no such case", o.run)
	}
	if short {
		cases = shortened(cases)
	}
	return cases, nil
}

func (o options) doList(stdout io.Writer) error {
	cases, err := o.cases(false)
	if err != nil {
		return err
	}
	t := table{{"case", "libraries"}}
	for _, c := range cases {
		names := make([]string, 0, len(c.entrants))
		for _, e := range c.entrants {
			names = append(names, e.String())
		}
		t = append(t, []string{c.name(), strings.Join(names, ", ")})
	}
	_, err = io.WriteString(stdout, t.String())
	return err
}

func (o options) doShow(stdout io.Writer) error {
	file, err := os.Open(o.file)
	if err != nil {
		return err
	}
	defer file.Close()
	res, err := readResults(file)
	if err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	cases, err := o.cases(res.setting.Short)
	if err != nil {
		return err
	}
	if o.tables {
		err = writeTables(stdout, cases, res)
	}
	if o.pictures != "" {
		err = errors.Join(err, writePictures(o.pictures, cases, res))
	}
	return err
}

func (o options) doRun(ctx context.Context, stdout, stderr io.Writer) (err error) {
	cases, err := o.cases(o.short)
	if err != nil {
		return err
	}
	res, err := openResults(o.out, o.setting())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.close()) }()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peers, err := buildPeers(ctx, dir, peerNames(cases))
	if err != nil {
		return err
	}
	c := comparison{cases, allLimits(), peers, o.runs, o.time, dir, res, stderr}
	return c.report(ctx, stdout)
}

// report runs the comparison and prints what came out, also if it was interrupted.
func (c *comparison) report(ctx context.Context, stdout io.Writer) error {
	for name, p := range c.peers {
		if err := c.results.otherBuild(name, p.build); err != nil {
			return err
		}
	}
	err := errors.Join(c.run(ctx), writeTables(stdout, c.cases, c.results))
	if n := c.results.failures(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d runs failed", n))
	}
	return err
}

// peerNames returns the names of all peers that take part.
func peerNames(cases []testCase) []string {
	var names []string
	for _, c := range cases {
		for _, e := range c.entrants {
			names = append(names, e.peer)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (o options) setting() setting {
	return setting{
		Time: o.time.String(), Short: o.short,
		CPU: processor(), Cores: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// processor returns what /proc calls the processor, "" where there is no /proc.
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
