// Command kv is a node of a small replicated key-value service: an example of
// what a program built on this library looks like. "kv -help" tells how to run
// it, README.md how to talk to it.
//
// A request goes from server.go (routes) through values.go or cluster.go, and
// forward.go if another node leads, to node.go, which proposes a command. Raft
// replicates it and calls fsm.go on every node, which applies it to state.go.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs a node until ctx ends and returns the process's exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stderr io.Writer) int {
	conf, err := parseConfig(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return exitUsage
	}
	log := hclog.New(&hclog.LoggerOptions{
		Name:   conf.id,
		Level:  hclog.LevelFromString(conf.logLevel),
		Output: stderr,
	})
	if conf.stopOnEOF {
		ctx = untilEOF(ctx, stdin)
	}
	if err := serve(ctx, conf, log); err != nil {
		log.Error("stopped", "error", err)
		return exitFailed
	}
	log.Info("stopped")
	return 0
}

// serve runs a service until ctx ends or it fails.
func serve(ctx context.Context, conf config, log hclog.Logger) error {
	s, err := startService(conf, log)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-s.failed:
	}
	return errors.Join(err, s.stop())
}

// untilEOF returns a context that ends when r does, or with ctx.
func untilEOF(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, r)
		cancel()
	}()
	return ctx
}
