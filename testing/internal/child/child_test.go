package child

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

const patience = 20 * time.Second

func start(t *testing.T, name string, args ...string) *Child {
	t.Helper()
	c, err := Start(exec.Command(name, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

func (c *Child) await(t *testing.T) {
	t.Helper()
	select {
	case <-c.Exited():
	case <-time.After(patience):
		t.Fatal("the process lives on")
	}
}

func TestKill(t *testing.T) {
	c := start(t, "cat")
	if err := c.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	c.Kill()
	if how := c.Crashed(); how != nil {
		t.Errorf("was killed, and is said to have crashed: %v", how)
	}
	if err := c.Signal(syscall.SIGCONT); err == nil {
		t.Error("a signal reached a process that is gone")
	}
}

func TestCrashed(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":        "exit status 3",
		"exit 0":        "exit status 0",
		"kill -KILL $$": "signal: killed",
	} {
		c := start(t, "sh", "-c", script)
		c.await(t)
		if got := c.Crashed(); got == nil || got.String() != want {
			t.Errorf("%q: %v, want %s", script, got, want)
		}
	}
}

// TestCrashedBeforeKill holds that Kill does not hide how a process had ended.
func TestCrashedBeforeKill(t *testing.T) {
	c := start(t, "sh", "-c", "exit 3")
	c.await(t)
	c.Kill()
	if c.Crashed() == nil {
		t.Error("the crash is hidden")
	}
}

func TestStartFails(t *testing.T) {
	if _, err := Start(exec.Command("/nowhere")); err == nil {
		t.Error("no error")
	}
}

// TestDiesWithDriver kills a driver whose child waits for input, or is stopped.
func TestDiesWithDriver(t *testing.T) {
	const variable = "CHILD_TEST_DRIVER"
	if signal, is := os.LookupEnv(variable); is {
		driver(t, signal)
	}
	for _, signal := range []string{"CONT", "STOP"} {
		t.Run(signal, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=TestDiesWithDriver")
			cmd.Env = append(os.Environ(), variable+"="+signal)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			cmd.Stdout = w
			c, err := Start(cmd)
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Kill()
			var said [64]byte
			n, err := r.Read(said[:])
			if err != nil || string(said[:n]) != ready {
				t.Fatalf("the driver says %q, %v", said[:n], err)
			}
			c.Kill()
			// The grandchild holds the other end of the pipe for as long as it lives.
			_ = r.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadAll(r); err != nil {
				t.Errorf("a process outlived its driver: %v", err)
			}
		})
	}
}

const ready = "ready"

// driver starts a process, sends it a signal, says so, and waits to be killed.
func driver(t *testing.T, signal string) {
	cmd := exec.Command("cat")
	cmd.Stdout = os.Stdout
	c, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	s := map[string]syscall.Signal{"CONT": syscall.SIGCONT, "STOP": syscall.SIGSTOP}[signal]
	if err := c.Signal(s); err != nil {
		t.Fatal(err)
	}
	if s == syscall.SIGSTOP {
		// What stops after its driver has died is not continued by anybody.
		var status syscall.WaitStatus
		for !status.Stopped() {
			if _, err := syscall.Wait4(c.Pid(), &status, syscall.WUNTRACED, nil); err != nil && err != syscall.EINTR {
				t.Fatal(err)
			}
		}
	}
	os.Stdout.WriteString(ready)
	select {}
}

func TestFreeAddr(t *testing.T) {
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	if addr == "" {
		t.Error("no address")
	}
}
