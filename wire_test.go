package raft

import (
	"bufio"
	"bytes"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft/internal/msgpack"
)

// encodeRequest returns a request's bytes without the type byte.
func encodeRequest(t rpcType, args interface{}, newTimeFormat bool) []byte {
	var buf bytes.Buffer
	w := bufio.NewWriter(&buf)
	if r, ok := args.(*AppendEntriesRequest); ok {
		writeAppendEntries(w, r, newTimeFormat)
	} else {
		writeRequest(w, t, args.(outgoing))
	}
	_ = w.Flush() // a bytes.Buffer takes everything
	return buf.Bytes()[1:]
}

// decodeRequest decodes a request and returns how many bytes are left.
func decodeRequest(t rpcType, b []byte) (req incoming, rest int, err error) {
	src := bytes.NewReader(b)
	r := bufio.NewReader(src)
	req, err = readRequest(msgpack.NewStream(r), t)
	return req, r.Buffered() + src.Len(), err
}

// referenceEncode is go-msgpack's encoding with hashicorp/raft's settings.
func referenceEncode(t testing.TB, v interface{}, newTimeFormat bool) []byte {
	t.Helper()
	h := &codec.MsgpackHandle{}
	h.TimeNotBuiltin = !newTimeFormat
	var buf bytes.Buffer
	if err := codec.NewEncoder(&buf, h).Encode(v); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// referenceDecode decodes like hashicorp/raft. Bytes are left only where it did
// not look at them.
func referenceDecode(b []byte, v interface{}) (rest int, err error) {
	r := bytes.NewReader(b)
	err = codec.NewDecoder(r, &codec.MsgpackHandle{}).Decode(v)
	return r.Len(), err
}

// Whatever is in them, messages have the bytes that go-msgpack gives them, and
// are read back as they were.
func FuzzEncode(f *testing.F) {
	f.Add(uint64(1), uint64(0), int64(0), []byte("a"), []byte(nil), int64(0), uint32(0), int32(0), uint8(0))
	f.Add(uint64(300), uint64(1<<40), int64(-7), []byte{}, make([]byte, 300), int64(1700000000), uint32(5), int32(3600), uint8(17))
	f.Add(uint64(1<<63), uint64(70000), int64(40000), []byte("y"), make([]byte, 70000), int64(-1), uint32(999), int32(3601), uint8(2))
	f.Add(uint64(7), uint64(7), int64(7), []byte("x"), []byte("y"), int64(1<<33), uint32(0), int32(-3600), uint8(200))
	f.Add(uint64(1), uint64(1), int64(1), []byte("x"), []byte("y"), int64(1), uint32(0), int32(-71), uint8(1))
	f.Fuzz(func(t *testing.T, a, b uint64, c int64, p, q []byte, sec int64, nsec uint32, zone int32, count uint8) {
		at := time.Unix(sec%(1<<40), int64(nsec%1e9)).In(time.FixedZone("", int(zone%50000)))
		if _, err := at.MarshalBinary(); err != nil {
			return // nor can go-msgpack send it
		}
		if int(count)*(len(p)+len(q)) > 1<<20 {
			return // no more is found in what takes seconds
		}
		for _, m := range everyMessage(a, b, c, p, q, at, int(count)) {
			for _, newTimeFormat := range []bool{false, true} {
				checkEncoding(t, m.typ, m.message, newTimeFormat)
			}
		}
	})
}

type typedMessage struct {
	typ     rpcType
	message interface{}
}

func everyMessage(a, b uint64, c int64, p, q []byte, at time.Time, count int) []typedMessage {
	header := RPCHeader{ProtocolVersion: ProtocolVersion(c), ID: p, Addr: q}
	var entries []*Log
	for i := range count {
		entries = append(entries, &Log{Index: a + uint64(i), Term: b, Type: LogType(i), Data: q, Extensions: p, AppendedAt: at})
	}
	return []typedMessage{
		{rpcAppendEntries, &AppendEntriesRequest{RPCHeader: header, Term: a, Leader: q, PrevLogEntry: b, PrevLogTerm: a + b, Entries: entries, LeaderCommitIndex: a}},
		{rpcAppendEntries, &AppendEntriesRequest{RPCHeader: header, Entries: []*Log{}}},
		{rpcAppendEntries, &AppendEntriesRequest{RPCHeader: header, Entries: []*Log{}, Term: a, Lease: true}},
		{rpcAppendEntries, &AppendEntriesResponse{RPCHeader: header, Term: a, LastLog: b, Success: a > b, NoRetryBackoff: a < b}},
		{rpcAppendEntries, &AppendEntriesResponse{RPCHeader: header, Term: a, Success: true, Lease: time.Duration(c)}},
		{rpcRequestVote, &RequestVoteRequest{RPCHeader: header, Term: a, Candidate: q, LastLogIndex: b, LastLogTerm: a, LeadershipTransfer: a > b}},
		{rpcRequestVote, &RequestVoteResponse{RPCHeader: header, Term: b, Peers: p, Granted: a < b}},
		{rpcRequestPreVote, &RequestPreVoteRequest{RPCHeader: header, Term: a, LastLogIndex: b, LastLogTerm: a}},
		{rpcRequestPreVote, &RequestPreVoteResponse{RPCHeader: header, Term: a, Granted: a > b}},
		{rpcInstallSnapshot, &InstallSnapshotRequest{RPCHeader: header, SnapshotVersion: SnapshotVersion(c), Term: a, Leader: p, LastLogIndex: b, LastLogTerm: a, Peers: q, Configuration: p, ConfigurationIndex: b, Size: c &^ (-1 << 63)}},
		{rpcInstallSnapshot, &InstallSnapshotResponse{RPCHeader: header, Term: a, Success: a > b}},
		{rpcTimeoutNow, &TimeoutNowRequest{RPCHeader: header}},
		{rpcTimeoutNow, &TimeoutNowResponse{RPCHeader: header}},
	}
}

func checkEncoding(t *testing.T, typ rpcType, m interface{}, newTimeFormat bool) {
	t.Helper()
	want := referenceEncode(t, m, newTimeFormat)
	var got []byte
	var back incoming
	if strings.HasSuffix(reflect.TypeOf(m).String(), "Request") {
		got = encodeRequest(typ, m, newTimeFormat)
		var rest int
		var err error
		if back, rest, err = decodeRequest(typ, append(bytes.Clone(got), 0xff)); err != nil || rest != 1 {
			t.Fatalf("%T: %d bytes beyond, %v", m, rest, err)
		}
	} else {
		got = m.(outgoing).encode(nil)
		back = reflect.New(reflect.TypeOf(m).Elem()).Interface().(incoming)
		d := msgpack.NewStream(bufio.NewReader(bytes.NewReader(got)))
		if back.decode(d); d.Err() != nil {
			t.Fatalf("%T: %v", m, d.Err())
		}
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%T is\n%x, go-msgpack says\n%x", m, got, want)
	}
	if d := diffMessages(back, m); d != "" {
		t.Fatalf("%T came back as%s", m, d)
	}
}

// Whatever a sender makes up: what hashicorp/raft understands is understood the
// same way, to the same byte, and nothing makes the decoder panic.
func FuzzDecode(f *testing.F) {
	for _, e := range goldenExchanges(f) {
		f.Add(e.request[0], e.request[1:])
	}
	f.Add(byte(rpcAppendEntries), unhex(f, "82 a6 4c6561646572 8101ccff a7 456e7472696573 8180c0")) // maps for arrays
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		if int(typ) >= len(rpcKinds) {
			return
		}
		var got incoming
		var rest int
		var err error
		checkAllocation(t, len(b), func() { got, rest, err = decodeRequest(rpcType(typ), b) })
		if err == nil {
			checkRequestAgain(t, rpcType(typ), got)
		}
		if err != nil && hasHugeClaim(b) {
			return // too dangerous for go-msgpack, which trusts lengths
		}
		if bytes.Count(b, []byte("Entries")) > 1 {
			return // go-msgpack keeps of the first what the second lacks
		}
		want := rpcKinds[typ].empty()
		wantRest, wantErr := referenceDecode(b, want)
		switch {
		case err == nil && wantErr == nil:
			if d := diffMessages(got, want); d != "" || rest != wantRest {
				t.Errorf("%x is%s\n%d bytes beyond, go-msgpack leaves %d", b, d, rest, wantRest)
			}
		case wantErr == nil && !hasNegative(reflect.ValueOf(want)):
			t.Errorf("%x: %v, go-msgpack takes it", b, err)
		}
	})
}

// hasNegative reports whether there is a negative number in v. go-msgpack makes one of
// a number beyond those of 64 bits with a sign, which is an error here; and so is the
// negative size of a snapshot.
func hasNegative(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return v.Int() < 0
	case reflect.Pointer:
		return hasNegative(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if hasNegative(v.Field(i)) {
				return true
			}
		}
	}
	return false
}

// checkRequestAgain encodes what was decoded and decodes that.
func checkRequestAgain(t *testing.T, typ rpcType, req incoming) {
	t.Helper()
	for _, newTimeFormat := range []bool{false, true} {
		again, rest, err := decodeRequest(typ, encodeRequest(typ, req, newTimeFormat))
		if err != nil || rest != 0 {
			t.Fatalf("%+v encoded anew: %d bytes beyond, %v", req, rest, err)
		}
		if d := diffMessages(again, req); d != "" {
			t.Fatalf("%T encoded anew is%s", req, d)
		}
	}
}

// The same of answers, which are two values: the text of an error, and the struct.
func FuzzDecodeResponse(f *testing.F) {
	for _, e := range goldenExchanges(f) {
		f.Add(e.request[0], e.response)
	}
	f.Add(byte(rpcRequestVote), unhex(f, "a0 81 a5 5065657273 9301cc8002"))
	f.Fuzz(func(t *testing.T, typ byte, b []byte) {
		if int(typ) >= len(rpcKinds) {
			return
		}
		got := emptyResponse(rpcType(typ))
		var refusal string
		var rest int
		var err error
		checkAllocation(t, len(b), func() { refusal, rest, err = decodeResponse(b, got) })
		if err != nil && hasHugeClaim(b) {
			return
		}
		want := emptyResponse(rpcType(typ))
		wantRefusal, wantRest, wantErr := referenceDecodeResponse(b, want)
		switch {
		case err == nil && wantErr == nil:
			if d := diffMessages(got, want); d != "" || rest != wantRest || refusal != wantRefusal {
				t.Errorf("%x is%s\n%q, %d bytes beyond, go-msgpack leaves %q, %d", b, d, refusal, rest, wantRefusal, wantRest)
			}
		case wantErr == nil && !hasNegative(reflect.ValueOf(want)):
			t.Errorf("%x: %v, go-msgpack takes it", b, err)
		}
		if err == nil {
			checkResponseAgain(t, refusal, got)
		}
	})
}

func checkResponseAgain(t *testing.T, refusal string, resp incoming) {
	t.Helper()
	again := reflect.New(reflect.TypeOf(resp).Elem()).Interface().(incoming)
	text, rest, err := decodeResponse(resp.(outgoing).encode(msgpack.AppendString(nil, refusal)), again)
	if d := diffMessages(again, resp); d != "" || err != nil || rest != 0 || text != refusal {
		t.Fatalf("%T encoded anew: %q, %d bytes beyond, %v%s", resp, text, rest, err, d)
	}
}

func decodeResponse(b []byte, resp incoming) (refusal string, rest int, err error) {
	src := bytes.NewReader(b)
	r := bufio.NewReader(src)
	refusal, err = readResponse(msgpack.NewStream(r), resp)
	return refusal, r.Buffered() + src.Len(), err
}

func referenceDecodeResponse(b []byte, resp incoming) (refusal string, rest int, err error) {
	r := bytes.NewReader(b)
	d := codec.NewDecoder(r, &codec.MsgpackHandle{})
	if err = d.Decode(&refusal); err == nil {
		err = d.Decode(resp)
	}
	return refusal, r.Len(), err
}

// hasHugeClaim reports whether there may be a length of 32 bits in b.
func hasHugeClaim(b []byte) bool {
	return slices.ContainsFunc(b, func(c byte) bool { return strings.IndexByte("\xc6\xc9\xdb\xdd\xdf", c) >= 0 })
}

// The decoder gives the same whether bytes come one by one or all at once.
func TestDecodeSlowly(t *testing.T) {
	for _, e := range goldenExchanges(t) {
		src := iotest.OneByteReader(bytes.NewReader(e.request[1:]))
		got, err := readRequest(msgpack.NewStream(bufio.NewReader(src)), rpcType(e.request[0]))
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
		} else if d := diffMessages(got, e.args); d != "" {
			t.Error(e.name, d)
		}
	}
}

// A request that is cut off anywhere is an error.
func TestDecodeTruncated(t *testing.T) {
	for _, e := range goldenExchanges(t) {
		body := e.request[1 : len(e.request)-len(e.snapshot)]
		step := 1 + len(body)/500
		for n := 0; n < len(body); n += step {
			if _, _, err := decodeRequest(rpcType(e.request[0]), body[:n]); err != io.ErrUnexpectedEOF {
				t.Fatalf("%s: %d of %d bytes: %v", e.name, n, len(body), err)
			}
		}
	}
}

// Decoding allocates what has arrived, about, whatever lengths are claimed (R17).
func TestDecodeHostile(t *testing.T) {
	entries := "81 a7456e7472696573 "
	for _, tt := range []struct {
		name, hex string
		repeat    string // follows, 100000 times
		atMost    uint64 // bytes allocated
	}{
		{"a string of 4 GiB", "81 a6 4c6561646572 dbffffffff", "", 64 << 10},
		{"a string of 1 GiB", "81 a6 4c6561646572 db40000000", "", 256 << 10},
		{"a string of 1 GiB, some of it there", "81 a6 4c6561646572 db40000000", "00000000", 2 << 20},
		{"an array of 4G numbers for a string", "81 a6 4c6561646572 ddffffffff", "00", 1 << 20},
		{"4G entries", entries + "ddffffffff", "", 64 << 10},
		{"64K entries, none there", entries + "dd00010000", "", 64 << 10},
		{"empty entries without end", entries + "dd00ffffff", "80", 64 << 10},
		{"a map of 4G fields", "dfffffffff", "c000", 64 << 10},
		{"an array of 4G fields", "ddffffffff", "00", 64 << 10},
		{"a name of 4 GiB", "81 dbffffffff", "00", 64 << 10},
		{"deeply nested arrays", "81 a15a", "91", 64 << 10},
		{"deeply nested maps", "81 a15a", "8100", 64 << 10},
		{"arrays that claim everything", "81 a15a", "ddffffffff", 64 << 10},
		{"an extension of 4 GiB", "81 a15a c9ffffffff00", "00", 64 << 10},
		{"a time of 4 GiB", entries + "91 81 aa417070656e6465644174 dbffffffff", "00", 64 << 10},
		{"a byte that means nothing", "81 a15a c1", "", 64 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := append(unhex(t, tt.hex), bytes.Repeat(unhex(t, tt.repeat), 100000)...)
			var err error
			if got := allocated(func() { _, _, err = decodeRequest(rpcAppendEntries, b) }); got > tt.atMost {
				t.Errorf("%d bytes allocated for %d received, want at most %d", got, len(b), tt.atMost)
			}
			if err == nil {
				t.Error("accepted")
			}
		})
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// checkAllocation runs f, which decodes size bytes, and fails the test if that takes
// more memory than what was received accounts for (R17). The most expensive byte is
// an entry, or a server, without fields. What others allocate meanwhile is not held
// against f: it gets several attempts.
func checkAllocation(t *testing.T, size int, f func()) {
	t.Helper()
	const constant, perByte = 256 << 10, 192
	limit := constant + perByte*uint64(size)
	var got uint64
	for range 3 {
		if got = allocated(f); got <= limit {
			return
		}
	}
	t.Errorf("%d bytes allocated for %d received, want at most %d", got, size, limit)
}

func TestDecodeRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		typ       rpcType
	}{
		{"a negative term", "81 a45465726d ff", rpcAppendEntries},
		{"a term that is a string", "81 a45465726d a131", rpcAppendEntries},
		{"a type of nine bits", "81 a7456e7472696573 91 81 a454797065 cd0100", rpcAppendEntries},
		{"a size of 64 bits unsigned", "81 a453697a65 cfffffffffffffffff", rpcInstallSnapshot},
		{"a negative size", "81 a453697a65 ff", rpcInstallSnapshot},
		{"a string for a struct", "a0", rpcTimeoutNow},
		{"an unknown type", "80", 5},
	} {
		if _, _, err := decodeRequest(tt.typ, unhex(t, tt.hex)); err == nil {
			t.Errorf("%s is accepted", tt.name)
		}
	}
}

// An entry that goes to several followers is encoded once.
func TestEntriesAreEncodedOnce(t *testing.T) {
	e := &Log{Index: 1, Term: 1, Data: []byte("first")}
	wires := entryWires{[]*entryWire{new(entryWire), new(entryWire)}, new(encoder)}
	req := &AppendEntriesRequest{Entries: []*Log{e, {Index: 2, Term: 1}}, wire: wires}
	first := encodeRequest(rpcAppendEntries, req, false)
	e.Data = []byte("never") // which no sender does: to see whether it is looked at again
	if second := encodeRequest(rpcAppendEntries, req, false); !bytes.Equal(first, second) {
		t.Error("encoded again for the second follower")
	}
	if !bytes.Contains(first, []byte("first")) {
		t.Error("the entry is missing")
	}
}

// What the hot messages cost.
func TestWireAllocations(t *testing.T) {
	const entries = 8
	req := &AppendEntriesRequest{Term: 5, RPCHeader: RPCHeader{ID: []byte("a"), Addr: []byte("b")}, Leader: []byte("b")}
	for i := range uint64(entries) {
		req.Entries = append(req.Entries, &Log{Index: i + 1, Term: 5, Data: []byte("data"), AppendedAt: time.Unix(1, 2)})
	}
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	if n := testing.AllocsPerRun(100, func() { writeAppendEntries(w, req, false) }); n > 0 {
		t.Errorf("a request is written with %v allocations", n)
	}
	resp := &AppendEntriesResponse{Term: 5, LastLog: 9, Success: true}
	if n := testing.AllocsPerRun(100, func() { _ = writeResponse(w, RPCResponse{Response: resp}) }); n > 0 {
		t.Errorf("an answer is written with %v allocations", n)
	}
	src := bytes.NewReader(nil)
	r := bufio.NewReader(src)
	d := msgpack.NewStream(r)
	frame := encodeRequest(rpcAppendEntries, req, false)
	// The struct, its slice of entries, three byte slices, and per entry the
	// struct, its data and what is not constant of its time's zone.
	if n := testing.AllocsPerRun(100, func() {
		src.Reset(frame)
		if _, err := readRequest(d, rpcAppendEntries); err != nil {
			t.Fatal(err)
		}
	}); n > 5+3*entries {
		t.Errorf("a request is read with %v allocations", n)
	}
}

// Answers of types that the library does not know are encoded all the same; a
// nil pointer is as good as nil.
func TestForeignResponses(t *testing.T) {
	for _, tt := range []struct {
		name string
		resp interface{}
		want string
	}{
		{"nothing", nil, "c0"},
		{"a nil pointer", (*AppendEntriesResponse)(nil), "c0"},
		{"a value", TimeoutNowResponse{}, "83 a441646472 c0 a24944 c0 af50726f746f636f6c56657273696f6e 00"},
		{"another struct", struct{ Term int }{5}, "81 a45465726d 05"},
	} {
		got, err := appendBody(nil, tt.resp)
		if err != nil || !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("%s: %x, %v", tt.name, got, err)
		}
	}
	if _, err := appendBody(nil, complex(1, 2)); err == nil {
		t.Error("a complex number has been encoded")
	}
}
