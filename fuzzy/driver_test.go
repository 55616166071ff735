package fuzzy

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A process that dies fails the seed that it plays, and no other.
func TestPlayerThatDies(t *testing.T) {
	p := &player{command: func() *exec.Cmd { return exec.Command(os.Args[0], "-test.run=^$", "-test.v") }}
	for seed := range uint64(2) {
		o := p.play(seed)
		if len(o.Failures) != 1 || o.Failures[0].Property != "process died" || o.Seed != seed {
			t.Errorf("outcome %+v", o)
		}
		if !strings.Contains(o.Story, "PASS") {
			t.Errorf("what it said is lost: %q", o.Story)
		}
	}
}

func TestServe(t *testing.T) {
	var out bytes.Buffer
	err := serve(strings.NewReader("3\n4\n"), &out, func(seed uint64) outcome { return outcome{Seed: seed} })
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[1], resultPrefix) || !strings.Contains(lines[1], `"Seed":4`) {
		t.Errorf("results %q", lines)
	}
}

func TestKeep(t *testing.T) {
	dir := t.TempDir() + "/failures"
	file, err := keep(dir, outcome{Seed: 5, Failures: []failure{{"lost write", "of x"}}, Story: "once upon a time"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "lost write: of x") || !strings.Contains(string(text), "once upon") {
		t.Errorf("%s: %q, %v", file, text, err)
	}
}
