package raftwal

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// This file explores what a crash may leave behind: at every call of the file system, and
// for many ways in which what was not synced may have reached the disk.

var errCrashed = errors.New("the machine has crashed")

// disk is a fileSystem that forgets.
type disk struct {
	names   map[string]*inode // as programs see them
	durable map[string]*inode // as of the last SyncDir
	changed []nameChange      // since then

	calls int
	limit int   // crash at this call, never if 0
	fail  int   // this call alone fails
	err   error // with this
	room  int   // by how much files can grow, if it was set
}

// give takes room away, or gives it back, and returns how much there was for it.
func (d *disk) give(n int) int {
	if d.room > 0 {
		n = max(-n, 1-d.room) // the last byte stays
		d.room += n
		return -n
	}
	return n
}

// restarted is the disk for the next process, when this one was killed.
func (d *disk) restarted() *disk {
	for _, n := range d.names {
		n.open = 0
	}
	return &disk{names: d.names, durable: d.durable, changed: d.changed}
}

type nameChange struct {
	name string
	to   *inode // nil: removed
}

// inode is the content of a file.
type inode struct {
	seen   []byte // by programs
	synced []byte // what is on the disk for sure
	writes []writeAt
	open   int // how many have it open
}

// writeAt is a write that may be on the disk, or not. At a negative offset it empties
// the file.
type writeAt struct {
	at   int64
	data []byte
}

func newInode(content []byte) *inode { return &inode{seen: content, synced: content} }

func (n *inode) write(w writeAt) {
	n.seen = w.apply(n.seen)
	n.writes = append(n.writes, w)
}

func newDisk() *disk { return &disk{names: map[string]*inode{}, durable: map[string]*inode{}} }

// step counts a call, and fails it if the machine is down.
func (d *disk) step() error {
	d.calls++
	switch {
	case d.limit > 0 && d.calls >= d.limit:
		return errCrashed
	case d.calls == d.fail:
		return d.err
	}
	return nil
}

func (d *disk) set(name string, to *inode) {
	if to == nil {
		delete(d.names, name)
	} else {
		d.names[name] = to
	}
	d.changed = append(d.changed, nameChange{name, to})
}

func (d *disk) List(dir string) (names []string, err error) {
	for name := range d.names {
		names = append(names, filepath.Base(name))
	}
	return names, nil
}

func (d *disk) Create(name string) (file, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	n := d.names[name]
	if n == nil {
		n = &inode{}
		d.set(name, n)
	}
	d.give(-len(n.seen))
	n.write(writeAt{at: -1})
	n.open++
	return &diskFile{d, n}, nil
}

func (d *disk) Open(name string) (file, error) {
	n := d.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	n.open++
	return &diskFile{d, n}, nil
}

func (d *disk) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	n := d.names[from]
	if n.open > 0 {
		return fmt.Errorf("%s is open: %w", from, syscall.EBUSY)
	}
	d.set(from, nil)
	d.set(to, n)
	return nil
}

func (d *disk) Remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	if n := d.names[name]; n != nil {
		if n.open > 0 {
			return fmt.Errorf("%s is open: %w", name, syscall.EBUSY)
		}
		d.give(-len(n.seen))
	}
	d.set(name, nil)
	return nil
}

func (d *disk) SyncDir(string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.durable, d.changed = maps.Clone(d.names), nil
	return nil
}

type diskFile struct {
	d *disk
	n *inode
}

// apply returns b with the write in it, without changing b.
func (w writeAt) apply(b []byte) []byte {
	if w.at < 0 {
		return nil
	}
	b = append(make([]byte, 0, max(len(b), int(w.at)+len(w.data))), b...)
	b = b[:cap(b)]
	copy(b[w.at:], w.data)
	return b
}

func (f *diskFile) ReadAt(b []byte, at int64) (int, error) {
	c := f.n.seen
	if at >= int64(len(c)) {
		return 0, io.EOF
	}
	n := copy(b, c[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt counts as two calls: a crash may come when some of it is on its way.
func (f *diskFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.d.step(); err != nil {
		return 0, err
	}
	more := max(0, int(at)+len(b)-len(f.n.seen))
	less := more - f.d.give(more)
	f.n.write(writeAt{at, slices.Clone(b[:len(b)-less])})
	if less > 0 {
		return len(b) - less, syscall.ENOSPC
	}
	if err := f.d.step(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Sync, if it fails, leaves the disk as it was, and no later one writes what this one did
// not: so it is on Linux, where programs still read it.
func (f *diskFile) Sync() error {
	err := f.d.step()
	if err == errCrashed {
		return err
	}
	if err == nil {
		for _, w := range f.n.writes {
			f.n.synced = w.apply(f.n.synced)
		}
	}
	f.n.writes = nil
	return err
}

func (f *diskFile) Size() (int64, error) { return int64(len(f.n.seen)), nil }

func (f *diskFile) Close() error {
	f.n.open--
	return nil
}

const sector = 512

// crash returns what is left of a disk: of what was not synced, each sector of each write
// and each change of a name is there or not.
func (d *disk) crash(rng *rand.Rand) *disk {
	odds := []float64{0, 1, .5, .1, .9}[rng.IntN(5)]
	names := maps.Clone(d.durable)
	for _, c := range d.changed {
		switch {
		case rng.Float64() >= odds:
		case c.to == nil:
			delete(names, c.name)
		default:
			names[c.name] = c.to
		}
	}
	left := newDisk()
	copies := map[*inode]*inode{}
	for name, n := range names {
		if copies[n] == nil {
			copies[n] = newInode(n.crash(rng, odds))
		}
		left.names[name] = copies[n]
	}
	left.durable = maps.Clone(left.names)
	return left
}

func (n *inode) crash(rng *rand.Rand, odds float64) []byte {
	b := n.synced
	for _, w := range n.writes {
		if w.at < 0 && rng.Float64() < odds {
			b = nil
		}
		for at := w.at; at < w.at+int64(len(w.data)); {
			end := min(at/sector*sector+sector, w.at+int64(len(w.data)))
			if rng.Float64() < odds {
				b = writeAt{at, w.data[at-w.at : end-w.at]}.apply(b)
			}
			at = end
		}
	}
	return b
}

// model is what a store should hold.
type model struct {
	entries []*raft.Log
	values  map[string]string
	commit  uint64
	back    []*raft.Log // deleted at the front, may come back
}

func (m model) clone() model {
	m.entries, m.values = slices.Clone(m.entries), maps.Clone(m.values)
	return m
}

// at is the model of a store whose log begins with an index: what was deleted at the
// front since the last durable write may be there again, or some of it.
func (m model) at(first uint64) model {
	for i, e := range m.back {
		if e.Index == first {
			m.entries = append(slices.Clone(m.back[i:]), m.entries...)
		}
	}
	m.back = nil
	return m
}

// matches compares a store with the model.
func (m model) matches(s *Store) error {
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	want := m.at(first).entries
	if len(want) == 0 {
		if first != 0 || last != 0 {
			return fmt.Errorf("log %d to %d, want none", first, last)
		}
	} else if first != want[0].Index || last != want[len(want)-1].Index {
		return fmt.Errorf("log %d to %d, want %d to %d", first, last, want[0].Index, want[len(want)-1].Index)
	}
	for _, e := range want {
		var got raft.Log
		if err := s.GetLog(e.Index, &got); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if got.Term != e.Term || string(got.Data) != string(e.Data) || got.Type != e.Type {
			return fmt.Errorf("entry %d is %+v, want %+v", e.Index, got, *e)
		}
	}
	for k, v := range m.values {
		if got, err := s.Get([]byte(k)); err != nil || string(got) != v {
			return fmt.Errorf("value %s is %q, %v, want %q", k, got, err, v)
		}
	}
	if len(s.values) != len(m.values) {
		return fmt.Errorf("%d values, want %d", len(s.values), len(m.values))
	}
	if got, _ := s.GetCommitIndex(); got != min(m.commit, last) {
		return fmt.Errorf("commit index %d, want %d", got, m.commit)
	}
	return nil
}

// act does something random to a store, and to the model what that should be.
func act(s *Store, m model, rng *rand.Rand) (after model, err error) {
	m = m.clone()
	var first, next uint64
	if n := len(m.entries); n > 0 {
		first, next = m.entries[0].Index, m.entries[n-1].Index+1
	}
	switch k := rng.IntN(12); {
	case k == 0 && next > 0:
		cut := first + rng.Uint64N(next-first)
		m.entries = m.entries[:cut-first]
		m.back, m.commit = nil, min(m.commit, cut-1)
		return m, s.DeleteRange(cut, next+5)
	case k == 1 && next > first+1:
		cut := first + rng.Uint64N(next-first-1)
		m.back = append(slices.Clone(m.back), m.entries[:cut-first+1]...)
		m.entries = m.entries[cut-first+1:]
		return m, s.DeleteRange(first, cut)
	case k == 2 && next > 0:
		m.entries, m.back, m.commit = nil, nil, min(m.commit, first-1)
		return m, s.DeleteRange(first, next-1)
	case k < 5:
		key, val := fmt.Sprint("key", rng.IntN(3)), fmt.Sprint(rng.Uint64())
		m.values[key], m.values["both"] = val, val
		m.back = nil
		return m, s.SetAll([]raft.StableValue{{Key: []byte(key), Bytes: []byte(val)}, {Key: []byte("both"), Bytes: []byte(val)}})
	default:
		if next == 0 {
			next = 1 + rng.Uint64N(50)
		}
		var batch []*raft.Log
		for i := range 1 + rng.Uint64N(4) {
			batch = append(batch, &raft.Log{Index: next + i, Term: rng.Uint64N(9), Data: make([]byte, rng.IntN(900))})
			for j := range batch[i].Data {
				batch[i].Data[j] = byte(rng.Uint32())
			}
		}
		m.entries = append(m.entries, batch...)
		m.back = nil
		if rng.IntN(2) == 0 {
			commit := next + rng.Uint64N(uint64(len(batch)))
			m.commit = max(m.commit, commit)
			_ = s.StageCommitIndex(commit)
		}
		return m, s.StoreLogs(batch)
	}
}

var small = Options{Dir: "d", SegmentSize: 4 << 10}

// life opens a store on a disk and does random things to it until the machine crashes. It
// returns what the store may hold then. A call that fails may have been done all the same,
// but no more when another was done after it.
func life(d *disk, m model, rng *rand.Rand, actions int) (may []model, err error) {
	s, err := openStore(small, d)
	if err != nil {
		return []model{m}, err
	}
	now, may := m, []model{m}
	for range actions {
		after, err := act(s, now, rng)
		switch {
		case err != nil:
			may = append(may, after)
		case after.back != nil: // that is not on the disk yet
			now, may = after, append(may, after)
		default:
			now, may = after, []model{after}
		}
		if err != nil && !errors.Is(err, errDisk) {
			return may, err
		}
		if err := now.matches(s); err != nil {
			return may, fmt.Errorf("without a crash: %w", err)
		}
	}
	if err := s.Close(); err != nil {
		return may, err
	}
	now.back = nil // noted
	return []model{now}, nil
}

var (
	crashSeeds = flag.Uint64("crash.seeds", 12, "how many lives TestCrashes plays")
	errDisk    = errors.New("the disk has failed")
)

// A crash at any moment, of the process or of the machine, leaves a store with all that
// was acknowledged, and with the call under way, or one that failed, done or not. It goes
// on from there, to the next crash.
func TestCrashes(t *testing.T) {
	states := 0
	for seed := range *crashSeeds {
		rng := rand.New(rand.NewPCG(seed, 0))
		dry := newDisk()
		if _, err := life(dry, model{values: map[string]string{}}, rand.New(rand.NewPCG(seed, 1)), 30); err != nil {
			t.Fatal(err)
		}
		for limit := 1; limit <= dry.calls; limit += 1 + rng.IntN(3) {
			d, m := newDisk(), model{values: map[string]string{}}
			d.limit, d.err = limit, errDisk
			choices := rand.New(rand.NewPCG(seed, 1))
			for round := range 4 { // crash, go on, crash again
				may, err := life(d, m, choices, 30)
				if err != nil && !errors.Is(err, errCrashed) && !errors.Is(err, errDisk) {
					t.Fatalf("seed %d, call %d, round %d: %v", seed, limit, round, err)
				}
				if rng.IntN(3) == 0 {
					d = d.restarted()
				} else {
					d = d.crash(rng)
				}
				s, err := openStore(small, d)
				if err != nil {
					t.Fatalf("seed %d, call %d, round %d: %v", seed, limit, round, err)
				}
				states++
				if m, err = found(s, may); err != nil {
					t.Fatalf("seed %d, call %d, round %d: %v", seed, limit, round, err)
				}
				d = d.restarted()
				// What was read is there to stay: the next process may find another
				// disk, and nothing was written meanwhile.
				if rng.IntN(2) == 0 {
					d = d.crash(rng)
				}
				d.limit, d.err = d.calls+1+rng.IntN([]int{20, 60}[rng.IntN(2)]), errDisk
				if rng.IntN(2) == 0 {
					d.fail = d.calls + 1 + rng.IntN(d.limit-d.calls)
				}
			}
		}
	}
	t.Logf("%d states after a crash", states)
}

// found returns the latest of the models that a store matches.
func found(s *Store, may []model) (model, error) {
	first, _ := s.FirstIndex()
	var errs []error
	for _, m := range slices.Backward(may) {
		err := m.matches(s)
		if err == nil {
			return m.at(first), nil
		}
		errs = append(errs, err)
	}
	return model{}, errors.Join(errs...)
}
