// Package control is what a node and the driver say to each other: JSON over
// HTTP on a loopback address. It knows no Raft library, so the driver builds
// without any.
package control

// Paths of a node's control interface. Parameters are in the query, except that
// the body of Apply is the command.
const (
	Apply    = "/apply"    // POST, Result
	Barrier  = "/barrier"  // POST, Result
	Verify   = "/verify"   // POST, Result
	Member   = "/member"   // POST op, id, addr; Result
	Transfer = "/transfer" // POST id, addr; Result
	Snapshot = "/snapshot" // POST, Result
	Restore  = "/restore"  // POST, Result; a new snapshot of the node's own, as a user's
	GetState = "/status"   // GET, Status
	GetLog   = "/log"      // GET, []Entry
	Applied  = "/applied"  // GET, []Record
)

// Hello is the first and only line of a node's standard output. It is printed
// when the node runs.
type Hello struct {
	Control string // host:port of the control interface
}

// Outcome says what is known about a command.
type Outcome string

const (
	// Acked: committed and applied on the node that answered.
	Acked Outcome = "acked"
	// Refused: the library promises that it has no effect.
	Refused Outcome = "refused"
	// Unknown: it may have an effect, now or later.
	Unknown Outcome = "unknown"
)

// Result answers what changes something.
type Result struct {
	Outcome Outcome
	Index   uint64
	Term    uint64 // of the entry (Apply), else the node's
	Error   string
}

// Record is a command as the state machine saw it.
type Record struct {
	Index  uint64
	Term   uint64
	Client uint32
	Seq    uint32
	Sum    uint64 // of the whole command
}

// Entry is an entry of a node's log store.
type Entry struct {
	Index    uint64
	Term     uint64
	Type     uint8
	Sum      uint64 // of data and extensions
	Appended int64  // the leader's clock in nanoseconds, 0 if none
}

// Server is a member of the latest configuration.
type Server struct {
	ID, Addr, Suffrage string
}

// Status is a node's view of itself. State and Term were true at one instant;
// the rest is about as old.
type Status struct {
	ID          string
	State       string
	Term        uint64
	Leader      string // ID, empty if unknown
	First, Last uint64 // of the log store
	Commit      uint64
	Applied     uint64 // last index that the state machine saw
	Count       int    // commands applied
	Chain       string // hash over all records in order
	Snapshot    uint64 // index of the newest snapshot
	Installs    int    // snapshots restored since the node started
	Servers     []Server
}
