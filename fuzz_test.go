package raft

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-msgpack/v2/codec"
)

// What lies in entries, in snapshots and in the files beside them, made up by a
// fuzzer. The messages themselves are in wire_test.go.

// goldenEncodings returns the encodings of configurations or of peers in the golden
// data.
func goldenEncodings(f *testing.F, kind string) (all [][]byte) {
	f.Helper()
	var g map[string]json.RawMessage
	if err := json.Unmarshal(readFile(f, goldenPath("encodings.json")), &g); err != nil {
		f.Fatal(err)
	}
	var cases []struct{ Msgpack hexBytes }
	if err := json.Unmarshal(g[kind], &cases); err != nil || len(cases) == 0 {
		f.Fatalf("no %s: %v", kind, err)
	}
	for _, c := range cases {
		all = append(all, c.Msgpack)
	}
	return all
}

// A configuration, whoever made it up, is one or an error; what go-msgpack reads is
// read the same way. Only DecodeConfiguration panics, and only with that error.
func FuzzConfiguration(f *testing.F) {
	for _, b := range goldenEncodings(f, "configuration") {
		f.Add(b)
	}
	f.Add(unhex(f, "91 91 93 02 a161 a141"))                      // arrays for structs
	f.Add(unhex(f, "81a753657276657273 82 c0 81a249449161c0"))    // a map for an array
	f.Add(unhex(f, "81a753657276657273 ddffffffff 808080808080")) // servers without end
	f.Add(append(unhex(f, "81a753657276657273 ddffffffff"), bytes.Repeat([]byte{0x80}, 100000)...))
	f.Add(append(unhex(f, "81a753657276657273 dd0000ffff"), bytes.Repeat([]byte{0x80}, 100000)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got Configuration
		var err error
		checkAllocation(t, len(b), func() { got, err = decodeConfiguration(b) })
		if problem := catch(func() { DecodeConfiguration(b) }); errorText(problem) != errorText(err) {
			t.Errorf("%x: DecodeConfiguration panics with %v, the error is %v", b, problem, err)
		}
		if err == nil {
			if again := DecodeConfiguration(EncodeConfiguration(got)); !reflect.DeepEqual(again, got) {
				t.Errorf("%v encoded anew is %v", got, again)
			}
		}
		if bytes.Count(b, []byte("Servers")) > 1 || err != nil && hasHugeClaim(b) {
			return // as in FuzzDecode
		}
		var want Configuration
		if referenceErr := codec.NewDecoderBytes(b, &codec.MsgpackHandle{}).Decode(&want); referenceErr != nil {
			return
		}
		if err != nil && slices.ContainsFunc(want.Servers, func(s Server) bool { return s.Suffrage < 0 }) {
			return // see hasNegative
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%x: %v, %v, go-msgpack says %v", b, got, err, want)
		}
	})
}

// catch returns the error that f panics with.
func catch(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = p.(error)
		}
	}()
	f()
	return nil
}

// The same of the older form, a list of addresses.
func FuzzPeers(f *testing.F) {
	for _, b := range goldenEncodings(f, "legacy_peers") {
		f.Add(b)
	}
	f.Add(unhex(f, "82 a161 9161 c0 c40162"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got [][]byte
		var err error
		checkAllocation(t, len(b), func() { got, err = readPeers(b) })
		if err == nil {
			checkPeersAgain(t, got)
		} else if hasHugeClaim(b) {
			return
		}
		var want [][]byte
		if referenceErr := codec.NewDecoderBytes(b, &codec.MsgpackHandle{}).Decode(&want); referenceErr != nil {
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%x: %q, %v, go-msgpack says %q", b, got, err, want)
		}
	})
}

func checkPeersAgain(t *testing.T, peers [][]byte) {
	t.Helper()
	b, err := encodeMsgPack(peers)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := readPeers(b); err != nil || !reflect.DeepEqual(again, peers) {
		t.Errorf("%q encoded anew is %q, %v", peers, again, err)
	}
}

// The configuration that an entry sets has a voter, or the entry is refused.
func FuzzEntryConfiguration(f *testing.F) {
	for _, b := range goldenEncodings(f, "configuration") {
		f.Add(uint8(LogConfiguration), b)
	}
	for _, b := range goldenEncodings(f, "legacy_peers") {
		f.Add(uint8(LogAddPeerDeprecated), b)
		f.Add(uint8(LogRemovePeerDeprecated), b)
	}
	f.Fuzz(func(t *testing.T, typ uint8, b []byte) {
		c, ok, err := entryConfiguration(&Log{Index: 7, Term: 3, Type: LogType(typ), Data: b}, addrTransport{})
		if ok != (len(c.voters()) > 0) || ok && err != nil {
			t.Errorf("type %d, %x: %v, %v, %v", typ, b, c, ok, err)
		}
	})
}

// What lies in the directory of a snapshot is a snapshot or is left alone: listing
// never fails because of it, and what can be opened is whole.
func FuzzSnapshotMeta(f *testing.F) {
	const name = "2-10-1795323278201"
	base := f.TempDir()
	store, err := NewFileSnapshotStoreWithLogger(base, 1, hclog.NewNullLogger())
	if err != nil {
		f.Fatal(err)
	}
	dir := filepath.Join(base, snapshotsDir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	for _, pattern := range []string{"snapshots-dir", "snapshots-bad-dir"} {
		metas, err := filepath.Glob(goldenPath("disk/" + pattern + "/snapshots/*/" + metaName))
		if err != nil || len(metas) == 0 {
			f.Fatalf("no snapshots in %s: %v", pattern, err)
		}
		for _, path := range metas {
			state, _ := os.ReadFile(filepath.Join(filepath.Dir(path), stateName)) // not all have one
			f.Add(readFile(f, path), state, false)
			f.Add(readFile(f, path), state, true)
		}
	}
	f.Add([]byte(`{"Version":1,"ID":"`+name+`","Index":18446744073709551615,"Term":1,"Size":-1,"CRC":"CAagDpn0fx4="}`), []byte("good"), false)
	f.Add([]byte(`{"Version":0,"Index":10,"Term":2,"Peers":"kaFh","Size":18446744073709551616}`), []byte("good"), true)
	f.Fuzz(func(t *testing.T, meta, state []byte, repair bool) {
		if repair {
			meta = repaired(meta, name, state)
		}
		must(t, os.WriteFile(filepath.Join(dir, metaName), meta, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, stateName), state, 0o600))
		list, err := store.List()
		if err != nil {
			t.Fatal(err)
		}
		opened, rc, err := store.Open(name)
		checkStream(t, store, name, err == nil)
		if err != nil {
			return
		}
		if len(list) != 1 || !reflect.DeepEqual(list[0], opened) {
			t.Errorf("%s: listed as %+v, opened as %+v", meta, list, opened)
		}
		checkSnapshot(t, opened, rc, state)
	})
}

// checkStream reads a snapshot once, which must succeed if Open did.
func checkStream(t *testing.T, store *FileSnapshotStore, name string, good bool) {
	t.Helper()
	store.suspects = nil
	_, rc, err := openStream(store, name)
	if err == nil {
		_, err = io.Copy(io.Discard, rc)
		err = errors.Join(err, rc.Close())
	}
	if (err == nil) != good {
		t.Errorf("read on the way: %v, opened: %v", err, good)
	}
}

// repaired gives metadata the ID and the checksum that no fuzzer guesses.
func repaired(meta []byte, name string, state []byte) []byte {
	var m fileSnapshotMeta
	if json.Unmarshal(meta, &m) != nil {
		return meta
	}
	crc := crc64.New(snapshotCRC)
	_, _ = crc.Write(state) // a hash takes everything
	m.ID, m.CRC = name, crc.Sum(nil)
	b, err := json.Marshal(&m)
	if err != nil {
		return meta
	}
	return b
}

// checkSnapshot reads a snapshot that a FileSnapshotStore has opened.
func checkSnapshot(t *testing.T, meta *SnapshotMeta, rc io.ReadCloser, state []byte) {
	t.Helper()
	got, err := io.ReadAll(rc)
	if err = errors.Join(err, rc.Close()); err != nil || !bytes.Equal(got, state) {
		t.Errorf("read %q, %v, the state is %q", got, err, state)
	}
	if meta.Size != int64(len(state)) {
		t.Errorf("a state of %d bytes is said to have %d", len(state), meta.Size)
	}
	if _, err := snapshotConfiguration(meta, addrTransport{}); err == nil {
		return
	}
	if meta.Version == 1 {
		t.Errorf("no configuration in %+v", meta)
	}
}

// The files that operators write by hand: a valid configuration or an error.
func FuzzPeersJSON(f *testing.F) {
	var cases []struct{ Content string }
	if err := json.Unmarshal(readFile(f, goldenPath("disk/peers-cases.json")), &cases); err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add([]byte(c.Content))
	}
	f.Add(readFile(f, goldenPath("disk/peers.json")))
	f.Add(readFile(f, goldenPath("disk/peers-legacy.json")))
	path := filepath.Join(f.TempDir(), "peers.json")
	f.Fuzz(func(t *testing.T, b []byte) {
		must(t, os.WriteFile(path, b, 0o600))
		for name, read := range map[string]func(string) (Configuration, error){"ReadPeersJSON": ReadPeersJSON, "ReadConfigJSON": ReadConfigJSON} {
			c, err := read(path)
			if err == nil {
				err = checkConfiguration(c)
			} else if len(c.Servers) > 0 || err.Error() == "" {
				t.Errorf("%s of %q: %v, %q", name, b, c, err)
				continue
			} else {
				continue
			}
			if err != nil {
				t.Errorf("%s of %q: %v", name, b, err)
			}
		}
	})
}

// rawStable is a StableStore that keeps numbers as bytes, as those on disk do.
type rawStable map[string][]byte

func (s rawStable) Set(key, val []byte) error { s[string(key)] = val; return nil }

func (s rawStable) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

func (s rawStable) Get(key []byte) ([]byte, error) { return s[string(key)], nil }

func (s rawStable) GetUint64(key []byte) (uint64, error) {
	switch val := s[string(key)]; {
	case val == nil:
		return 0, errKeyNotFound
	case len(val) < 8:
		return 0, errors.New("no number")
	default:
		return binary.BigEndian.Uint64(val), nil
	}
}

// The hard state, whatever the store holds: a number that is none is an error, a
// damaged record of the ServerID costs the ServerID only, and what was loaded is
// loaded again after it was saved.
func FuzzHardState(f *testing.F) {
	five := binary.BigEndian.AppendUint64(nil, 5)
	f.Add(five, five, []byte("A"), encodeVoteID(hardState{5, candidate{"a", "A"}}))
	f.Add(five, five, []byte("A"), encodeVoteID(hardState{4, candidate{"a", "A"}}))
	f.Add(five, five, []byte("A"), encodeVoteID(hardState{5, candidate{"a", "B"}}))
	f.Add(five, five, []byte("A"), binary.AppendUvarint(bytes.Clone(five), 1<<63))
	f.Add(five, five, []byte("A"), append(bytes.Clone(five), 0x80))
	f.Add(five[:7], five, []byte("A"), []byte{})
	f.Add(five, five[:3], []byte{}, five)
	f.Fuzz(func(t *testing.T, term, voteTerm, addr, rec []byte) {
		s := rawStable{"CurrentTerm": term, "LastVoteTerm": voteTerm, "LastVoteCand": addr, "LastVoteID": rec}
		var h hardState
		var err error
		checkAllocation(t, len(term)+len(voteTerm)+len(addr)+len(rec), func() { h, err = loadHardState(s) })
		if (err != nil) != (len(term) < 8 || len(voteTerm) < 8) {
			t.Fatalf("%x %x %x %x: %v", term, voteTerm, addr, rec, err)
		}
		if err != nil {
			return
		}
		if voted := bytes.Equal(term[:8], voteTerm[:8]) && h.term > 0 && len(addr) > 0; voted != (h.vote != candidate{}) {
			t.Errorf("%x %x %x %x is %s", term, voteTerm, addr, rec, stateText(h))
		}
		if h.vote.id != "" && !bytes.Equal(rec, encodeVoteID(h)) && !nonMinimalUvarint(rec[8:]) {
			t.Errorf("%x is taken for the record of %s", rec, stateText(h))
		}
		again := rawStable{}
		must(t, saveHardState(again, h))
		if got := mustLoad(t, again); got != stateText(h) {
			t.Errorf("%s was saved, %s loaded", stateText(h), got)
		}
	})
}

// nonMinimalUvarint reports whether b begins with a number in more bytes than it
// needs.
func nonMinimalUvarint(b []byte) bool {
	n, k := binary.Uvarint(b)
	return k > len(binary.AppendUvarint(nil, n))
}
