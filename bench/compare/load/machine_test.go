package load

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// applied returns a machine that has applied some commands.
func applied(commands ...string) *Machine {
	m := NewMachine()
	for _, c := range commands {
		m.Apply([]byte(c))
	}
	return m
}

func TestDigest(t *testing.T) {
	want := applied("a", "b", "c").State()
	for _, tt := range []struct {
		name string
		got  *Machine
		same bool
	}{
		{"same", applied("a", "b", "c"), true},
		{"other order", applied("b", "a", "c"), false},
		{"other order at the end", applied("a", "c", "b"), false},
		{"other content", applied("a", "b", "d"), false},
		{"one less", applied("a", "b"), false},
		{"one twice", applied("a", "b", "b", "c"), false},
		{"other borders", applied("ab", "", "c"), false},
	} {
		if got := tt.got.State(); (got == want) != tt.same {
			t.Errorf("%s: %v beside %v", tt.name, got, want)
		}
	}
}

func TestRestoredMachineGoesOn(t *testing.T) {
	m := NewMachine()
	m.Restore(applied("a", "b").State())
	m.Apply([]byte("c"))
	if got, want := m.State(), applied("a", "b", "c").State(); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAgree(t *testing.T) {
	defer func(old time.Duration) { patience = old }(patience)
	patience = 10 * time.Millisecond
	for _, tt := range []struct {
		name     string
		machines []*Machine
		want     string // part of the error
	}{
		{"equal", []*Machine{applied("a", "b"), applied("a", "b")}, ""},
		{"different order", []*Machine{applied("a", "b"), applied("b", "a")}, "not the same"},
		{"different order, third", []*Machine{applied("a", "b"), applied("a", "b"), applied("b", "a")}, "1 and 3"},
		{"one behind", []*Machine{applied("a", "b"), applied("a")}, "same number"},
		{"none", nil, "no machine"},
	} {
		err := Agree(tt.machines...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestAgreeWaitsForWhoIsBehind(t *testing.T) {
	ahead, behind := applied("a", "b"), applied("a")
	looks := 0
	got, err := agree(time.Now().Add(patience), func() ([]State, error) {
		if looks++; looks == 3 {
			behind.Apply([]byte("b"))
		}
		return []State{ahead.State(), behind.State()}, nil
	})
	if err != nil || got != ahead.State() {
		t.Errorf("state %v, error %v", got, err)
	}
	failure := errors.New("failure")
	if _, err := agree(time.Now(), func() ([]State, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("error %v, want %v", err, failure)
	}
}

func TestWait(t *testing.T) {
	m := NewMachine()
	done := make(chan error)
	go func() { done <- m.Wait(2, time.Minute) }()
	m.Apply(nil)
	m.Apply(nil)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := m.Wait(3, time.Millisecond); err == nil {
		t.Error("waited for 3 commands, which never came, without an error")
	}
}

func TestApplyAllocatesNothing(t *testing.T) {
	m, data := NewMachine(), make([]byte, 256)
	if n := testing.AllocsPerRun(100, func() { m.Apply(data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkApply(b *testing.B) {
	m, data := NewMachine(), make([]byte, 256)
	for b.Loop() {
		m.Apply(data)
	}
}
