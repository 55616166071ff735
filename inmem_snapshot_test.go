package raft

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"testing/synctest"
)

// The present snapshot stays readable and listed until the next one is closed, and
// whoever reads it goes on to.
func TestInmemSnapshotIsReplacedWhenClosed(t *testing.T) {
	s := NewInmemSnapshotStore()
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("an empty store lists %v, %v", list, err)
	}
	first, err := putSnapshot(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, rc, err := s.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := s.Create(1, 2, 1, oneVoter, 1, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(snapshotContent(2)); err != nil {
		t.Fatal(err)
	}
	if err := checkSnapshots(s, 1); err != nil {
		t.Error(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkSnapshots(s, 2); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, snapshotContent(1)) {
		t.Errorf("the replaced snapshot reads as %d bytes, %v", len(got), err)
	}
	_, _, err = s.Open(first)
	if want := "[ERR] snapshot: failed to open snapshot id: " + first; err == nil || err.Error() != want {
		t.Errorf("Open of the replaced snapshot = %v, want %q", err, want)
	}
}

// What a caller does with metadata stays with it.
func TestInmemSnapshotIsImmutable(t *testing.T) {
	s := NewInmemSnapshotStore()
	config := oneVoter.Clone()
	sink, err := s.Create(1, 1, 1, config, 1, addrTransport{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	config.Servers[0].ID = "changed"
	for range 2 {
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		if got := list[0].Configuration.Servers[0].ID; got != "a" {
			t.Fatalf("server is %q", got)
		}
		list[0].Configuration.Servers[0].ID = "changed"
	}
}

// A snapshot's name never stands for another one of the same entry, made in the same
// millisecond: who opens it gets the one that was meant, or an error.
func TestInmemSnapshotNamesAreUnique(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewInmemSnapshotStore()
		first, err := putSnapshot(s, 7)
		if err != nil {
			t.Fatal(err)
		}
		second, err := putSnapshot(s, 7)
		if err != nil {
			t.Fatal(err)
		}
		if first == second {
			t.Errorf("both are named %s", first)
		}
		if list, err := s.List(); err != nil || len(list) != 1 || list[0].ID != second {
			t.Errorf("listed %v, %v, want %s", list, err, second)
		}
	})
}

func TestInmemSnapshotConcurrency(t *testing.T) {
	s := NewInmemSnapshotStore()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := putSnapshot(s, uint64(i)); err != nil {
					t.Error(err)
				}
				list, err := s.List()
				if err != nil || len(list) != 1 {
					t.Errorf("listed %v, %v", list, err)
				}
				// The snapshot may have been replaced since.
				if meta, rc, err := s.Open(list[0].ID); err == nil {
					if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, snapshotContent(meta.Index)) {
						t.Errorf("snapshot %s has another content", meta.ID)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestDiscardSnapshotStore(t *testing.T) {
	s := NewDiscardSnapshotStore()
	id, err := putSnapshot(s, 1)
	if err != nil || id != "discard" {
		t.Errorf("put: %q, %v", id, err)
	}
	if list, err := s.List(); list != nil || err != nil {
		t.Errorf("List = %v, %v", list, err)
	}
	if _, _, err := s.Open(id); err == nil || err.Error() != "open is not supported" {
		t.Errorf("Open = %v", err)
	}
}
