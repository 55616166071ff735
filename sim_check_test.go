package raft

import (
	"bytes"
	"fmt"
	"hash/fnv"
)

// checker holds a simulated cluster to the properties of Figure 3 of the paper and to
// the rules of docs/architecture.md. It knows everything that ever was on a disk or
// on the wire, and looks only at what a step has changed.
//
// It panics with a breach when a property does not hold.
type checker struct {
	entries   [][]*fact // by index: one for each term that was seen there
	committed []fact    // by index; [0] stands for the empty log
	counted   []uint64  // by index: the term whose leader committed it
	chain     []uint64  // by index: a hash of the commands up to there
	leaders   map[uint64]ServerID
	books     map[ServerID]*book
	commands  map[string]uint64 // where a command is committed
	voters    []ServerID        // of the last entry that was committed by counting
	refused   map[string]bool   // commands whose callers were told that they have no effect
}

// fact is an entry with the term of its predecessor.
type fact struct {
	entry *Log
	prev  uint64
}

// book is what the checker knows of one server.
type book struct {
	disk    *simDisk
	term    uint64               // on its disk
	votes   map[uint64]candidate // that it has told others of, by term
	decided map[hardState]bool   // that it has made up its mind for
	kept    uint64               // its disk had the committed entries up to here

	// Of the present life.
	seen     uint64 // term
	vote     candidate
	commit   uint64
	applied  uint64
	snap     uint64
	config   uint64 // index of the latest configuration
	leads    uint64 // the term that it leads or led last
	proceeds uint64 // commit index before the present step
}

// breach is a property that does not hold.
type breach struct{ text string }

func breakf(format string, args ...interface{}) { panic(breach{fmt.Sprintf(format, args...)}) }

func newChecker() *checker {
	return &checker{
		entries: [][]*fact{nil}, committed: []fact{{entry: &Log{}}}, counted: []uint64{0}, chain: []uint64{0},
		leaders: map[uint64]ServerID{}, books: map[ServerID]*book{},
		commands: map[string]uint64{}, refused: map[string]bool{},
	}
}

// open begins the book of a server with an empty disk. A server that was removed and
// wiped is another server.
func (c *checker) open(id ServerID, disk *simDisk) *book {
	b := &book{disk: disk, votes: map[uint64]candidate{}, decided: map[hardState]bool{}}
	c.books[id] = b
	disk.watch = diskBook{c, b}
	return b
}

// diskBook watches a disk.
type diskBook struct {
	*checker
	*book
}

// setNumber holds the disk's term to R1.
func (d diskBook) setNumber(key string, v uint64) {
	if key != string(keyCurrentTerm) {
		return
	}
	if v < d.term {
		breakf("the term on a disk fell from %d to %d", d.term, v)
	}
	d.term = v
}

// storedEntry holds an entry on disk to R19 and to the Log Matching property.
func (d diskBook) storedEntry(e *Log) {
	if e.Term > d.term {
		breakf("entry %v was stored in term %d", idOf(e), d.term)
	}
	if prev, ok := d.disk.termBefore(e.Index); ok {
		d.note(e, prev)
	}
}

// termBefore returns the term of the entry below an index, by the log or a snapshot.
func (d *simDisk) termBefore(index uint64) (uint64, bool) {
	if index == 1 {
		return 0, true
	}
	if p := d.entry(index - 1); p != nil {
		return p.Term, true
	}
	for _, s := range d.snaps {
		if s.meta.Index == index-1 {
			return s.meta.Term, true
		}
	}
	return 0, false
}

// note records an entry, which must be the one that was recorded with this index and
// term: two logs that both have it are equal up to it.
func (c *checker) note(e *Log, prev uint64) {
	for uint64(len(c.entries)) <= e.Index {
		c.entries = append(c.entries, nil)
	}
	if e.Index == 1 {
		prev = 0
	}
	f := c.find(entryID{e.Index, e.Term})
	switch {
	case f == nil:
		c.entries[e.Index] = append(c.entries[e.Index], &fact{e, prev})
	case f.entry != e && (f.entry.Type != e.Type || !bytes.Equal(f.entry.Data, e.Data)):
		breakf("log matching: two entries %v: %v %q and %v %q", idOf(e), f.entry.Type, f.entry.Data, e.Type, e.Data)
	case f.prev != prev:
		breakf("log matching: entry %v follows term %d in one log and term %d in another", idOf(e), f.prev, prev)
	}
}

func (c *checker) find(id entryID) *fact {
	if id.index >= uint64(len(c.entries)) {
		return nil
	}
	for _, f := range c.entries[id.index] {
		if f.entry.Term == id.term {
			return f
		}
	}
	return nil
}

// last is the highest index that is known to be committed.
func (c *checker) last() uint64 { return uint64(len(c.committed)) - 1 }

// termOf is the term of a committed entry.
func (c *checker) termOf(index uint64) uint64 { return c.committed[index].entry.Term }

// view is what the checker sees of a server.
type view struct {
	id      ServerID
	state   RaftState
	term    uint64
	vote    candidate
	log     interface{ term(uint64) (uint64, bool) }
	last    uint64
	durable uint64 // on disk, by the log or by the snapshot
	snap    entryID
	commit  uint64
	applied uint64
	sum     uint64 // of the FSM
	start   uint64 // of the leader's term, 0 if it is none

	// forgetful is a server that installs any snapshot, and may lose entries by it.
	// They may not be missed.
	forgetful bool
	config    configEntry
}

// boot begins a life of a server. vote is what it read from its disk.
func (c *checker) boot(v *view) {
	b := c.books[v.id]
	if v.vote != (candidate{}) && !b.decided[hardState{v.term, v.vote}] {
		breakf("%s came back with a vote for %v in term %d that it had not decided on", v.id, v.vote, v.term)
	}
	if v.term < b.term {
		breakf("%s came back with term %d, its disk had %d", v.id, v.term, b.term)
	}
	b.seen, b.vote, b.commit, b.applied, b.snap, b.config, b.leads, b.proceeds = 0, candidate{}, 0, 0, 0, 0, 0, 0
	c.step(v)
	b.config = v.config.index
}

// step looks at a server after it has done something.
func (c *checker) step(v *view) {
	b := c.books[v.id]
	if v.forgetful && v.applied < b.applied {
		b.applied, b.commit, b.snap = v.applied, v.commit, v.snap.index
		c.stillThere()
	}
	if v.term < b.seen || v.commit < b.commit || v.applied < b.applied {
		breakf("%s went back: term %d to %d, commit %d to %d, applied %d to %d",
			v.id, b.seen, v.term, b.commit, v.commit, b.applied, v.applied)
	}
	if v.term == b.seen && b.vote != (candidate{}) && v.vote != b.vote {
		breakf("%s decided on a second vote in term %d: %v after %v", v.id, v.term, v.vote, b.vote)
	}
	if v.vote != b.vote || v.term != b.seen {
		b.decided[hardState{v.term, v.vote}] = true
	}
	b.seen, b.vote = v.term, v.vote
	if v.snap.index > b.snap {
		c.rebased(v)
		b.snap = v.snap.index
	}
	if v.commit > b.commit {
		c.advance(v, b)
		b.commit = v.commit
	}
	c.keeps(v, b)
	if v.state == Leader && b.leads != v.term {
		c.elected(v, b)
	}
	c.changes(v, b)
	if v.applied > b.applied {
		c.hasApplied(v)
		b.applied = v.applied
	}
	b.proceeds = b.commit
}

// rebased holds a log to R10 after its snapshot has changed.
func (c *checker) rebased(v *view) {
	if v.snap.index > c.last() || c.termOf(v.snap.index) != v.snap.term {
		breakf("%s has a snapshot at %v, which is not committed (last %d)", v.id, v.snap, c.last())
	}
	term, ok := v.log.term(v.snap.index + 1)
	if !ok {
		return
	}
	if f := c.find(entryID{v.snap.index + 1, term}); f != nil && f.prev != v.snap.term {
		breakf("%s keeps entry %d@%d, which follows term %d, above its snapshot %v",
			v.id, v.snap.index+1, term, f.prev, v.snap)
	}
}

// advance holds a commit index that has grown to what others have committed (State
// Machine Safety), or extends that.
func (c *checker) advance(v *view, b *book) {
	for i := b.commit + 1; i <= min(v.commit, c.last()); i++ {
		if term, ok := v.log.term(i); ok && term != c.termOf(i) {
			breakf("%s committed %d@%d, but it is %d@%d", v.id, i, term, i, c.termOf(i))
		}
	}
	if v.commit <= c.last() {
		return
	}
	term, _ := v.log.term(v.commit)
	if term != v.term {
		breakf("%s committed %d@%d by counting, in term %d", v.id, v.commit, term, v.term)
	}
	if c.leaders[v.term] != v.id {
		breakf("%s, which does not lead term %d, committed %d first", v.id, v.term, v.commit)
	}
	for i := c.last() + 1; i <= v.commit; i++ {
		term, ok := v.log.term(i)
		f := c.find(entryID{i, term})
		if !ok || f == nil {
			breakf("%s committed %d, which was never sent nor stored", v.id, i)
		}
		c.extend(*f, v.term)
	}
	c.quorum(v)
}

// extend records an entry that the leader of a term has committed.
func (c *checker) extend(f fact, term uint64) {
	sum := c.chain[len(c.chain)-1]
	if f.entry.Type == LogCommand {
		sum = chainHash(sum, f.entry.Data)
		cmd := string(f.entry.Data)
		if at, ok := c.commands[cmd]; ok {
			breakf("%q is committed at %d and %d", cmd, at, f.entry.Index)
		}
		if c.refused[cmd] {
			breakf("%q was refused, and is committed at %d", cmd, f.entry.Index)
		}
		c.commands[cmd] = f.entry.Index
	}
	c.committed = append(c.committed, f)
	c.counted = append(c.counted, term)
	c.chain = append(c.chain, sum)
}

func chainHash(sum uint64, data []byte) uint64 {
	h := fnv.New64a()
	h.Write([]byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24), byte(sum >> 32), byte(sum >> 40), byte(sum >> 48), byte(sum >> 56)})
	h.Write(data)
	return h.Sum64()
}

// quorum holds what has just been committed to R4: a majority of the voters has it on
// disk.
func (c *checker) quorum(v *view) {
	voters := v.config.config.voters()
	c.voters = voters
	id := entryID{v.commit, v.term}
	n := 0
	for _, voter := range voters {
		if b := c.books[voter]; b != nil && b.disk.covers(id) {
			n++
		}
	}
	if n < quorumSize(len(voters)) {
		breakf("%s committed %v, which is on %d disks of the voters %v", v.id, id, n, voters)
	}
}

// covers reports whether a disk has an entry, in the log or in a snapshot.
func (d *simDisk) covers(id entryID) bool {
	e := d.entry(id.index)
	return e != nil && e.Term == id.term || len(d.snaps) > 0 && d.snaps[len(d.snaps)-1].meta.Index >= id.index
}

// keeps holds a server to what it had: a committed entry never leaves its disk.
func (c *checker) keeps(v *view, b *book) {
	if v.durable < b.kept && v.forgetful {
		b.kept = v.durable
		c.stillThere()
	}
	if v.durable < b.kept {
		breakf("%s lost committed entries: it had them up to %d, and has %d", v.id, b.kept, v.durable)
	}
	if term, ok := v.log.term(b.kept); ok && term != c.termOf(b.kept) {
		breakf("%s has %d@%d instead of %d@%d, which it had", v.id, b.kept, term, b.kept, c.termOf(b.kept))
	}
	if id := (entryID{b.kept, c.termOf(b.kept)}); b.kept > 0 && !b.disk.covers(id) {
		breakf("committed entry %v has gone from %s's disk", id, v.id)
	}
	if at := min(v.durable, c.last()); at > b.kept {
		if term, ok := v.log.term(at); ok && term == c.termOf(at) {
			b.kept = at
		}
	}
}

// stillThere looks whether what is committed is still on a majority of disks.
func (c *checker) stillThere() {
	id := entryID{c.last(), c.termOf(c.last())}
	n := 0
	for _, voter := range c.voters {
		if b := c.books[voter]; b != nil && b.disk.covers(id) {
			n++
		}
	}
	if n < quorumSize(len(c.voters)) {
		breakf("committed entry %v is on no more than %d disks of the voters %v", id, n, c.voters)
	}
}

// claim holds whoever acts as leader of a term to Election Safety.
func (c *checker) claim(id ServerID, term uint64) {
	if other, ok := c.leaders[term]; ok && other != id {
		breakf("%s and %s both lead term %d", other, id, term)
	}
	c.leaders[term] = id
}

// elected holds a new leader to Leader Completeness.
func (c *checker) elected(v *view, b *book) {
	c.claim(v.id, v.term)
	b.leads = v.term
	at := c.last()
	for c.counted[at] > v.term {
		at-- // by a later leader
	}
	if term, ok := v.log.term(at); v.last < at || ok && term != c.termOf(at) {
		breakf("%s was elected in term %d without %d@%d, which is committed", v.id, v.term, at, c.termOf(at))
	}
}

// changes holds a leader to R8.
func (c *checker) changes(v *view, b *book) {
	if v.state == Leader && v.start > 0 && v.config.index > v.start && v.config.index > b.config {
		if b.config > b.proceeds {
			breakf("%s changed the configuration at %d while that at %d was not committed (%d)", v.id, v.config.index, b.config, b.proceeds)
		}
		if b.proceeds < v.start {
			breakf("%s changed the configuration at %d before its first entry %d was committed (%d)", v.id, v.config.index, v.start, b.proceeds)
		}
	}
	b.config = v.config.index
}

// hasApplied holds an FSM to State Machine Safety.
func (c *checker) hasApplied(v *view) {
	if v.applied > min(v.commit, v.durable) {
		breakf("%s applied %d, commit %d, durable %d", v.id, v.applied, v.commit, v.durable)
	}
	if v.applied > c.last() {
		breakf("%s applied %d, but only %d are committed", v.id, v.applied, c.last())
	}
	if v.sum != c.chain[v.applied] {
		breakf("%s has another state than the cluster at %d", v.id, v.applied)
	}
}

// sends looks at a request as it leaves.
func (c *checker) sends(from ServerID, cmd interface{}) {
	switch m := cmd.(type) {
	case *AppendEntriesRequest:
		c.claim(from, m.Term)
		prev := m.PrevLogTerm
		for _, e := range m.Entries {
			c.note(e, prev)
			prev = e.Term
		}
	case *InstallSnapshotRequest:
		c.claim(from, m.Term)
		if m.LastLogIndex > c.last() || c.termOf(m.LastLogIndex) != m.LastLogTerm {
			breakf("%s sends a snapshot at %d@%d, which is not committed", from, m.LastLogIndex, m.LastLogTerm)
		}
	case *RequestVoteRequest:
		b := c.books[from]
		if b.term < m.Term || b.term == m.Term && (string(b.disk.values[string(keyLastVoteCand)]) != string(m.Addr) ||
			b.disk.numbers[string(keyLastVoteTerm)] != m.Term) {
			breakf("%s asks for votes in term %d before its own is on disk", from, m.Term)
		}
		if last := (entryID{m.LastLogIndex, m.LastLogTerm}); last.index > 0 && !b.disk.covers(last) {
			breakf("%s claims entry %v, which is not on its disk", from, last)
		}
		c.votes(from, m.Term, candidate{from, addrOf(from)})
	}
}

// votes holds a server to one vote a term, across crashes.
func (c *checker) votes(voter ServerID, term uint64, for_ candidate) {
	b := c.books[voter]
	if v, ok := b.votes[term]; ok && !v.is(for_) {
		breakf("%s voted for %v and %v in term %d", voter, v, for_, term)
	}
	b.votes[term] = for_
}

// answers looks at an answer as it leaves.
func (c *checker) answers(from, to ServerID, cmd, resp interface{}) {
	b := c.books[from]
	switch m := resp.(type) {
	case *RequestVoteResponse:
		if !m.Granted {
			return
		}
		req := cmd.(*RequestVoteRequest)
		// A later term on disk is as good: it will not vote in this one again.
		if b.term < req.Term || b.term == req.Term && (b.disk.numbers[string(keyLastVoteTerm)] != req.Term ||
			!bytes.Equal(b.disk.values[string(keyLastVoteCand)], req.Addr)) {
			breakf("%s granted a vote in term %d that is not on its disk", from, req.Term)
		}
		c.votes(from, req.Term, candidate{to, addrOf(to)})
	case *AppendEntriesResponse:
		req := cmd.(*AppendEntriesRequest)
		if !m.Success || m.Term != req.Term {
			return
		}
		if b.term < req.Term {
			breakf("%s answered in term %d, its disk has %d", from, req.Term, b.term)
		}
		match := entryID{req.PrevLogEntry, req.PrevLogTerm}
		if n := len(req.Entries); n > 0 {
			match = idOf(req.Entries[n-1])
		}
		if match.index > 0 && !b.disk.covers(match) {
			breakf("%s acknowledged entry %v, which is not on its disk", from, match)
		}
	case *InstallSnapshotResponse:
		req := cmd.(*InstallSnapshotRequest)
		if id := (entryID{req.LastLogIndex, req.LastLogTerm}); m.Success && m.Term == req.Term && !b.disk.covers(id) {
			breakf("%s acknowledged a snapshot at %v, which is not on its disk", from, id)
		}
	}
}

// done looks at a write that has ended for its client.
func (c *checker) done(cmd string, id entryID, err error) {
	at, ok := c.commands[cmd]
	switch err {
	case nil:
		if !ok || at != id.index || c.termOf(at) != id.term {
			breakf("%q was acknowledged at %v, but is committed at %d", cmd, id, at)
		}
	case ErrNotLeader, ErrLeadershipTransferInProgress, ErrEnqueueTimeout, ErrEntryTooLarge:
		if ok {
			breakf("%q was refused (%v), but is committed at %d", cmd, err, at)
		}
		c.refused[cmd] = true
	}
}

// read looks at a read that was confirmed. since is what was committed when it was
// asked for.
func (c *checker) read(server ServerID, index, since, applied uint64) {
	if index < since || applied < index {
		breakf("%s answered a read at %d, applied %d, when %d was committed", server, index, applied, since)
	}
}
