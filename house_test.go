package raft

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// House rules that no compiler checks, held over the source of this package.

// The library must not put the flags of package testing into its users'
// programs; helpers for tests are in testing/rafttest.
func TestProductionDoesNotImportTesting(t *testing.T) {
	fset := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		checked++
		for _, breach := range imports(parse(t, fset, e.Name(), nil), "testing") {
			t.Errorf("%s: imports testing", fset.Position(breach.Pos()))
		}
	}
	if checked == 0 {
		t.Fatal("found no source")
	}
}

// pureFiles decide and do nothing: what they return depends on their arguments
// alone, so a table of arguments tests them and a simulator replays them.
var pureFiles = []string{"rules.go", "progress.go", "raft_log.go", "configuration.go", "reads.go"}

func TestPureFiles(t *testing.T) {
	fset := token.NewFileSet()
	for _, name := range pureFiles {
		for node, what := range impurities(parse(t, fset, name, nil)) {
			t.Errorf("%s: %s in a pure file", fset.Position(node.Pos()), what)
		}
	}
}

// The check itself must see what it looks for.
func TestImpurities(t *testing.T) {
	for _, tt := range []struct {
		name, source string
		want         int
	}{
		{"pure", `import "time"; func f(now time.Time) time.Time { return now.Add(time.Second) }`, 0},
		{"channel type", `func f(c chan int) {}`, 1},
		{"send", `func f() { c <- 1 }`, 1},
		{"receive", `func f() { <-c }`, 1},
		{"select", `func f() { select {} }`, 1},
		{"go", `func f() { go f() }`, 1},
		{"sync", `import "sync"`, 1},
		{"sync/atomic", `import "sync/atomic"`, 1},
		{"clock", `import "time"; var now = time.Now`, 1},
		{"clock, renamed", `import t "time"; func f() { t.Now() }`, 1},
		{"clock by the back door", `import "time"; func f(t time.Time) { time.Since(t) }`, 1},
		{"timer", `import "time"; func f() { time.AfterFunc(0, f) }`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := parse(t, token.NewFileSet(), tt.name+".go", "package p; "+tt.source)
			if got := impurities(file); len(got) != tt.want {
				t.Errorf("found %v, want %d", got, tt.want)
			}
		})
	}
}

// impurities returns what makes a file more than a function of its arguments.
func impurities(file *ast.File) map[ast.Node]string {
	found := map[ast.Node]string{}
	for _, i := range imports(file, "sync", "sync/atomic") {
		found[i] = "import of " + i.Path.Value
	}
	clock := importName(file, "time")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ChanType:
			found[n] = "chan"
		case *ast.SendStmt:
			found[n] = "send"
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				found[n] = "receive"
			}
		case *ast.SelectStmt:
			found[n] = "select"
		case *ast.GoStmt:
			found[n] = "go"
		case *ast.SelectorExpr:
			if id, ok := n.X.(*ast.Ident); ok && id.Name == clock && readsClock[n.Sel.Name] {
				found[n] = "time." + n.Sel.Name
			}
		}
		return true
	})
	return found
}

// readsClock names what package time does besides arithmetic.
var readsClock = map[string]bool{
	"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "AfterFunc": true,
	"Tick": true, "NewTimer": true, "NewTicker": true,
}

// imports returns the imports of any of some paths.
func imports(file *ast.File, paths ...string) []*ast.ImportSpec {
	var found []*ast.ImportSpec
	for _, i := range file.Imports {
		for _, path := range paths {
			if i.Path.Value == `"`+path+`"` {
				found = append(found, i)
			}
		}
	}
	return found
}

// importName returns the name by which a file knows an import of the standard
// library, "" if it does not import it.
func importName(file *ast.File, path string) string {
	found := imports(file, path)
	switch {
	case len(found) == 0:
		return ""
	case found[0].Name != nil:
		return found[0].Name.Name
	default:
		return path
	}
}

// parse reads a file, or source if that is not nil.
func parse(t *testing.T, fset *token.FileSet, name string, source any) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
