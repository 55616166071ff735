package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed mutants.txt
var list string

// mutant is a deliberate fault: lines of a file and what stands there instead.
type mutant struct {
	name  string
	file  string // relative to the root of the repository
	rules string // that it breaks, if one has a number
	what  string
	old   []string
	new   []string
}

// parse reads a list of mutants; its head says what that looks like.
func parse(list string) ([]mutant, error) {
	var all []mutant
	for _, block := range strings.Split(list, "\n\n") {
		lines := slices.DeleteFunc(strings.Split(block, "\n"), func(l string) bool {
			return strings.HasPrefix(l, "#") || l == ""
		})
		if len(lines) == 0 {
			continue
		}
		m, err := parseMutant(lines)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(o mutant) bool { return o.name == m.name }) {
			return nil, fmt.Errorf("two mutants are called %s", m.name)
		}
		all = append(all, m)
	}
	return all, nil
}

func parseMutant(lines []string) (m mutant, err error) {
	head := strings.Fields(lines[0])
	if len(head) < 2 || len(lines) < 4 {
		return m, fmt.Errorf("not a mutant: %q", lines)
	}
	m = mutant{name: head[0], file: head[1], rules: strings.Join(head[2:], " "), what: lines[1]}
	for _, l := range lines[2:] {
		switch l[0] {
		case '-':
			m.old = append(m.old, l[1:])
		case '+':
			m.new = append(m.new, l[1:])
		default:
			return m, fmt.Errorf("%s: neither removed nor added: %q", m.name, l)
		}
	}
	if len(m.old) == 0 || len(m.new) == 0 {
		return m, fmt.Errorf("%s: nothing is replaced", m.name)
	}
	return m, nil
}

// apply returns the source with the fault in it.
func (m mutant) apply(source string) (string, error) {
	lines := strings.Split(source, "\n")
	at := -1
	for i := range lines {
		if !m.matches(lines[i:]) {
			continue
		}
		if at >= 0 {
			return "", fmt.Errorf("%s: its lines stand in %s twice, at %d and %d", m.name, m.file, at+1, i+1)
		}
		at = i
	}
	if at < 0 {
		return "", fmt.Errorf("%s: its lines are not in %s", m.name, m.file)
	}
	return strings.Join(slices.Replace(lines, at, at+len(m.old), m.new...), "\n"), nil
}

// matches reports whether lines begin with the ones that are to be replaced.
func (m mutant) matches(lines []string) bool {
	if len(lines) < len(m.old) {
		return false
	}
	return slices.EqualFunc(m.old, lines[:len(m.old)], func(a, b string) bool {
		return strings.TrimSpace(a) == strings.TrimSpace(b)
	})
}
