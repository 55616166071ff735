package main

import (
	"slices"
	"strings"
	"testing"
)

func TestCoverage(t *testing.T) {
	a, b := library{name: "ours"}, library{name: "upstream-1.0.0"}
	want := []cell{{"x", a.name, b.name}, {"x", b.name, a.name}, {"long name", a.name, b.name}}
	var c coverage
	if got := c.missing(want); !slices.Equal(got, want) {
		t.Errorf("before anything: %v is missing", got)
	}
	c.note("x", a, b)
	c.note("x", a, b)
	c.note("long name", a, b)
	c.note("not wanted", a, b)
	if got := c.missing(want); !slices.Equal(got, want[1:2]) {
		t.Errorf("%v is missing, want %v", got, want[1:2])
	}
	var table strings.Builder
	c.print(&table, want)
	const wantTable = `scenario   ours -> 1.0.0  1.0.0 -> ours
x                      2        MISSING
long name              1              -
`
	if table.String() != wantTable {
		t.Errorf("got\n%swant\n%s", table.String(), wantTable)
	}
}
