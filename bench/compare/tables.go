package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// columns are the metrics of a table, in order.
var columns = []struct{ metric, heading string }{
	{"rate", "ops/s"},
	{"writes", "writes/s beside"},
	{"seconds", "s"},
	{"p50", "p50 µs"},
	{"p99", "p99 µs"},
	{"p999", "p99.9 µs"},
	{"max", "max µs"},
	{"cpu", "CPU µs"},
	{"allocs", "allocs"},
	{"bytes", "bytes"},
	{"rss", "RSS MiB"},
	{"data", "data MiB"},
	{"flushes", "flushes"},
	{"perflush", "entries/flush"},
	{"goroutines", "goroutines"},
}

// primary are the metrics that a case is about: the first of them that it has.
var primary = []string{"rate", "seconds", "cpu"}

func heading(metric string) string {
	for _, c := range columns {
		if c.metric == metric {
			return c.heading
		}
	}
	return metric
}

// writeTables writes a table of each group of which there are results, and what they
// come to beside the limits and beside each other.
func writeTables(w io.Writer, cases []testCase, res *results) error {
	s := res.setting
	tables := []string{fmt.Sprintf("%s, %d cores, %s, %s; %s measured in each run\n", s.CPU, s.Cores, s.OS, s.Go, s.Time)}
	for _, group := range groups(cases) {
		if t := groupTable(group, res); t != nil {
			tables = append(tables, fmt.Sprintf("### %s\n\n%s", group[0].group, t))
		}
	}
	if t := limitTable(res); t != nil {
		tables = append(tables, fmt.Sprintf("### limits\n\n%s", t))
	}
	if t := relationTable(cases, res); t != nil {
		tables = append(tables, fmt.Sprintf("### relations\n\n%s", t))
	}
	_, err := io.WriteString(w, strings.Join(tables, "\n"))
	return err
}

// groups returns the cases by group, in order of their first case.
func groups(cases []testCase) [][]testCase {
	var all [][]testCase
	place := map[string]int{}
	for _, c := range cases {
		i, known := place[c.group]
		if !known {
			i = len(all)
			place[c.group], all = i, append(all, nil)
		}
		all[i] = append(all[i], c)
	}
	return all
}

// A table is rows of cells, the first one the headings.
type table [][]string

// groupTable returns the table of a group, nil if there are no results of it: the
// median of every metric, and in brackets that of its ratio to the first entrant's.
func groupTable(group []testCase, res *results) table {
	var metrics []string
	for _, c := range columns {
		if groupHas(group, res, c.metric) {
			metrics = append(metrics, c.metric)
		}
	}
	head := []string{"case", "library", "runs", "ratio", "spread"}
	for _, m := range metrics {
		head = append(head, heading(m))
	}
	t := table{head}
	for _, c := range group {
		for _, e := range c.entrants {
			if row := entrantRow(c, e, metrics, res); row != nil {
				t = append(t, row)
			}
		}
	}
	if len(t) == 1 {
		return nil
	}
	return t
}

func groupHas(group []testCase, res *results, metric string) bool {
	for _, c := range group {
		for _, e := range c.entrants {
			if len(res.series(c.measurement(e), metric)) > 0 {
				return true
			}
		}
	}
	return false
}

// entrantRow returns the row of an entrant, nil if it has neither succeeded nor failed.
func entrantRow(c testCase, e entrant, metrics []string, res *results) []string {
	m, base := c.measurement(e), c.measurement(c.entrants[0])
	failures := res.failures(m)
	runs, ratio, spread := 0, "", ""
	for _, metric := range primary {
		s := res.series(m, metric)
		if len(s) == 0 {
			continue
		}
		runs = len(s)
		if m != base {
			ratio, spread = ratioCells(s.over(res.series(base, metric)))
		}
		break
	}
	if runs == 0 && failures == 0 {
		return nil
	}
	row := []string{c.row, e.String(), runsCell(runs, failures), ratio, spread}
	for _, metric := range metrics {
		row = append(row, metricCell(res.series(m, metric), res.series(base, metric), m == base))
	}
	return row
}

func runsCell(runs, failures int) string {
	if failures == 0 {
		return strconv.Itoa(runs)
	}
	return fmt.Sprintf("%d, %d FAILED", runs, failures)
}

// ratioCells returns the median and the spread of a ratio.
func ratioCells(ratio series) (median, spread string) {
	if len(ratio) == 0 {
		return "", ""
	}
	low, high := ratio.spread()
	return fmt.Sprintf("%.2f", ratio.median()), fmt.Sprintf("%.2f–%.2f", low, high)
}

func metricCell(value, base series, isBase bool) string {
	if len(value) == 0 {
		return ""
	}
	cell := figure(value.median())
	if ratio := value.over(base); !isBase && len(ratio) > 0 {
		cell += fmt.Sprintf(" (%.2f)", ratio.median())
	}
	return cell
}

// limitTable returns the table of the limits, nil if none was measured.
func limitTable(res *results) table {
	t := table{{"limit", "at once", "runs", "ops/s", "p50 µs", "p99 µs"}}
	for _, l := range allLimits() {
		rate := res.series(l.measurement(), "rate")
		if len(rate) == 0 {
			continue
		}
		t = append(t, []string{l.name, strconv.Itoa(l.workers), strconv.Itoa(len(rate)), figure(rate.median()),
			figure(res.series(l.measurement(), "p50").median()), figure(res.series(l.measurement(), "p99").median())})
	}
	if len(t) == 1 {
		return nil
	}
	return t
}

// relationTable returns the table of relations, nil if there is none.
func relationTable(cases []testCase, res *results) table {
	t := table{{"case", "library", "beside", "ops/s", "beside it", "ratio", "spread"}}
	for _, r := range relations(cases, res) {
		ratio := r.rate.over(r.beside)
		if len(ratio) == 0 {
			continue
		}
		median, spread := ratioCells(ratio)
		t = append(t, []string{r.name, r.entrant.String(), r.to, figure(r.rate.median()), figure(r.beside.median()), median, spread})
	}
	if len(t) == 1 {
		return nil
	}
	return t
}

// figure formats a number with three digits or more.
func figure(v float64) string {
	switch {
	case v >= 1000:
		return grouped(fmt.Sprintf("%.0f", v))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1 || v == 0:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// grouped puts a comma after each three digits.
func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// String returns the table as markdown, its columns aligned for who reads it as it is.
func (t table) String() string {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
	}
	var b strings.Builder
	for i, row := range t {
		writeRow(&b, row, widths)
		if i == 0 {
			writeRow(&b, rule, widths)
		}
	}
	return b.String()
}

func writeRow(b *strings.Builder, row []string, widths []int) {
	for i, cell := range row {
		fmt.Fprintf(b, "| %-*s ", widths[i], cell)
	}
	b.WriteString("|\n")
}
