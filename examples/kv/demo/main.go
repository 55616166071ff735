// Command demo shows the kv service at work: it loads the Go source tree into
// three nodes, kills the leader with SIGKILL on the way, and checks that no
// acknowledged write is lost and that all nodes end up with the same state.
//
//	go run ./demo
//
// It needs the go command and nothing else, cleans up after itself, and exits
// with 1 if anything did not hold; the nodes' logs are kept then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	root     string
	minKeys  int
	minBytes int64
	clients  int
	timeout  time.Duration
	keep     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the demo and returns the process's exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	out := newPrinter(stdout)
	if perform(ctx, opts, out) != nil {
		return 1
	}
	return 0
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.root, "root", "", "load the files of this `directory` (default: what \"go env GOROOT\" says)")
	fs.IntVar(&o.minKeys, "min-keys", 10_000, "load its src and further directories until there are this `many` files")
	fs.Int64Var(&o.minBytes, "min-bytes", 100_000_000, "and this many `bytes`")
	fs.IntVar(&o.clients, "clients", 16, "concurrent clients")
	fs.DurationVar(&o.timeout, "timeout", 3*time.Minute, "give up after this time")
	fs.BoolVar(&o.keep, "keep", false, "keep the nodes' data and logs")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 || o.minKeys < 1 || o.clients < 1 || o.timeout <= 0 {
		err := errors.New("there are no arguments, and numbers are positive")
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

// perform runs the demo in a directory of its own, says how it went, and cleans
// up, whatever happens. ctx ends when the user has had enough.
func perform(ctx context.Context, opts options, out *printer) error {
	dir, err := os.MkdirTemp("", "kv-demo-")
	if err != nil {
		return err
	}
	timed, cancel := context.WithTimeoutCause(ctx, opts.timeout, fmt.Errorf("not done after %v", opts.timeout))
	defer cancel()
	running, fail := context.WithCancelCause(timed)
	defer fail(nil)

	d := &demo{opts: opts, out: out, dir: dir, fail: fail}
	err = d.run(running)
	d.killAll()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("interrupted: %w", context.Cause(ctx))
	case running.Err() != nil:
		err = context.Cause(running) // the error at hand is what came of it
	}
	if err != nil {
		out.line("FAILED: %v", err)
	} else {
		out.line("PASSED: everything held")
	}
	keepLogs := err != nil && ctx.Err() == nil
	return errors.Join(err, d.cleanUp(keepLogs))
}

// cleanUp removes what the demo has written.
func (d *demo) cleanUp(keepLogs bool) error {
	if d.opts.keep {
		d.out.line("data and logs are in %s", d.dir)
		return nil
	}
	if !keepLogs {
		return os.RemoveAll(d.dir)
	}
	for _, p := range d.nodes {
		d.out.line("log of %s: %s", p.id, p.logPath)
	}
	return errors.Join(os.RemoveAll(d.dataDir()), os.RemoveAll(d.binary()))
}
