package main

import (
	"errors"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A picture shows throughput and p99 over clients or nodes, a line for each entrant, both
// axes logarithmic.
type picture struct {
	title string
	over  axis
	lines []line
}

// An axis is what the points of a line differ in.
type axis struct {
	name string
	of   func(workload) int
}

var (
	overClients = axis{"clients", func(w workload) int { return w.clients }}
	overNodes   = axis{"nodes", func(w workload) int { return w.nodes }}
)

// A line is what an entrant did.
type line struct {
	entrant   entrant
	rate, p99 []point
}

// A point is the median of a metric where the axis is at.
type point struct{ at, value float64 }

// writePictures draws every group of which there are results for different numbers of
// clients, or of nodes, as DIR/GROUP.svg.
func writePictures(dir string, cases []testCase, res *results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	drawn := 0
	for _, group := range groups(cases) {
		for _, p := range newPictures(group, res) {
			name := strings.ReplaceAll(p.title, "/", "-") + ".svg"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(p.svg()), 0o644); err != nil {
				return err
			}
			drawn++
		}
	}
	if drawn == 0 {
		return errors.New("no results that a picture could show: they need several numbers of clients or nodes")
	}
	return nil
}

// newPictures returns the pictures of a group: one if its cases differ in their clients,
// or one for each number of clients if those with the same differ in their nodes.
func newPictures(group []testCase, res *results) []*picture {
	all := []*picture{newPicture(group[0].group, overClients, group, res)}
	same := map[int][]testCase{}
	for _, c := range group {
		same[c.load.clients] = append(same[c.load.clients], c)
	}
	for clients, cases := range same {
		title := fmt.Sprintf("%s/c%d", group[0].group, clients)
		all = append(all, newPicture(title, overNodes, cases, res))
	}
	return slices.DeleteFunc(all, func(p *picture) bool { return p == nil })
}

// newPicture returns a picture of cases, nil if they are not all at other places of the
// axis, or without results.
func newPicture(title string, over axis, cases []testCase, res *results) *picture {
	seen := map[int]bool{}
	for _, c := range cases {
		seen[over.of(c.load)] = true
	}
	if len(cases) < 2 || len(seen) < len(cases) {
		return nil
	}
	p := &picture{title: title, over: over}
	for _, e := range cases[0].entrants {
		l := line{entrant: e}
		for _, c := range cases {
			at := float64(over.of(c.load))
			l.rate = appendPoint(l.rate, at, res.series(c.measurement(e), "rate"))
			l.p99 = appendPoint(l.p99, at, res.series(c.measurement(e), "p99"))
		}
		if len(l.rate) > 1 {
			p.lines = append(p.lines, l)
		}
	}
	if len(p.lines) == 0 {
		return nil
	}
	return p
}

func appendPoint(to []point, at float64, s series) []point {
	if len(s) == 0 || s.median() <= 0 { // a logarithmic axis has no 0
		return to
	}
	return append(to, point{at, s.median()})
}

const (
	pictureWidth, pictureHeight = 900, 420
	panelWidth, panelHeight     = 350, 260
	panelTop                    = 110
	rateLeft, p99Left           = 70, 520
)

// style has the colours for both kinds of screen; the background is drawn too, for a
// page may be of the other kind than its reader's system.
const style = `
text { font: 12px system-ui, sans-serif; fill: #59636e }
.title { font-size: 16px; font-weight: 600 }
.title, .panel { fill: #1f2328 }
.panel { font-size: 13px }
.ground { fill: #ffffff }
.grid { stroke: #e4e7eb }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
.dot { stroke: #ffffff; stroke-width: 1.5 }
.ours { color: #2a6fdb } .upstream { color: #d9622b } .other { color: #8250c4 } .etcd { color: #1a8f63 }
.line { stroke: currentColor } .dot { fill: currentColor }
@media (prefers-color-scheme: dark) {
text { fill: #9aa4af }
.title, .panel { fill: #e6edf3 }
.ground { fill: #0d1117 }
.grid { stroke: #2a313a }
.dot { stroke: #0d1117 }
.ours { color: #5b9bff } .upstream { color: #f0834f } .other { color: #b18cf0 } .etcd { color: #35c08b }
}
`

// class returns the class of an entrant's line: a library has its colour in every
// picture.
func class(e entrant) string {
	switch {
	case e.peer == "upstream" && e.store == "raft-wal", e.method == "readindex":
		return "other"
	case e.method == "lease":
		return "etcd" // no picture has both
	default:
		return e.peer
	}
}

func (p *picture) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="title">`+"\n",
		pictureWidth, pictureHeight)
	fmt.Fprintf(&b, "<title id=\"title\">%s: throughput and p99 over %s</title>\n<style>%s</style>\n",
		html.EscapeString(p.title), p.over.name, style)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&b, `<text class="title" x="%d" y="30">%s</text>`+"\n", rateLeft, html.EscapeString(p.title))
	p.legend(&b)
	p.panel(&b, rateLeft, "operations per second", func(l line) []point { return l.rate }, count)
	p.panel(&b, p99Left, "p99", func(l line) []point { return l.p99 }, latency)
	b.WriteString("</svg>\n")
	return b.String()
}

func (p *picture) legend(b *strings.Builder) {
	x := rateLeft
	for _, l := range p.lines {
		fmt.Fprintf(b, `<g class="%s"><path class="line" d="M%d 56h24"/><circle class="dot" cx="%d" cy="56" r="4"/></g>`, class(l.entrant), x, x+12)
		fmt.Fprintf(b, `<text x="%d" y="60">%s</text>`+"\n", x+32, html.EscapeString(l.entrant.String()))
		x += 48 + 8*len(l.entrant.String())
	}
}

// panel draws one metric of all lines, its left edge at x.
func (p *picture) panel(b *strings.Builder, left int, title string, of func(line) []point, label func(float64) string) {
	var places, values []float64
	for _, l := range p.lines {
		for _, pt := range of(l) {
			places, values = append(places, pt.at), append(values, pt.value)
		}
	}
	marks := ticks(values)
	x := newScale(places, float64(left+14), float64(left+panelWidth-14))
	y := newScale(marks, panelTop+panelHeight, panelTop)
	fmt.Fprintf(b, `<text class="panel" x="%d" y="%d">%s</text>`+"\n", left, panelTop-14, title)
	for _, mark := range marks {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fh%d"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y.at(mark), panelWidth, left-8, y.at(mark)+4, label(mark))
	}
	drawn := map[float64]bool{}
	for _, at := range places {
		if !drawn[at] {
			drawn[at] = true
			fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x.at(at), panelTop+panelHeight+20, at)
		}
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+panelWidth/2, panelTop+panelHeight+40, p.over.name)
	for _, l := range p.lines {
		p.drawLine(b, l.entrant, of(l), x, y, label)
	}
}

func (p *picture) drawLine(b *strings.Builder, e entrant, points []point, x, y scale, label func(float64) string) {
	path := make([]string, 0, len(points))
	for _, pt := range points {
		path = append(path, fmt.Sprintf("%.1f %.1f", x.at(pt.at), y.at(pt.value)))
	}
	fmt.Fprintf(b, `<g class="%s"><path class="line" d="M%s"/>`, class(e), strings.Join(path, "L"))
	for _, pt := range points {
		fmt.Fprintf(b, `<circle class="dot" cx="%.1f" cy="%.1f" r="4"><title>%s, %.0f %s: %s</title></circle>`,
			x.at(pt.at), y.at(pt.value), html.EscapeString(e.String()), pt.at, p.over.name, label(pt.value))
	}
	b.WriteString("</g>\n")
}

// A scale places values logarithmically between two coordinates.
type scale struct{ low, high, from, to float64 }

func newScale(values []float64, from, to float64) scale {
	s := scale{math.Inf(1), math.Inf(-1), from, to}
	for _, v := range values {
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
	return s
}

func (s scale) at(v float64) float64 {
	if s.high == s.low {
		return (s.from + s.to) / 2
	}
	return s.from + (s.to-s.from)*math.Log(v/s.low)/math.Log(s.high/s.low)
}

// ticks returns round numbers, the first not above any value and the last not below.
func ticks(values []float64) []float64 {
	s := newScale(values, 0, 0)
	var marks []float64
	for decade := math.Pow(10, math.Floor(math.Log10(s.low))); ; decade *= 10 {
		for _, step := range []float64{1, 2, 5} {
			mark := step * decade
			if mark <= s.low {
				marks = marks[:0]
			}
			marks = append(marks, mark)
			if mark >= s.high {
				return marks
			}
		}
	}
}

// count formats operations per second.
func count(v float64) string {
	switch {
	case v >= 999_500:
		return fmt.Sprintf("%.3gM", v/1e6)
	case v >= 1000:
		return fmt.Sprintf("%.3gk", v/1e3)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// latency formats microseconds.
func latency(µs float64) string {
	d := time.Duration(µs * float64(time.Microsecond))
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.3g ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%.3g µs", µs)
	}
}
