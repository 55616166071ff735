package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// library is one implementation: a directory of peers/ and the node built there.
type library struct {
	name   string
	binary string
}

// The names of libraries: the repository's own is ours, those of others begin with
// peerPrefix.
const (
	ours       = "ours"
	peerPrefix = "upstream-"
)

// peer reports whether this is another library than the repository's own.
func (l library) peer() bool { return strings.HasPrefix(l.name, peerPrefix) }

// build builds the node of peers/NAME for each name that occurs into dir. With race
// those of this repository's library get the race detector.
func build(ctx context.Context, peers, dir string, names []string, race bool) (map[string]library, error) {
	libs := map[string]library{}
	for _, name := range names {
		if _, done := libs[name]; done {
			continue
		}
		binary, err := filepath.Abs(filepath.Join(dir, "node-"+name))
		if err != nil {
			return nil, err
		}
		args := []string{"build", "-o", binary}
		if race && !(library{name: name}).peer() {
			args = append(args, "-race")
		}
		cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
		cmd.Dir = filepath.Join(peers, name)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", cmd.Dir, err, out)
		}
		libs[name] = library{name: name, binary: binary}
	}
	return libs, nil
}
