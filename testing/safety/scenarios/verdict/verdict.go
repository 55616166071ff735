// Package verdict is what a program of scenarios and the driver that starts it say to
// each other, as JSON on the program's standard output.
package verdict

// A Scenario is one history that a library under test is taken through.
type Scenario struct {
	ID   string // the hazard, and a letter where it has several histories
	Line string // what happens, and what must hold
}

// A Verdict is what a library did in a scenario.
type Verdict struct {
	Kind   Kind
	Detail string `json:",omitempty"` // what was seen
}

// Kind is how a scenario ended.
type Kind string

// The program itself reports the first four, the driver concludes the others from the
// end of the process.
const (
	Safe      Kind = "safe"
	Violated  Kind = "violated"
	Hangs     Kind = "hangs"
	Undecided Kind = "undecided" // the history could not be brought about
	Panics    Kind = "panics"
	Killed    Kind = "process killed"
)
