package scenarios

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// disk is the stores of one server. It outlives the server.
type disk struct {
	logs   *logStore
	stable *stableStore
	snaps  raft.SnapshotStore
}

func newDisk() *disk {
	return &disk{
		logs:   &logStore{LogStore: raft.NewInmemStore()},
		stable: &stableStore{values: map[string][]byte{}},
		snaps:  raft.NewInmemSnapshotStore(),
	}
}

// operation is what is asked of a store.
type operation struct {
	name  string // "store", "delete", "get" of a log, "set" of a stable store
	index uint64 // first entry concerned
	key   string
	value []byte
}

// hook is asked before an operation. It may block; its error is the operation's.
type hook func(operation) error

// hooked has a hook that can be changed at any time.
type hooked struct {
	mu   sync.Mutex
	hook hook
}

func (h *hooked) before(hook hook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

func (h *hooked) ask(op operation) error {
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op)
}

// logStore has no optional extension, whatever the store below has.
type logStore struct {
	raft.LogStore
	hooked
}

func (l *logStore) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l *logStore) StoreLogs(entries []*raft.Log) error {
	if err := l.ask(operation{name: "store", index: entries[0].Index}); err != nil {
		return err
	}
	return l.LogStore.StoreLogs(entries)
}

func (l *logStore) DeleteRange(first, last uint64) error {
	if err := l.ask(operation{name: "delete", index: first}); err != nil {
		return err
	}
	return l.LogStore.DeleteRange(first, last)
}

func (l *logStore) GetLog(index uint64, entry *raft.Log) error {
	if err := l.ask(operation{name: "get", index: index}); err != nil {
		return err
	}
	return l.LogStore.GetLog(index, entry)
}

// entries returns all there is.
func (l *logStore) entries() []*raft.Log {
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	var list []*raft.Log
	for i := first; i != 0 && i <= last; i++ {
		entry := new(raft.Log)
		if l.LogStore.GetLog(i, entry) == nil {
			list = append(list, entry)
		}
	}
	return list
}

// stableStore keeps what was set, and how it came about.
type stableStore struct {
	hooked
	mu      sync.Mutex
	values  map[string][]byte
	missing error // what Get says of a key that was never set, by default what most stores say
}

func (s *stableStore) Set(key, value []byte) error {
	if err := s.ask(operation{name: "set", key: string(key), value: value}); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[string(key)] = append([]byte(nil), value...)
	return nil
}

func (s *stableStore) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[string(key)]
	switch {
	case ok:
		return append([]byte(nil), v...), nil
	case s.missing != nil:
		return nil, s.missing
	default:
		return nil, errors.New("not found")
	}
}

func (s *stableStore) SetUint64(key []byte, v uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, v))
}

func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// term returns the term on disk, 0 if there is none.
func (s *stableStore) term() uint64 {
	t, _ := s.GetUint64([]byte("CurrentTerm"))
	return t
}

// copy returns what a power failure at this moment would leave.
func (d *disk) copy() *disk {
	c := newDisk()
	c.snaps = d.snaps
	if entries := d.logs.entries(); len(entries) > 0 {
		_ = c.logs.LogStore.StoreLogs(entries) // in memory: cannot fail
	}
	d.stable.mu.Lock()
	defer d.stable.mu.Unlock()
	for k, v := range d.stable.values {
		c.stable.values[k] = v
	}
	return c
}
