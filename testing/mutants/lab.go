package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// lab tests mutants of the repository at root. Its files are in dir.
type lab struct{ root, dir string }

// stage is a run of a package's tests.
type stage struct {
	name string
	pkg  string // relative to the root of the repository
	args []string
}

// limit bounds a stage. It takes seconds if nothing is wrong, so a stage that is not
// done by then has caught something too.
const limit = 4 * time.Minute

// stages are the tests that may catch a fault in a file, the quickest first: those of
// its own package, then those of the core.
func stages(file string) []stage {
	core := []stage{
		{"", ".", []string{"-test.skip", "^(TestSim|TestNode.*)$"}},
		{"simulator: ", ".", []string{"-test.run", "^TestSim$", "-sim.seeds", "500"}},
		{"", ".", []string{"-test.run", "^TestNode"}},
	}
	if own := filepath.Dir(file); own != "." {
		return append([]stage{{own + ": ", own, nil}}, core...)
	}
	return core
}

// test returns the name of the first test that fails on a mutant, "" if none does.
func (l lab) test(ctx context.Context, m mutant) (caughtBy string, err error) {
	overlay, err := l.overlay(m)
	if err != nil {
		return "", err
	}
	binaries := map[string]string{}
	for _, s := range stages(m.file) {
		if binaries[s.pkg] == "" {
			binaries[s.pkg] = filepath.Join(l.dir, m.name+"-"+filepath.Base(s.pkg)+".test")
			if err := l.build(ctx, s.pkg, overlay, binaries[s.pkg]); err != nil {
				return "", err
			}
			defer os.Remove(binaries[s.pkg])
		}
		by, err := l.run(ctx, s, binaries[s.pkg])
		if err != nil || by != "" {
			return by, err
		}
	}
	return "", nil
}

// overlay writes the mutated file beside the original, and the file that makes the
// compiler take it.
func (l lab) overlay(m mutant) (path string, err error) {
	original := filepath.Join(l.root, filepath.FromSlash(m.file))
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	mutated, err := m.apply(string(source))
	if err != nil {
		return "", err
	}
	replacement := filepath.Join(l.dir, m.name+".go")
	if err := os.WriteFile(replacement, []byte(mutated), 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(l.dir, m.name+".json")
	return path, os.WriteFile(path, b, 0o600)
}

func (l lab) build(ctx context.Context, pkg, overlay, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", binary, "./"+pkg)
	cmd.Dir = l.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("does not build: %w\n%s", err, out)
	}
	return nil
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs a stage and returns what it has caught, "" for nothing.
func (l lab) run(ctx context.Context, s stage, binary string) (caughtBy string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"-test.short", "-test.failfast"}, s.args...)...)
	cmd.Dir = filepath.Join(l.root, s.pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() == context.DeadlineExceeded:
		return s.name + "hangs", nil
	case ctx.Err() != nil || !errors.As(err, &exit):
		return "", errors.Join(ctx.Err(), err)
	}
	return s.name + verdict(out.String()), nil
}

// verdict says in a few words how tests have failed: which of them, the innermost, or
// the panic that ended them.
func verdict(out string) string {
	if failed := failedTest.FindAllStringSubmatch(out, -1); len(failed) > 0 {
		return failed[len(failed)-1][1]
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "panic: ") {
			return strings.TrimSpace(line)
		}
	}
	return "the tests failed"
}

// moduleRoot is the directory of this repository's main module.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Root}}", "github.com/hashicorp/raft").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
