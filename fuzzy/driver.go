package fuzzy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// This file plays seeds in other processes. One that dies, because of an assertion, a
// deadlock or a fault of the runtime, or that hangs, is a failure of its seed; the
// others go on.

// patience is how long, in real time, one seed may take. It is for seeds that hang.
const patience = 10 * time.Minute

// resultPrefix marks the lines of a player's output that are results.
const resultPrefix = "RESULT "

// player is a process that plays one seed after the other.
type player struct {
	command func() *exec.Cmd

	cmd    *exec.Cmd // nil: none runs
	seeds  io.WriteCloser
	output *bufio.Reader
	said   bytes.Buffer // on its output, but for results
	errors bytes.Buffer // whatever it wrote there; complete when it has ended
}

// play plays a seed, and starts a process for that if there is none.
func (p *player) play(seed uint64) outcome {
	if p.cmd == nil {
		if err := p.start(); err != nil {
			return died(seed, err, "")
		}
	}
	process := p.cmd.Process
	timer := time.AfterFunc(patience, func() { process.Signal(syscall.SIGQUIT) }) // it shows its goroutines
	defer timer.Stop()
	fmt.Fprintln(p.seeds, seed) // if it fails there is no result either
	o, err := p.result()
	if err != nil {
		err = fmt.Errorf("the process has ended or was killed after %v: %w", patience, p.end(err))
		return died(seed, err, p.said.String()+p.errors.String())
	}
	return o
}

func (p *player) start() (err error) {
	cmd := p.command()
	p.said.Reset()
	p.errors.Reset()
	cmd.Stderr = &p.errors
	if p.seeds, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.output = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	return nil
}

// result reads the next result. Whatever else the process says is kept.
func (p *player) result() (o outcome, err error) {
	for {
		line, err := p.output.ReadString('\n')
		if err != nil {
			p.said.WriteString(line)
			return o, err
		}
		if text, ok := strings.CutPrefix(line, resultPrefix); ok {
			return o, json.Unmarshal([]byte(text), &o)
		}
		p.said.WriteString(line)
	}
}

// end ends the process, and says why it ended.
func (p *player) end(err error) error {
	if p.cmd == nil {
		return err
	}
	p.seeds.Close()
	if exit := p.cmd.Wait(); exit != nil {
		err = exit
	}
	p.cmd = nil
	return err
}

// died is the outcome of a seed that has no result.
func died(seed uint64, err error, output string) outcome {
	return outcome{Seed: seed, Failures: []failure{{Property: "process died", Detail: err.Error()}}, Story: output}
}

// serve is the other side: it plays the seeds that it reads.
func serve(in io.Reader, out io.Writer, play func(uint64) outcome) error {
	var seed uint64
	for {
		if _, err := fmt.Fscan(in, &seed); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		text, err := json.Marshal(play(seed))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s%s\n", resultPrefix, text)
	}
}

// keep writes what is known of a failure to a file, and returns its name.
func keep(dir string, o outcome) (string, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %v of virtual time\n", o.Seed, o.Virtual)
	for _, f := range o.Failures {
		fmt.Fprintf(&b, "%s: %s\n", f.Property, f.Detail)
	}
	fmt.Fprintf(&b, "\n%v\n\n%s", &o.Counts, o.Story)
	name := fmt.Sprintf("%s/seed-%d.txt", dir, o.Seed)
	return name, os.WriteFile(name, []byte(b.String()), 0o666)
}
