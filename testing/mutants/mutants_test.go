package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The list can rot: the code that a mutant changes must still be there.
func TestMutantsApply(t *testing.T) {
	all, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Errorf("only %d mutants", len(all))
	}
	for _, m := range all {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.apply(string(source)); err != nil {
			t.Error(err)
		}
	}
}

const sample = `
# a comment

first rules.go R1 R2
what it does
-	if a {
-		b()
+	if !a {
+		b()
`

func TestApply(t *testing.T) {
	all, err := parse(sample)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	m := all[0]
	if m.name != "first" || m.file != "rules.go" || m.rules != "R1 R2" || m.what != "what it does" {
		t.Errorf("parsed %+v", m)
	}
	for _, tt := range []struct{ source, want, err string }{
		{"x\n\tif a {\n\t\tb()\n\t}", "x\n\tif !a {\n\t\tb()\n\t}", ""},
		{"if a {\nb()\nif a {\nb()", "", "twice, at 1 and 3"},
		{"if a {", "", "not in"},
	} {
		got, err := m.apply(tt.source)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %q, %v", tt.source, got, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, list := range []string{"name", "a f.go\nwhat\n-x\ny", "a f.go\nwhat\n-x\n-y", "a f.go\nw\n-x\n+y\n\na f.go\nw\n-x\n+y"} {
		if all, err := parse(list); err == nil {
			t.Errorf("%q was taken for %+v", list, all)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct{ out, want string }{
		{"--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/b (0.1s)\nFAIL", "TestA/b"},
		{"goroutine 1\npanic: oh no\n", "panic: oh no"},
		{"", "the tests failed"},
	} {
		if got := verdict(tt.out); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.out, got, tt.want)
		}
	}
}
