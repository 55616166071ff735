package load

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"
)

// The children of a test are this program.
func TestMain(m *testing.M) {
	if IsChild() {
		os.Exit(beChild(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// noTest is the first argument of every child here: should it not know that it is one, it
// runs no tests, which would start children again.
const noTest = "-test.run=^$"

// beChild says its arguments, then whatever it hears. It fails if it has more than noTest.
func beChild(args []string) (status int) {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var said any = args
	for out.Encode(said) == nil && in.Decode(&said) == nil {
	}
	return len(args) - 1
}

func TestChild(t *testing.T) {
	c, err := StartChild(noTest)
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	if err := c.Receive(&args); err != nil || !slices.Equal(args, []string{noTest}) {
		t.Errorf("the child has arguments %q, error %v", args, err)
	}
	for _, want := range []string{"one", "two"} {
		var got string
		err := errors.Join(c.Send(want), c.Receive(&got))
		if err != nil || got != want {
			t.Errorf("the child was told %s and heard %q, error %v", want, got, err)
		}
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// Whoever stops a child learns that it failed.
func TestChildFails(t *testing.T) {
	c, err := StartChild(noTest, "fail")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err == nil {
		t.Error("a child that failed was stopped without an error")
	}
}

// A program that does not know that it is a child cannot start more and more of them.
func TestChildStartsNone(t *testing.T) {
	t.Setenv(childEnv, "1")
	if c, err := StartChild(noTest); err == nil {
		t.Errorf("a child started another: %v", c.Stop())
	}
}
