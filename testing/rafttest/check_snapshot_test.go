package rafttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// faultySnapshots is a good snapshot store but for what its functions do instead.
type faultySnapshots struct {
	raft.SnapshotStore
	create func(sink raft.SnapshotSink) raft.SnapshotSink
	list   func([]*raft.SnapshotMeta) []*raft.SnapshotMeta
	meta   func(*raft.SnapshotMeta)
	read   func(io.ReadCloser) io.ReadCloser
}

func (f *faultySnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := f.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err == nil && f.create != nil {
		sink = f.create(sink)
	}
	return sink, err
}

func (f *faultySnapshots) List() ([]*raft.SnapshotMeta, error) {
	metas, err := f.SnapshotStore.List()
	if f.list != nil {
		metas = f.list(metas)
	}
	return metas, err
}

func (f *faultySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := f.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	if f.meta != nil {
		f.meta(meta)
	}
	if f.read != nil {
		r = f.read(r)
	}
	return meta, r, nil
}

// faultySink is a good sink but for what its functions do instead.
type faultySink struct {
	raft.SnapshotSink
	write  func(raft.SnapshotSink, []byte) (int, error)
	close  func(raft.SnapshotSink) error
	cancel func(raft.SnapshotSink) error
	id     func(raft.SnapshotSink) string
}

func (f *faultySink) Write(b []byte) (int, error) {
	if f.write != nil {
		return f.write(f.SnapshotSink, b)
	}
	return f.SnapshotSink.Write(b)
}

func (f *faultySink) Close() error {
	if f.close != nil {
		return f.close(f.SnapshotSink)
	}
	return f.SnapshotSink.Close()
}

func (f *faultySink) Cancel() error {
	if f.cancel != nil {
		return f.cancel(f.SnapshotSink)
	}
	return f.SnapshotSink.Cancel()
}

func (f *faultySink) ID() string {
	if f.id != nil {
		return f.id(f.SnapshotSink)
	}
	return f.SnapshotSink.ID()
}

func TestCheckSnapshotStoreFindsFaults(t *testing.T) {
	var faults []fault
	use := func(name string, wrap func(dir string, s raft.SnapshotStore) raft.SnapshotStore, found map[string]string) {
		faults = append(faults, fault{name: name, suite: snapshotStoreSuite(func(dir string) (raft.SnapshotStore, error) {
			s, err := raft.NewFileSnapshotStoreWithLogger(dir, 3, hclog.NewNullLogger())
			return wrap(dir, s), err
		}, &checkOptions{}), found: found})
	}
	add := func(name string, f faultySnapshots, found map[string]string) {
		use(name, func(_ string, s raft.SnapshotStore) raft.SnapshotStore {
			f := f
			f.SnapshotStore = s
			return &f
		}, found)
	}
	// Sinks may need memory: each has its own.
	sinks := func(name string, sink func() faultySink, found map[string]string) {
		add(name, faultySnapshots{create: func(s raft.SnapshotSink) raft.SnapshotSink {
			f := sink()
			f.SnapshotSink = s
			return &f
		}}, found)
	}

	add("an empty store lists something", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		if len(metas) == 0 {
			metas = append(metas, &raft.SnapshotMeta{ID: "ghost"})
		}
		return metas
	}}, map[string]string{"EmptyStore": `"ghost"`})
	use("an unknown ID opens the newest", func(_ string, s raft.SnapshotStore) raft.SnapshotStore { return &anyID{s} },
		map[string]string{"EmptyStore": "returns no error", "Unfinished": "not finished returns", "Cancel": "cancelled snapshot returns no error"})
	add("the metadata lacks the term", faultySnapshots{meta: func(m *raft.SnapshotMeta) { m.Term = 0 }}, map[string]string{"ContentAndMeta": "Open returns the metadata"})
	add("the list lacks the size", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		for _, m := range metas {
			m.Size = 0
		}
		return metas
	}}, map[string]string{"ContentAndMeta": "List returns the metadata"})
	add("suffrage is lost", faultySnapshots{meta: func(m *raft.SnapshotMeta) {
		for i := range m.Configuration.Servers {
			m.Configuration.Servers[i].Suffrage = raft.Voter
		}
	}}, map[string]string{"ContentAndMeta": "Open returns the metadata"})
	add("the last byte is not read", faultySnapshots{read: func(r io.ReadCloser) io.ReadCloser {
		b, _ := io.ReadAll(r)
		return struct {
			io.Reader
			io.Closer
		}{bytes.NewReader(b[:max(len(b)-1, 0)]), r}
	}}, map[string]string{"ContentAndMeta": "other bytes", "SeveralSinks": "other bytes", "ReadersBesideAWriter": "are not those", "ReaderOutlivesItsSnapshot": "have changed"})
	add("the oldest comes first", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		slices.Reverse(metas)
		return metas
	}}, map[string]string{"Order": "List returns", "Retention": "List returns"})
	add("only the newest is in its place", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		slices.Reverse(metas[min(len(metas), 1):])
		return metas
	}}, map[string]string{"Order": "before"})
	add("sorted by index before term", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		slices.SortFunc(metas, func(a, b *raft.SnapshotMeta) int { return int(b.Index) - int(a.Index) })
		return metas
	}}, map[string]string{"Order": "List returns"})
	sinks("IDs name the entry only", func() faultySink {
		return faultySink{id: func(s raft.SnapshotSink) string { return s.ID()[:3] }}
	}, map[string]string{"TwoOfOneEntry": "both snapshots have the ID"})
	sinks("visible at once", func() faultySink {
		return faultySink{write: func(s raft.SnapshotSink, b []byte) (int, error) {
			_, _ = s.Write(b) // the first time
			return len(b), s.Close()
		}}
	}, map[string]string{"Unfinished": "List returns the snapshots"})
	sinks("Cancel finishes", func() faultySink {
		return faultySink{cancel: func(s raft.SnapshotSink) error { return s.Close() }}
	}, map[string]string{"Cancel": "List returns the snapshots"})
	sinks("Close after Cancel says nothing", func() faultySink {
		return faultySink{close: func(s raft.SnapshotSink) error {
			_ = s.Close()
			return nil
		}}
	}, map[string]string{"Cancel": "Close after Cancel returns nil"})
	sinks("a second Close is an error", func() faultySink {
		closed := false
		return faultySink{close: func(s raft.SnapshotSink) error {
			if closed {
				return errFault
			}
			closed = true
			return s.Close()
		}}
	}, map[string]string{"CloseTwice": "a second Close: no, thanks"})
	use("Cancel after Close removes", func(dir string, s raft.SnapshotStore) raft.SnapshotStore {
		return &faultySnapshots{SnapshotStore: s, create: func(s raft.SnapshotSink) raft.SnapshotSink {
			return &faultySink{SnapshotSink: s, cancel: func(s raft.SnapshotSink) error {
				return errors.Join(s.Cancel(), os.RemoveAll(filepath.Join(dir, "snapshots", s.ID())))
			}}
		}}
	}, map[string]string{"CloseTwice": "no such file"})
	sinks("Write says too little", func() faultySink {
		return faultySink{write: func(s raft.SnapshotSink, b []byte) (int, error) {
			n, err := s.Write(b)
			return n - 1, err
		}}
	}, map[string]string{"ContentAndMeta": "Write of"})
	use("the newest goes first", func(dir string, s raft.SnapshotStore) raft.SnapshotStore {
		return &faultySnapshots{SnapshotStore: s, create: func(sink raft.SnapshotSink) raft.SnapshotSink {
			return &faultySink{SnapshotSink: sink, close: func(sink raft.SnapshotSink) error {
				if metas, _ := s.List(); len(metas) == 3 {
					_ = sink.Close()
					return os.RemoveAll(filepath.Join(dir, "snapshots", sink.ID()))
				}
				return sink.Close()
			}}
		}}
	}, map[string]string{"Retention": "List returns"})
	use("one buffer for all sinks", func(_ string, s raft.SnapshotStore) raft.SnapshotStore {
		var shared bytes.Buffer
		return &faultySnapshots{SnapshotStore: s, create: func(sink raft.SnapshotSink) raft.SnapshotSink {
			return &faultySink{SnapshotSink: sink, write: func(_ raft.SnapshotSink, b []byte) (int, error) {
				return shared.Write(b)
			}, close: func(sink raft.SnapshotSink) error {
				_, _ = shared.WriteTo(sink)
				return sink.Close()
			}}
		}}
	}, map[string]string{"SeveralSinks": "other bytes"})
	sinks("slices are kept until Close", func() faultySink {
		var kept [][]byte
		return faultySink{write: func(_ raft.SnapshotSink, b []byte) (int, error) {
			kept = append(kept, b)
			return len(b), nil
		}, close: func(s raft.SnapshotSink) error {
			for _, b := range kept {
				_, _ = s.Write(b)
			}
			return s.Close()
		}}
	}, map[string]string{"CallersMemory": "other bytes"})
	use("checksums are not looked at", func(dir string, s raft.SnapshotStore) raft.SnapshotStore {
		return &unchecked{s, filepath.Join(dir, "snapshots")}
	}, map[string]string{"Damage": "neither Open nor the reader returned an error"})
	use("a reader gets what is newest", func(_ string, s raft.SnapshotStore) raft.SnapshotStore {
		return &faultySnapshots{SnapshotStore: s, read: func(r io.ReadCloser) io.ReadCloser { return &newestReader{r, s, 0} }}
	}, map[string]string{"ReaderOutlivesItsSnapshot": "have changed"})
	add("the newest is not listed", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		if len(metas) > 1 {
			metas = metas[1:]
		}
		return metas
	}}, map[string]string{"ReadersBesideAWriter": "as the newest, but", "Retention": "List returns"})
	add("a snapshot is listed twice", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta {
		return append(slices.Clone(metas[:min(len(metas), 1)]), metas...)
	}}, map[string]string{"Order": "twice"})
	use("nothing can be opened", func(_ string, s raft.SnapshotStore) raft.SnapshotStore { return &closedStore{s} },
		map[string]string{"ContentAndMeta": "can't be opened: no, thanks", "ReadersBesideAWriter": "Open of the newest snapshot beside a writer: no, thanks"})
	add("List loses all", faultySnapshots{list: func(metas []*raft.SnapshotMeta) []*raft.SnapshotMeta { return nil }}, map[string]string{"ReadersBesideAWriter": "List beside a writer returns nothing"})
	faults = append(faults, fault{
		name: "nothing survives",
		suite: snapshotStoreSuite(func(dir string) (raft.SnapshotStore, error) {
			return raft.NewInmemSnapshotStore(), nil
		}, &checkOptions{}),
		found: map[string]string{"ContentAndMeta": "failed to open"},
	})
	testFaults(t, faults)
}

// anyID opens the newest snapshot, or nothing, in place of one that it lacks.
type anyID struct{ raft.SnapshotStore }

func (a *anyID) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := a.SnapshotStore.Open(id)
	if err == nil {
		return meta, r, nil
	}
	if metas, _ := a.List(); len(metas) > 0 {
		return a.SnapshotStore.Open(metas[0].ID)
	}
	return &raft.SnapshotMeta{ID: id}, io.NopCloser(bytes.NewReader(nil)), nil
}

// closedStore opens nothing.
type closedStore struct{ raft.SnapshotStore }

func (closedStore) Open(string) (*raft.SnapshotMeta, io.ReadCloser, error) { return nil, nil, errFault }

// unchecked reads a FileSnapshotStore's files and believes them.
type unchecked struct {
	raft.SnapshotStore
	dir string
}

func (u *unchecked) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	metas, err := u.List()
	for _, meta := range metas {
		if meta.ID == id {
			f, err := os.Open(filepath.Join(u.dir, id, "state.bin"))
			return meta, f, err
		}
	}
	return nil, nil, errors.Join(err, fmt.Errorf("no snapshot %s", id))
}

// newestReader goes on with the newest snapshot, whichever that is.
type newestReader struct {
	io.Closer
	store raft.SnapshotStore
	at    int64
}

func (n *newestReader) Read(b []byte) (int, error) {
	metas, err := n.store.List()
	if err != nil {
		return 0, err
	}
	_, r, err := n.store.Open(metas[0].ID)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, n.at); err != nil {
		return 0, err
	}
	read, err := r.Read(b)
	n.at += int64(read)
	return read, err
}
