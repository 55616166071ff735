package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// cell is something that a run has shown or has to show: a scenario, between a
// server of one library that leads, or acts, and one of another.
type cell struct {
	scenario string
	from, to string // libraries
}

func (c cell) String() string { return fmt.Sprintf("%s: %s -> %s", c.scenario, c.from, c.to) }

// coverage counts what was shown. The zero value has seen nothing.
type coverage struct {
	mu    sync.Mutex
	times map[cell]int
}

// note counts a scenario that has passed.
func (c *coverage) note(scenario string, from, to library) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times == nil {
		c.times = map[cell]int{}
	}
	c.times[cell{scenario, from.name, to.name}]++
}

func (c *coverage) count(x cell) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times[x]
}

// missing returns which of want were never shown.
func (c *coverage) missing(want []cell) []cell {
	return slices.DeleteFunc(slices.Clone(want), func(x cell) bool { return c.count(x) > 0 })
}

// print writes a table of how often each of want was shown: a row for each
// scenario, a column for each pair of libraries, both in the order of want. A
// hyphen stands for what is not wanted, MISSING for what is wanted and was not
// shown.
func (c *coverage) print(out io.Writer, want []cell) {
	var rows []string
	var columns [][2]string
	for _, x := range want {
		if !slices.Contains(rows, x.scenario) {
			rows = append(rows, x.scenario)
		}
		if pair := [2]string{x.from, x.to}; !slices.Contains(columns, pair) {
			columns = append(columns, pair)
		}
	}
	lines := [][]string{{"scenario"}}
	for _, pair := range columns {
		lines[0] = append(lines[0], short(pair[0])+" -> "+short(pair[1]))
	}
	for _, row := range rows {
		line := []string{row}
		for _, pair := range columns {
			line = append(line, c.entry(want, cell{row, pair[0], pair[1]}))
		}
		lines = append(lines, line)
	}
	writeColumns(out, lines)
}

// entry is what the table says of x.
func (c *coverage) entry(want []cell, x cell) string {
	switch n := c.count(x); {
	case !slices.Contains(want, x):
		return "-"
	case n == 0:
		return "MISSING"
	default:
		return fmt.Sprint(n)
	}
}

// short is a library's name without what all peers' names begin with.
func short(name string) string { return strings.TrimPrefix(name, peerPrefix) }

// writeColumns writes lines as columns, the first aligned to the left and the
// others to the right. A line is written in one piece.
func writeColumns(out io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, s := range line {
			widths[i] = max(widths[i], len(s))
		}
	}
	for _, line := range lines {
		text := fmt.Sprintf("%-*s", widths[0], line[0])
		for i, s := range line[1:] {
			text += fmt.Sprintf("  %*s", widths[i+1], s)
		}
		fmt.Fprintln(out, text)
	}
}
