package raftboltdb

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// A goldenFile says what is in a file that hashicorp/raft-boltdb wrote.
type goldenFile struct {
	First uint64            `json:"first_index"`
	Last  uint64            `json:"last_index"`
	Conf  map[string]string `json:"conf_bucket"`
	Logs  []goldenEntry     `json:"logs"`
}

type goldenEntry struct {
	Index, Term             uint64
	Type                    uint8
	Data, Extensions        *string
	DataPatternLength       int `json:"Data_pattern_length"`
	ExtensionsPatternLength int `json:"Extensions_pattern_length"`
	AppendedAt              string
}

func (e goldenEntry) log(t *testing.T) raft.Log {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, e.AppendedAt)
	if err != nil {
		at, err = time.Parse("2006-01-02T15:04:05.999999999Z07:00:00", e.AppendedAt)
	}
	must(t, err)
	return raft.Log{
		Index: e.Index, Term: e.Term, Type: raft.LogType(e.Type), AppendedAt: at,
		Data:       goldenBytes(t, e.Data, e.DataPatternLength),
		Extensions: goldenBytes(t, e.Extensions, e.ExtensionsPatternLength),
	}
}

func goldenBytes(t *testing.T, text *string, patternLength int) []byte {
	t.Helper()
	if text != nil {
		b, err := hex.DecodeString(*text)
		must(t, err)
		return b
	}
	var b []byte
	for i := range patternLength {
		b = append(b, byte(7*i+3))
	}
	return b
}

// same reports whether two entries are equal, times as instants. Those of go-msgpack
// may have more than a second of nanoseconds.
func same(a, b raft.Log) bool {
	if !a.AppendedAt.Round(0).Add(0).Equal(b.AppendedAt.Round(0).Add(0)) {
		return false
	}
	a.AppendedAt = b.AppendedAt
	return reflect.DeepEqual(a, b)
}

// A file of hashicorp/raft-boltdb is read as what it is, and every entry that is
// written again has the same bytes.
func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		file    string
		newTime bool
	}{{"mixed", false}, {"newtime", true}} {
		t.Run(tt.file, func(t *testing.T) {
			var golden goldenFile
			text, err := os.ReadFile(filepath.Join("testdata", tt.file+".json"))
			must(t, err)
			must(t, json.Unmarshal(text, &golden))
			path := copyFile(t, filepath.Join("testdata", tt.file+".db"))
			s := open(t, Options{Path: path})
			checkGolden(t, s, golden)

			again := open(t, Options{Path: filepath.Join(t.TempDir(), "again.db"), MsgpackUseNewTimeFormat: tt.newTime})
			for _, e := range golden.Logs {
				var l raft.Log
				must(t, s.GetLog(e.Index, &l))
				must(t, again.StoreLog(&l))
			}
			for index, want := range rawEntries(t, s) {
				if got := rawEntries(t, again)[index]; got != want {
					t.Errorf("entry %x: wrote\n%x, want\n%x", index, clip(got), clip(want))
				}
			}
		})
	}
}

func checkGolden(t *testing.T, s *BoltStore, golden goldenFile) {
	t.Helper()
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	must(t, err1, err2)
	if first != golden.First || last != golden.Last {
		t.Errorf("entries %d..%d, want %d..%d", first, last, golden.First, golden.Last)
	}
	for key, want := range golden.Conf {
		if got, err := s.Get([]byte(key)); hex.EncodeToString(got) != want || err != nil {
			t.Errorf("%s is %x, %v, want %s", key, got, err, want)
		}
	}
	for _, e := range golden.Logs {
		var got raft.Log
		if err := s.GetLog(e.Index, &got); err != nil || !same(got, e.log(t)) {
			t.Errorf("entry %d: %v, got\n%+v, want\n%+v", e.Index, err, got, e.log(t))
		}
	}
}

func rawEntries(t testing.TB, s *BoltStore) map[string]string {
	t.Helper()
	raw := map[string]string{}
	must(t, s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLogs).ForEach(func(k, v []byte) error {
			raw[string(k)] = string(v)
			return nil
		})
	}))
	return raw
}

func clip(s string) string { return s[:min(len(s), 100)] }

// What is not in the canonical form, and must be read all the same.
func TestDecodeTolerates(t *testing.T) {
	at := time.Unix(1, 0).UTC()
	full := raft.Log{Index: 7, Term: 3, Type: 1, Data: []byte("d"), Extensions: []byte("e"), AppendedAt: at}
	for _, tt := range []struct {
		name, in string
		want     raft.Log
	}{
		{"no AppendedAt, no Extensions", "84 a444617461a164 a5496e64657807 a45465726d03 a45479706501", raft.Log{Index: 7, Term: 3, Type: 1, Data: []byte("d")}},
		{"another order", "86 a45479706501 a45465726d03 a5496e64657807 aa457874656e73696f6e73a165 a444617461a164 aa417070656e6465644174a400000001", full},
		{"unknown fields", "88 a15881a1599301c0c3 a5496e64657807 a45465726d03 a45479706501 a444617461a164 aa457874656e73696f6e73a165 aa417070656e6465644174a400000001 a15ac70105ff", full},
		{"a field twice", "82 a5496e64657801 a5496e64657807", raft.Log{Index: 7}},
		{"wide numbers", "de0003 d905496e646578cf0000000000000007 da00045465726dd200000003 c40454797065d001", raft.Log{Index: 7, Term: 3, Type: 1}},
		{"nil fields", "84 a5496e64657807 a45465726dc0 a444617461c0 aa417070656e6465644174c0", raft.Log{Index: 7}},
		{"empty bytes", "82 a5496e64657807 a444617461a0", raft.Log{Index: 7, Data: []byte{}}},
		{"bytes as numbers", "82 a5496e64657807 a4446174619164", raft.Log{Index: 7, Data: []byte("d")}},
		{"time as extension", "82 a5496e64657807 aa417070656e6465644174d6ff00000001", raft.Log{Index: 7, AppendedAt: at}},
		{"an array", "96 07 03 01 a164 a165 a400000001", full},
		{"a short array", "92 07 03", raft.Log{Index: 7, Term: 3}},
		{"a long array", "98 07 03 01 a164 a165 a400000001 81c0c0 c3", full},
		{"nil", "c0", raft.Log{}},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(tt.in, " ", ""))
		must(t, err)
		if got, err := decodeEntry(b); err != nil || !same(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"nothing", ""},
		{"a number", "07"},
		{"a string", "a161"},
		{"a negative index", "81 a5496e646578ff"},
		{"a type above 255", "81 a454797065cd0100"},
		{"a pair too few", "82 a5496e64657807"},
		{"data cut off", "81 a444617461da0100 61"},
		{"data of 4 GiB", "81 a444617461dbffffffff"},
		{"an array cut off", "96 07 03"},
		{"no time", "81 aa417070656e6465644174a3000000"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(tt.in, " ", ""))
		must(t, err)
		if got, err := decodeEntry(b); err == nil {
			t.Errorf("%s: decoded as %+v", tt.name, got)
		}
	}
}

// reference encodes an entry by reflection, as it was done before.
func reference(t testing.TB, l *raft.Log, newTime bool) []byte {
	t.Helper()
	h := codec.MsgpackHandle{}
	h.TimeNotBuiltin = !newTime
	var buf bytes.Buffer
	must(t, codec.NewEncoder(&buf, &h).Encode(l))
	return buf.Bytes()
}

// FuzzEncode holds the encoding against go-msgpack's, byte for byte.
func FuzzEncode(f *testing.F) {
	f.Add(uint64(1), uint64(1), uint8(0), []byte("data"), []byte(nil), int64(1715949296), int64(789012345), 7200, false)
	f.Add(uint64(1<<63), uint64(65536), uint8(200), []byte{}, make([]byte, 65536), int64(-62135596800), int64(0), 0, true)
	f.Add(uint64(128), uint64(256), uint8(127), make([]byte, 32), make([]byte, 31), int64(1)<<34, int64(0), 5692, true)
	f.Fuzz(func(t *testing.T, index, term uint64, typ uint8, data, ext []byte, sec, nsec int64, offset int, newTime bool) {
		offset %= 24 * 3600
		if offset/60 == -1 {
			return // the older format has no such zone
		}
		at := time.Unix(sec, nsec%1e9).In(time.FixedZone("", offset))
		for _, l := range []raft.Log{
			{Index: index, Term: term, Type: raft.LogType(typ), Data: data, Extensions: ext, AppendedAt: at},
			{Index: index, Data: ext, AppendedAt: at.UTC()},
			{Term: term, Extensions: nil},
		} {
			b := appendEntry(nil, &l, newTime)
			if want := reference(t, &l, newTime); !bytes.Equal(b, want) {
				t.Fatalf("%+v:\n%x, want\n%x", l, b, want)
			}
			if got, err := decodeEntry(b); err != nil || !same(got, l) {
				t.Fatalf("%+v became %+v, %v", l, got, err)
			}
		}
	})
}

// FuzzDecode: what go-msgpack reads as an entry is read, as the same entry. Whatever is
// read can be written and read again, and takes no more memory than is there.
func FuzzDecode(f *testing.F) {
	for _, newTime := range []bool{false, true} {
		f.Add(appendEntry(nil, &raft.Log{Index: 300, Term: 2, Type: 5, Data: []byte("d"), AppendedAt: time.Unix(1, 2)}, newTime))
	}
	for _, s := range []string{"960703 01a164a165a400000001", "84a444617461a164a5496e64657807a45465726d03a15882a161c0a16291c3", "81a4446174618101ccff"} {
		b, _ := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		f.Add(b)
	}
	addGolden(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var got raft.Log
		var err error
		checkAllocation(t, len(b), func() { got, err = decodeEntry(b) })
		for _, newTime := range []bool{false, true} {
			if again, againErr := decodeEntry(appendEntry(nil, &got, newTime)); err == nil && (againErr != nil || !same(again, got)) {
				t.Fatalf("%+v became %+v, %v", got, again, againErr)
			}
		}
		var want raft.Log
		if decodeReference(b, &want) != nil {
			return
		}
		if err != nil || !same(got, want) {
			t.Fatalf("%x: got %+v, %v, want %+v", b, got, err, want)
		}
	})
}

// addGolden adds the entries of files that hashicorp/raft-boltdb wrote.
func addGolden(f *testing.F) {
	f.Helper()
	for _, name := range []string{"mixed.db", "newtime.db"} {
		s, err := New(Options{Path: copyFile(f, filepath.Join("testdata", name))})
		must(f, err)
		for _, raw := range rawEntries(f, s) {
			f.Add([]byte(raw))
		}
		must(f, s.Close())
	}
}

// checkAllocation runs f, which decodes size bytes, and fails the test if that takes
// more memory than a few copies of them. What others allocate meanwhile is not held
// against f: it gets several attempts.
func checkAllocation(t *testing.T, size int, f func()) {
	t.Helper()
	limit := 64<<10 + 4*uint64(size)
	var got uint64
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if got = after.TotalAlloc - before.TotalAlloc; got <= limit {
			return
		}
	}
	t.Errorf("%d bytes allocated for %d, want at most %d", got, size, limit)
}

func decodeReference(b []byte, l *raft.Log) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return codec.NewDecoderBytes(b, &codec.MsgpackHandle{}).Decode(l)
}
