package compat

import (
	"fmt"
	"go/types"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// The lists in testdata are the exported API of hashicorp/raft v1.8.0 and
// raft-boltdb v2.3.1, one item a line. Every line must hold here too; API beyond
// the lists is allowed.
//
// The format is that of the api/*.txt files of Go's own repository, but: types of
// packages outside the standard library carry their import path, types of the
// package itself none; byte is uint8 and any is interface{}; an interface has a
// line with the names of all its methods, so that one more is a difference.
func TestAPI(t *testing.T) {
	for _, tt := range []struct {
		list, dir, tags string
		rename          *strings.Replacer // from our API to the list's
	}{
		{list: "api.txt", dir: "."},
		{list: "api.txt", dir: ".", tags: "hashicorpmetrics"},
		{list: "api-raftboltdb.txt", dir: "./raftboltdb"},
		{list: "api-testing.txt", dir: "./testing/rafttest", rename: rafttestNames},
	} {
		t.Run(strings.TrimSpace(tt.list+" "+tt.tags), func(t *testing.T) {
			have := exportedAPI(t, tt.dir, tt.tags)
			if tt.rename != nil {
				for i := range have {
					have[i] = tt.rename.Replace(have[i])
				}
			}
			for _, want := range readList(t, tt.list) {
				if !slices.Contains(have, want) {
					t.Errorf("missing: %s%s", want, similar(have, want))
				}
			}
		})
	}
}

// The helpers are in package raft there, and the type of a cluster is unexported.
var rafttestNames = strings.NewReplacer(
	"pkg rafttest,", "pkg raft,",
	"github.com/hashicorp/raft.", "",
	"*Cluster", "*cluster",
)

func readList(t *testing.T, name string) []string {
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s lists nothing", name)
	}
	return lines
}

// item is the part of a line that names what it is about.
var item = regexp.MustCompile(`^pkg \w+, (const|var|func|type|method \(\*?\w+\)) \w+( struct, \w+| interface, \w+| =)?`)

// similar returns the lines about the same item, which tell a difference from a
// gap.
func similar(have []string, want string) string {
	var found string
	for _, line := range have {
		if item.FindString(line) == item.FindString(want) {
			found += "\n   have: " + line
		}
	}
	return found
}

// exportedAPI lists the API of the package in a directory of this repository.
func exportedAPI(t *testing.T, dir, tags string) []string {
	t.Helper()
	conf := &packages.Config{
		Mode:       packages.NeedName | packages.NeedTypes | packages.NeedImports,
		Dir:        "../..",
		BuildFlags: []string{"-tags=" + tags},
	}
	pkgs, err := packages.Load(conf, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) != 1 || len(pkgs[0].Errors) > 0 {
		t.Fatalf("loading %s: %v", dir, pkgs[0].Errors)
	}
	a := &apiLister{pkg: pkgs[0].Types}
	scope := a.pkg.Scope()
	for _, name := range scope.Names() {
		if obj := scope.Lookup(name); obj.Exported() {
			a.object(obj)
		}
	}
	return a.lines
}

// apiLister writes down a package's API.
type apiLister struct {
	pkg   *types.Package
	lines []string
}

func (a *apiLister) add(format string, args ...any) {
	a.lines = append(a.lines, "pkg "+a.pkg.Name()+", "+fmt.Sprintf(format, args...))
}

func (a *apiLister) object(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		a.add("const %s %s", obj.Name(), a.constType(obj.Type()))
		a.add("const %s = %s", obj.Name(), obj.Val().ExactString())
	case *types.Var:
		a.add("var %s %s", obj.Name(), a.typ(obj.Type()))
	case *types.Func:
		a.add("func %s%s", obj.Name(), a.signature(obj.Signature()))
	case *types.TypeName:
		a.typeName(obj)
	}
}

func (a *apiLister) constType(t types.Type) string {
	if b, ok := t.(*types.Basic); ok && b.Info()&types.IsUntyped != 0 {
		return "ideal-" + strings.TrimPrefix(b.Name(), "untyped ")
	}
	return a.typ(t)
}

func (a *apiLister) typeName(obj *types.TypeName) {
	name := obj.Name()
	switch u := obj.Type().Underlying().(type) {
	case *types.Struct:
		a.structType(obj, u)
	case *types.Interface:
		a.interfaceType(name, u)
		return // its methods are listed with it
	default:
		a.add("type %s %s", name, a.typ(u))
	}
	byValue := types.NewMethodSet(obj.Type())
	a.methods("("+name+")", byValue, nil)
	a.methods("(*"+name+")", types.NewMethodSet(types.NewPointer(obj.Type())), byValue)
}

func (a *apiLister) structType(obj *types.TypeName, s *types.Struct) {
	a.add("type %s struct", obj.Name())
	hidden := false
	for i := range s.NumFields() {
		f := s.Field(i)
		switch {
		case !f.Exported():
			hidden = true
		case f.Embedded():
			a.add("type %s struct, embedded %s", obj.Name(), a.typ(f.Type()))
		default:
			a.add("type %s struct, %s %s%s", obj.Name(), f.Name(), a.typ(f.Type()), tag(s.Tag(i)))
		}
	}
	// Only a struct without hidden fields promises to stay comparable.
	if !hidden && types.Comparable(obj.Type()) {
		a.add("type %s struct, comparable", obj.Name())
	}
}

func tag(s string) string {
	if s == "" {
		return ""
	}
	return " `" + s + "`"
}

func (a *apiLister) interfaceType(name string, i *types.Interface) {
	var methods []string
	for m := range i.Methods() {
		methods = append(methods, m.Name())
		a.add("type %s interface, %s%s", name, m.Name(), a.signature(m.Signature()))
	}
	slices.Sort(methods)
	a.add("type %s interface { %s }", name, strings.Join(methods, ", "))
}

// methods lists the exported methods of a method set that another has not.
func (a *apiLister) methods(receiver string, set, without *types.MethodSet) {
	for sel := range set.Methods() {
		m := sel.Obj().(*types.Func)
		if m.Exported() && (without == nil || without.Lookup(m.Pkg(), m.Name()) == nil) {
			a.add("method %s %s%s", receiver, m.Name(), a.signature(m.Signature()))
		}
	}
}

// signature writes a signature without the names of parameters.
func (a *apiLister) signature(sig *types.Signature) string {
	params := a.tuple(sig.Params())
	if sig.Variadic() {
		last := len(params) - 1
		params[last] = "..." + strings.TrimPrefix(params[last], "[]")
	}
	s := "(" + strings.Join(params, ", ") + ")"
	switch results := a.tuple(sig.Results()); len(results) {
	case 0:
		return s
	case 1:
		return s + " " + results[0]
	default:
		return s + " (" + strings.Join(results, ", ") + ")"
	}
}

func (a *apiLister) tuple(t *types.Tuple) []string {
	var list []string
	for v := range t.Variables() {
		list = append(list, a.typ(v.Type()))
	}
	return list
}

var (
	byteType = regexp.MustCompile(`\bbyte\b`)
	anyType  = regexp.MustCompile(`\bany\b`)
)

func (a *apiLister) typ(t types.Type) string {
	if sig, ok := types.Unalias(t).(*types.Signature); ok {
		return "func" + a.signature(sig)
	}
	s := types.TypeString(t, func(p *types.Package) string {
		if p == a.pkg {
			return ""
		}
		return p.Path()
	})
	return anyType.ReplaceAllString(byteType.ReplaceAllString(s, "uint8"), "interface{}")
}
