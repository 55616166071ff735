package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft/testing/internal/child"
	"github.com/hashicorp/raft/testing/interop/node/control"
)

// process is one server of the cluster: an ID, an address and a data directory
// that stay, and the operating system's process that runs on them now, if any.
type process struct {
	id, addr, dir string
	bootstrap     string

	mu    sync.Mutex
	lib   library
	wrote library      // what ran last on the data
	extra []string     // flags of its own
	live  *incarnation // nil while down
	runs  int
}

// incarnation is one run of a process.
type incarnation struct {
	*child.Child
	base  string        // URL of the control interface
	meant chan struct{} // closed before it is ended on purpose
}

// startTimeout bounds the time until a started node answers: it opens its store,
// restores a snapshot, and the machine may be busy.
const startTimeout = 60 * time.Second

// start runs the process and returns when it answers.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil {
		return fmt.Errorf("%s runs already", p.id)
	}
	logFile, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close()
	p.runs++
	fmt.Fprintf(logFile, "=== run %d of %s: %s\n", p.runs, p.id, p.lib.name)
	live, err := launch(logFile, p.lib.binary, append(p.args(), "-bootstrap", p.bootstrap)...)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", p.id, p.lib.name, err)
	}
	p.live, p.wrote = live, p.lib
	return nil
}

// args are the flags that every run has.
func (p *process) args() []string {
	return append([]string{"-id", p.id, "-raft", p.addr, "-dir", filepath.Join(p.dir, "data")}, p.extra...)
}

// forced is an element of a peers.json.
type forced struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// recover lets a library's RecoverCluster write a configuration to the data of p,
// which is down.
func (p *process) recover(ctx context.Context, lib library, servers []forced) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	file, err := json.Marshal(servers)
	if err != nil {
		return err
	}
	path := filepath.Join(p.dir, "peers.json")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, lib.binary, append(p.args(), "-recover", path)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s recovers the data of %s (%s): %w\n%s", lib.name, p.id, p.wrote.name, err, out)
	}
	p.wrote = lib
	return nil
}

// launch starts a node and waits for its greeting.
func launch(logFile *os.File, binary string, args ...string) (*incarnation, error) {
	cmd := exec.Command(binary, args...)
	cmd.Stderr = logFile
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1") // a race is a crash
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	greeting := make(chan error, 1)
	var hello control.Hello
	go func() { greeting <- json.NewDecoder(stdout).Decode(&hello) }()
	select {
	case err = <-greeting:
	case <-time.After(startTimeout):
		err = fmt.Errorf("no greeting within %v", startTimeout)
	}
	if err != nil {
		started.Kill()
		return nil, fmt.Errorf("did not start: %w", err)
	}
	return &incarnation{started, "http://" + hello.Control, make(chan struct{})}, nil
}

// end sends a signal that makes the incarnation end by itself and returns how it did.
func (l *incarnation) end(s syscall.Signal) (*os.ProcessState, error) {
	close(l.meant)
	if err := l.Signal(s); err != nil {
		return nil, err
	}
	select {
	case <-l.Exited():
	case <-time.After(stopTimeout):
		return nil, fmt.Errorf("did not end within %v of %v", stopTimeout, s)
	}
	state := l.Crashed()
	l.Kill() // releases what is left
	return state, nil
}

// crashed returns how the incarnation ended if nobody wanted it to, else nil.
func (l *incarnation) crashed() *os.ProcessState {
	select {
	case <-l.meant:
		return nil
	default:
		return l.Crashed()
	}
}

// kill ends the process as a power failure of its own would, but for what the
// operating system still holds.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live != nil {
		p.live.Kill()
		p.live = nil
	}
}

// stopTimeout bounds an orderly end.
const stopTimeout = 30 * time.Second

// stop ends the process as its operator would: it shuts Raft down and closes its
// store.
func (p *process) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		return nil
	}
	state, err := p.live.end(syscall.SIGTERM)
	if err != nil {
		return fmt.Errorf("%s (%s): %w, see %s", p.id, p.lib.name, err, p.logPath())
	}
	p.live = nil
	if state.ExitCode() != 0 {
		return fmt.Errorf("%s (%s) ended with %v, see %s", p.id, p.lib.name, state, p.logPath())
	}
	return nil
}

// signal sends SIGSTOP or SIGCONT.
func (p *process) signal(s syscall.Signal) error {
	live := p.current()
	if live == nil {
		return fmt.Errorf("%s is down", p.id)
	}
	return live.Signal(s)
}

func (p *process) current() *incarnation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

// library returns what the process runs, or ran last.
func (p *process) library() library {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lib
}

// setLibrary changes what the process runs from its next start on.
func (p *process) setLibrary(lib library) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lib = lib
}

// flags returns the flags of its own that p runs with from its next start on.
func (p *process) flags() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.extra)
}

// setFlags changes them.
func (p *process) setFlags(flags []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.extra = flags
}

// writer returns the library that ran last on the data of p.
func (p *process) writer() library {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrote
}

func (p *process) logPath() string { return filepath.Join(p.dir, "log") }

// checkAlive returns an error if the process ended by itself.
func (p *process) checkAlive() error {
	live := p.current()
	if live == nil {
		return nil
	}
	if state := live.crashed(); state != nil {
		return fmt.Errorf("%s (%s) ended by itself: %v, see %s", p.id, p.library().name, state, p.logPath())
	}
	return nil
}

var (
	errDown = errors.New("process is down")
	client  = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
)

// call sends a request to the control interface and decodes the answer into out.
func (p *process) call(ctx context.Context, method, path string, params url.Values, body []byte, out any) error {
	live := p.current()
	if live == nil {
		return errDown
	}
	req, err := http.NewRequestWithContext(ctx, method, live.base+path+"?"+params.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// do asks for a change and returns what became of it. No answer, whatever the
// reason, is an unknown outcome.
func (p *process) do(ctx context.Context, timeout time.Duration, path string, params url.Values, body []byte) control.Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var res control.Result
	err := p.call(ctx, http.MethodPost, path, params, body, &res)
	switch {
	case errors.Is(err, errDown):
		return control.Result{Outcome: control.Refused, Error: err.Error()}
	case err != nil:
		return control.Result{Outcome: control.Unknown, Error: err.Error()}
	}
	return res
}

// status asks the node what it thinks of itself.
func (p *process) status(ctx context.Context, timeout time.Duration) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var st control.Status
	err := p.call(ctx, http.MethodGet, control.GetState, nil, nil, &st)
	return st, err
}

// applied asks the node for all that its state machine has seen.
func (p *process) applied(ctx context.Context) ([]control.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var recs []control.Record
	err := p.call(ctx, http.MethodGet, control.Applied, nil, nil, &recs)
	return recs, err
}

// log asks the node for what is in its log store.
func (p *process) log(ctx context.Context) ([]control.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var entries []control.Entry
	err := p.call(ctx, http.MethodGet, control.GetLog, nil, nil, &entries)
	return entries, err
}
