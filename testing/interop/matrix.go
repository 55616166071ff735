package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// The matrix is every scenario in both directions with every release: a handful of
// clusters, and a table of what they have shown, which must have no holes.

// releases are those that the matrix holds this library against.
var releases = []string{peerPrefix + "1.8.0", peerPrefix + "1.7.3", peerPrefix + "1.6.0"}

// noPreVotes is the release that closes the connection of a pre-vote request.
const noPreVotes = peerPrefix + "1.6.0"

// jobTimeout bounds one cluster of the matrix.
const jobTimeout = 8 * time.Minute

// job is one cluster of the matrix. It changes what the matrix's options say.
type job struct {
	name string
	mix  []string
	tune func(*options)
}

// jobs returns the clusters that show all cells of required.
func jobs(releases []string, short bool) []job {
	var all []job
	add := func(kind string, tune func(*options), mix ...string) {
		all = append(all, job{kind + " " + strings.Join(mix, " "), mix, tune})
	}
	whole := func(o *options) { o.story, o.noPreVote = tour, cautious(o.mix) }
	for _, r := range releases {
		add("tour", whole, ours, r, r)
		add("tour", whole, r, ours, ours)
		add("upgrade", func(o *options) { o.story, o.others, o.duration = upgrade(ours), []string{ours}, 0 }, r, r, r)
		if !short {
			add("protocol", func(o *options) { o.story, o.byAddr, o.duration = mixProtocols, true, 0 }, ours, r, r)
		}
	}
	if short || len(releases) == 1 {
		return all
	}
	for i := range len(releases) - 1 {
		add("tour", whole, ours, releases[i], releases[i+1])
	}
	return append(all, job{"tour of all", slices.Concat([]string{ours, ours}, releases), whole})
}

// cautious returns which releases must not ask for pre-votes in a mix: where one needs
// the vote of a release that can't answer that, it is not elected. Documents tell
// operators so. This repository's library needs no such care.
func cautious(mix []string) []string {
	if !slices.Contains(mix, noPreVotes) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(mix), func(r string) bool { return r == noPreVotes || r == ours })
}

// required returns the cells that the matrix has to show.
func required(releases []string, short bool) []cell {
	var cells []cell
	forth := func(scenario string) {
		for _, r := range releases {
			cells = append(cells, cell{scenario, ours, r})
		}
	}
	back := func(scenario string) {
		for _, r := range releases {
			cells = append(cells, cell{scenario, r, ours})
		}
	}
	both := func(scenarios ...scenario) {
		for _, s := range scenarios {
			forth(s.name)
			back(s.name)
		}
	}
	both(directed...)
	both(alone...)
	forth(rollingUpgrade)
	back(rollingDowngrade)
	if short {
		return cells
	}
	both(protocols.both2, protocols.lead2, protocols.lead3)
	if len(releases) > 1 {
		both(several...)
	}
	return cells
}

// matrix says how to run it.
type matrix struct {
	releases []string
	short    bool // without protocol versions and three libraries at once
	parallel int  // clusters at a time
	options       // for all clusters; out takes the lines of all of them
}

// run runs all clusters, also after one has failed, and prints the sums and the
// table. It fails if a cluster did or the table has a hole.
func (m matrix) run(ctx context.Context) error {
	start := time.Now()
	m.covered = &coverage{}
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		sum   = newStats()
		wrong []error
	)
	out := &sharedWriter{w: m.out}
	free := make(chan struct{}, m.parallel)
	for _, j := range jobs(m.releases, m.short) {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			st, err := m.job(ctx, j, out)
			mu.Lock()
			defer mu.Unlock()
			sum.add(st)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", j.name, err))
			}
		})
	}
	group.Wait()
	want := required(m.releases, m.short)
	fmt.Fprintf(m.out, "\n%v in all\n", time.Since(start).Round(time.Second))
	sum.print(m.out, false)
	fmt.Fprintln(m.out)
	m.covered.print(m.out, want)
	for _, x := range m.covered.missing(want) {
		wrong = append(wrong, fmt.Errorf("not shown: %v", x))
	}
	return errors.Join(wrong...)
}

// job runs one cluster.
func (m matrix) job(ctx context.Context, j job, out io.Writer) (stats, error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	o := m.options
	o.mix, o.out = j.mix, prefixed{j.name, out}
	j.tune(&o)
	return run(ctx, o)
}

// sharedWriter lets several goroutines write.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// prefixed begins what is written with a name. It expects a line in one piece.
type prefixed struct {
	name string
	w    io.Writer
}

func (p prefixed) Write(b []byte) (int, error) {
	_, err := fmt.Fprintf(p.w, "[%s] %s", p.name, b)
	return len(b), err
}
