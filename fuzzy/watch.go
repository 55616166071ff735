package fuzzy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/testing/rafttest"
)

// The properties that a watch holds a cluster to. R1 to R19 are the rules of
// docs/architecture.md.
const (
	electionSafety     = "two leaders of a term"
	leaderVotes        = "leader without the votes of a majority on disk (R1)"
	leaderCompleteness = "leader without a committed entry"
	logMatching        = "logs do not match"
	commitQuorum       = "committed entry not on the disks of a majority (R4)"
	termFell           = "term fell (R1)"
	secondVote         = "second vote in a term (R1)"
	claimNotDurable    = "vote request claims what is not on disk (R1)"
	gap                = "gap in a log on disk (R10)"
	entryBeforeTerm    = "entry stored before its term (R19)"
	commitTooHigh      = "leader names a commit index beyond its request (R3)"
	indexFell          = "commit or applied index fell"
	wrongSnapshot      = "snapshot of what was not committed"
)

// id names an entry.
type id struct{ index, term uint64 }

func (i id) String() string { return fmt.Sprintf("%d@%d", i.index, i.term) }

// fact is an entry that was seen somewhere.
type fact struct {
	id
	kind   raft.LogType
	data   []byte
	prev   *fact  // nil for the first, and if it is not known
	config *fact  // the configuration in force in a log that ends here, nil if not known
	held   uint64 // servers that have it on disk or had when they lost that, a bit each
	voters []raft.Server
}

// commit is an entry that some FSM has applied.
type commit struct {
	term  uint64
	known uint64 // the highest term that had a leader when it was first applied
}

// watch sees all requests and everything that reaches a disk or an FSM, and holds the
// cluster to the properties of Figure 3 of the paper and to what rules can be seen from
// outside. It is safe for any goroutine.
type watch struct {
	begin time.Time

	mu        sync.Mutex
	broken    *rafttest.Violation // the first one that nobody has been told of
	facts     map[id]*fact
	configs   []*fact
	committed []commit // by index, zero if not known
	leaders   map[uint64]raft.ServerID
	newest    uint64 // the highest term with a leader
	numbers   map[raft.ServerID]int
	disks     map[raft.ServerID]*disk
	votes     map[ballot]raft.ServerAddress
	lives     map[raft.ServerID]*life
}

// ballot is what a server may give one vote to.
type ballot struct {
	voter raft.ServerID
	term  uint64
}

// disk is what a server has on its disk. A server that was wiped has a new one.
type disk struct {
	server    raft.ServerID
	term      uint64
	candidate string // of the vote that is being written
	votes     map[uint64]string
	log       map[uint64]*fact
	last      uint64 // index of the log's last entry
	snapshot  id
	bases     map[uint64]id // all snapshots that there have been, by index
	members   []raft.Server // of the snapshot
	recent    []diskEvent
}

// diskEvent is something that reached a disk.
type diskEvent struct {
	at     time.Duration
	what   string
	lo, hi id
}

// recentEvents is how many a disk keeps.
const recentEvents = 40

// happened notes what reaches a disk, for the story of a failure.
func (w *watch) happened(d *disk, what string, lo, hi id) {
	if len(d.recent) == recentEvents {
		d.recent = append(d.recent[:0], d.recent[recentEvents/2:]...)
	}
	d.recent = append(d.recent, diskEvent{time.Since(w.begin), what, lo, hi})
}

// story tells what reached the disks last.
func (w *watch) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, server := range slices.Sorted(maps.Keys(w.disks)) {
		fmt.Fprintf(&b, "what reached the disk of %s:\n", server)
		for _, e := range w.disks[server].recent {
			fmt.Fprintf(&b, "  %9.3f %s %v..%v\n", e.at.Seconds(), e.what, e.lo, e.hi)
		}
	}
	return b.String()
}

// life is what a running node has shown.
type life struct {
	raft                  *raft.Raft
	term, commit, applied uint64
}

func newWatch() *watch {
	return &watch{
		facts: map[id]*fact{}, leaders: map[uint64]raft.ServerID{}, numbers: map[raft.ServerID]int{},
		disks: map[raft.ServerID]*disk{}, votes: map[ballot]raft.ServerAddress{}, lives: map[raft.ServerID]*life{},
	}
}

// fail records a violation. It needs the lock, as does all below unless it says so.
func (w *watch) fail(property, format string, args ...any) {
	if w.broken == nil {
		w.broken = &rafttest.Violation{Property: property, Detail: fmt.Sprintf(format, args...)}
	}
}

// found returns what is wrong, once.
func (w *watch) found() error {
	v := w.broken
	w.broken = nil
	if v == nil {
		return nil // and not a nil pointer in an interface
	}
	return v
}

// Found is found for who does not hold the lock.
func (w *watch) Found() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found()
}

// open begins an empty disk.
func (w *watch) open(server raft.ServerID) *disk {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.numbers[server]; !ok {
		w.numbers[server] = len(w.numbers)
	}
	d := &disk{server: server, votes: map[uint64]string{}, log: map[uint64]*fact{}, bases: map[uint64]id{}}
	w.disks[server] = d
	return d
}

// note records an entry that follows prev, nil if that is not known. Two logs that both
// have it are equal up to it.
func (w *watch) note(e *raft.Log, prev *fact) *fact {
	at := id{e.Index, e.Term}
	f := w.facts[at]
	if f == nil {
		f = &fact{id: at, kind: e.Type, data: e.Data, prev: prev}
		w.facts[at] = f
		f.settle()
		if f.kind == raft.LogConfiguration {
			f.voters = voters(raft.DecodeConfiguration(e.Data).Servers)
			w.configs = append(w.configs, f)
		}
		return f
	}
	switch {
	case f.kind != e.Type || !bytes.Equal(f.data, e.Data):
		w.fail(logMatching, "two entries %v: %v %q and %v %q", at, f.kind, f.data, e.Type, e.Data)
	case prev == nil:
	case f.prev == nil:
		f.prev = prev
		f.settle()
	case f.prev != prev:
		w.fail(logMatching, "entry %v follows %v in one log and %v in another", at, f.prev.id, prev.id)
	}
	return f
}

// settle finds the configuration that is in force at an entry.
func (f *fact) settle() {
	switch {
	case f.kind == raft.LogConfiguration:
		f.config = f
	case f.prev != nil:
		f.config = f.prev.config
	}
}

func voters(servers []raft.Server) []raft.Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
}

// covers reports whether a disk has an entry, in its log or in a snapshot.
func (d *disk) covers(at id) bool {
	f := d.log[at.index]
	return at.index <= d.snapshot.index || f != nil && f.id == at
}

// isCommitted reports whether an entry is known to be committed.
func (w *watch) isCommitted(at id) bool {
	return at.index < uint64(len(w.committed)) && w.committed[at.index].term == at.term
}

// applied sees an entry that an FSM applies. It takes the lock.
func (w *watch) applied(e *raft.Log) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uint64(len(w.committed)) <= e.Index {
		w.committed = append(w.committed, commit{})
	}
	c := &w.committed[e.Index]
	if c.term != 0 {
		return // that all apply the same is seen to by rafttest
	}
	*c = commit{e.Term, w.newest}
	f := w.facts[id{e.Index, e.Term}]
	if f == nil {
		w.fail(commitQuorum, "%d@%d was applied, and was on no disk", e.Index, e.Term)
		return
	}
	w.isKept(f)
}

// isKept holds a committed entry to R4: a majority has it on disk, of the voters of the
// configuration in force at the entry, or of a later one by which it was counted. The
// leader's latest one may be on no disk yet and have one voter less: half of an even
// number of voters is a majority then.
func (w *watch) isKept(f *fact) {
	enough := func(c *fact) bool {
		return 2*w.count(c.voters, func(s raft.Server) bool { return w.has(s.ID, f) }) >= len(c.voters)
	}
	later := func(c *fact) bool { return c.index > f.index && enough(c) }
	if f.config != nil && !enough(f.config) && !slices.ContainsFunc(w.configs, later) {
		w.fail(commitQuorum, "%v is on the disks of %v; voters are %v", f.id, w.holders(f), names(f.config.voters))
	}
}

func (w *watch) count(of []raft.Server, has func(raft.Server) bool) (n int) {
	for _, s := range of {
		if has(s) {
			n++
		}
	}
	return n
}

func (w *watch) has(server raft.ServerID, f *fact) bool {
	d := w.disks[server]
	return f.held&w.bit(server) != 0 || d != nil && d.snapshot.index >= f.index
}

func (w *watch) bit(server raft.ServerID) uint64 { return 1 << w.numbers[server] }

func (w *watch) holders(f *fact) (all []raft.ServerID) {
	for server := range w.disks {
		if w.has(server, f) {
			all = append(all, server)
		}
	}
	slices.Sort(all)
	return all
}

func names(servers []raft.Server) (all []raft.ServerID) {
	for _, s := range servers {
		all = append(all, s.ID)
	}
	return all
}

// started sees a node after its start. It takes the lock.
func (w *watch) started(server raft.ServerID, r *raft.Raft) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives[server] = &life{raft: r}
	if d := w.disks[server]; r.CurrentTerm() < d.term {
		w.fail(termFell, "%s starts in term %d, its disk has %d", server, r.CurrentTerm(), d.term)
	}
	return w.found()
}

// looked sees a node while it runs. It takes the lock.
func (w *watch) looked(server raft.ServerID, r *raft.Raft) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lives[server]
	applied, commit, term := r.AppliedIndex(), r.CommitIndex(), r.CurrentTerm()
	if term < l.term {
		w.fail(termFell, "of %s from %d to %d", server, l.term, term)
	}
	if commit < l.commit || applied < l.applied {
		w.fail(indexFell, "of %s: commit %d to %d, applied %d to %d", server, l.commit, commit, l.applied, applied)
	}
	l.term, l.commit, l.applied = term, commit, applied
	return w.found()
}
