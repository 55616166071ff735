package raft

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The tests in this file hold the transport against exchanges that
// hashicorp/raft v1.8.0 made: testdata/golden/wire and wire-live.

// goldenExchange is one of them: what it looks like and what it means.
type goldenExchange struct {
	name          string
	newTimeFormat bool

	request   []byte // with the type byte and the snapshot
	snapshot  []byte // nil if it isn't an InstallSnapshot
	response  []byte
	args      incoming
	body      incoming // nil for a nil body
	emptyBody incoming
	errorText string
}

func goldenExchanges(t testing.TB) []goldenExchange {
	t.Helper()
	var all []goldenExchange
	for _, dir := range []string{"wire", "wire-live"} {
		files, err := filepath.Glob(goldenPath(dir + "/*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no golden data in %s: %v", dir, err)
		}
		for _, file := range files {
			all = append(all, loadExchange(t, strings.TrimSuffix(file, ".json")))
		}
	}
	return all
}

func loadExchange(t testing.TB, base string) goldenExchange {
	t.Helper()
	var j struct {
		TypeByte      rpcType        `json:"type_byte"`
		TimeFormat    string         `json:"time_format"`
		Request       map[string]any `json:"request"`
		Response      map[string]any `json:"response"`
		ResponseError string         `json:"response_error"`
		PayloadLength *int           `json:"payload_length"`
	}
	d := json.NewDecoder(bytes.NewReader(readFile(t, base+".json")))
	d.UseNumber()
	if err := d.Decode(&j); err != nil {
		t.Fatalf("%s: %v", base, err)
	}
	e := goldenExchange{
		name:          filepath.Base(filepath.Dir(base)) + "/" + filepath.Base(base),
		newTimeFormat: j.TimeFormat == "new",
		request:       readFile(t, base+".req.bin"),
		response:      readFile(t, base+".resp.bin"),
		args:          rpcKinds[j.TypeByte].empty(),
		emptyBody:     emptyResponse(j.TypeByte),
		errorText:     j.ResponseError,
	}
	fillStruct(t, reflect.ValueOf(e.args).Elem(), j.Request)
	if j.Response != nil {
		e.body = emptyResponse(j.TypeByte)
		fillStruct(t, reflect.ValueOf(e.body).Elem(), j.Response)
	}
	if j.PayloadLength != nil {
		e.snapshot = e.request[len(e.request)-*j.PayloadLength:]
	}
	return e
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func emptyResponse(t rpcType) incoming {
	switch t {
	case rpcAppendEntries:
		return new(AppendEntriesResponse)
	case rpcRequestVote:
		return new(RequestVoteResponse)
	case rpcInstallSnapshot:
		return new(InstallSnapshotResponse)
	case rpcTimeoutNow:
		return new(TimeoutNowResponse)
	default:
		return new(RequestPreVoteResponse)
	}
}

// fillStruct sets v from the plain JSON of golden data, see its README.md.
func fillStruct(t testing.TB, v reflect.Value, src map[string]any) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			fillStruct(t, v.Field(i), src)
		} else if n, ok := src[field.Name+"_pattern_length"]; ok {
			length, err := n.(json.Number).Int64()
			if err != nil {
				t.Fatal(err)
			}
			v.Field(i).SetBytes(goldenPattern(int(length)))
		} else if x := src[field.Name]; x != nil {
			fillValue(t, v.Field(i), x)
		}
	}
}

func fillValue(t testing.TB, v reflect.Value, x any) {
	t.Helper()
	switch dst := v.Addr().Interface().(type) {
	case *time.Time:
		*dst = parseGoldenTime(t, x.(string))
	case *[]byte:
		b, err := hex.DecodeString(x.(string))
		if err != nil {
			t.Fatal(err)
		}
		*dst = b
	case *[]*Log:
		*dst = []*Log{}
		for _, e := range x.([]any) {
			entry := new(Log)
			fillStruct(t, reflect.ValueOf(entry).Elem(), e.(map[string]any))
			*dst = append(*dst, entry)
		}
	case *[]Server:
		*dst = []Server{}
		for _, e := range x.([]any) {
			var s Server
			fillStruct(t, reflect.ValueOf(&s).Elem(), e.(map[string]any))
			*dst = append(*dst, s)
		}
	case *ServerID:
		*dst = ServerID(x.(string))
	case *ServerAddress:
		*dst = ServerAddress(x.(string))
	default:
		if _, err := fmt.Sscan(fmt.Sprint(x), dst); err != nil {
			t.Fatalf("%T from %v: %v", dst, x, err)
		}
	}
}

func parseGoldenTime(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil { // an offset with seconds
		at, err = time.Parse("2006-01-02T15:04:05.999999999-07:00:00", s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// diffMessages returns how two messages differ, "" if they do not: in times that
// are different instants, in nil and empty, in anything else.
func diffMessages(a, b any) string {
	x, y := dumpMessage(reflect.ValueOf(a)), dumpMessage(reflect.ValueOf(b))
	if x == y {
		return ""
	}
	return fmt.Sprintf("\n%s\n%s", x, y)
}

func dumpMessage(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		t := v.Interface().(time.Time).Round(0).Add(0) // go-msgpack takes any number of nanoseconds
		return fmt.Sprintf("%d.%d", t.Unix(), t.Nanosecond())
	case v.Kind() == reflect.Pointer && v.IsNil() || v.Kind() == reflect.Slice && v.IsNil():
		return "nil"
	case v.Kind() == reflect.Pointer:
		return dumpMessage(v.Elem())
	case v.Type() == reflect.TypeFor[[]byte]():
		return fmt.Sprintf("%q", v.Bytes())
	}
	var parts []string
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, dumpMessage(v.Index(i)))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Name != "wire" {
				parts = append(parts, f.Name+":"+dumpMessage(v.Field(i)))
			}
		}
	default:
		return fmt.Sprint(v.Interface())
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// The transport as receiver: it understands the request's bytes, and answers
// with exactly the response's.
func TestGoldenServer(t *testing.T) {
	for _, e := range goldenExchanges(t) {
		t.Run(e.name, func(t *testing.T) {
			n := newTestTransport(t, &NetworkTransportConfig{MsgpackUseNewTimeFormat: e.newTimeFormat})
			problems := make(chan error, 1)
			answer := func(rpc RPC) {
				problems <- checkGoldenRequest(rpc, e)
				rpc.Respond(goldenAnswer(e))
			}
			n.SetHeartbeatHandler(answer)
			consume(t, n, answer)

			conn := dialTest(t, n)
			for range 2 { // the connection stays usable
				if _, err := conn.Write(e.request); err != nil {
					t.Fatal(err)
				}
				if err := <-problems; err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(e.response))
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, e.response) {
					t.Fatalf("answered (%v)\n%swant\n%s", err, hex.Dump(got), hex.Dump(e.response))
				}
			}
		})
	}
}

func goldenAnswer(e goldenExchange) (body interface{}, err error) {
	if e.errorText != "" {
		err = errors.New(e.errorText)
	}
	if e.body == nil {
		return nil, err
	}
	return e.body, err
}

func checkGoldenRequest(rpc RPC, e goldenExchange) error {
	if d := diffMessages(rpc.Command, e.args); d != "" {
		return fmt.Errorf("the request differs:%s", d)
	}
	if (rpc.Reader != nil) != (e.snapshot != nil) {
		return errors.New("an InstallSnapshot, and nothing else, has a Reader")
	}
	if rpc.Reader == nil {
		return nil
	}
	data, err := io.ReadAll(rpc.Reader)
	if err != nil || !bytes.Equal(data, e.snapshot) {
		return fmt.Errorf("the snapshot differs: %d bytes, %w", len(data), err)
	}
	return nil
}

// The transport as sender: it sends exactly the request's bytes, and understands
// the response's.
func TestGoldenClient(t *testing.T) {
	for _, e := range goldenExchanges(t) {
		t.Run(e.name, func(t *testing.T) {
			sent := make([]byte, len(e.request))
			addr := fakePeer(t, func(conn net.Conn) {
				if _, err := io.ReadFull(conn, sent); err == nil {
					conn.Write(e.response)
				}
				io.Copy(io.Discard, conn)
			})
			n := newTestTransport(t, &NetworkTransportConfig{MsgpackUseNewTimeFormat: e.newTimeFormat})
			resp := e.emptyBody
			err := send(n, addr, e.args, resp, bytes.NewReader(e.snapshot))
			if text := errorText(err); text != e.errorText {
				t.Errorf("error %q, want %q", text, e.errorText)
			}
			if !bytes.Equal(sent, e.request) {
				t.Errorf("sent\n%swant\n%s", hex.Dump(sent), hex.Dump(e.request))
			}
			want := e.body
			if want == nil {
				want = reflect.New(reflect.TypeOf(resp).Elem()).Interface().(incoming)
			}
			if d := diffMessages(resp, want); d != "" {
				t.Error("the response differs:", d)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What senders other than hashicorp/raft may do, and its receivers accept.
func TestTolerance(t *testing.T) {
	hello := AppendEntriesRequest{Term: 7, Leader: []byte("L")}
	header := RPCHeader{ProtocolVersion: 3, ID: []byte("n"), Addr: []byte("A")}
	for _, tt := range []struct {
		name, body string // hex, after the type byte of AppendEntries
		want       AppendEntriesRequest
	}{
		{"fields in any order, most missing", "82 a45465726d 07 a64c6561646572 a14c", hello},
		{"an unknown field of any kind is skipped", "83 a15a 9301a27879c0 a45465726d 07 a64c6561646572 a14c", hello},
		{"an unknown field with all kinds in it", "83 a15a 82 cb0000000000000000 d40100 c70301aabbcc 93ca00000000c3d1ffff a45465726d 07 a64c6561646572 a14c", hello},
		{"a very long name is unknown", "83 d941" + strings.Repeat("41", 65) + " 00 a45465726d 07 a64c6561646572 a14c", hello},
		{"str 8 key, bin 8 value, uint 16 for a small number", "82 d9045465726d cd0007 a64c6561646572 c4014c", hello},
		{"int 64 for an unsigned field, map 16", "de0002 a45465726d d30000000000000007 a64c6561646572 a14c", hello},
		{"raw 16, raw 32, bin 16, bin 32, map 32", "df00000002 da00045465726d 07 c60000 00064c6561646572 db000000014c", hello},
		{"bytes as an array of numbers", "82 a45465726d 07 a64c6561646572 914c", hello},
		{"a name twice: the last counts", "83 a45465726d 05 a45465726d 07 a64c6561646572 a14c", hello},
		{"array in declaration order, cut short", "95 03 a16e a141 07 a14c", AppendEntriesRequest{RPCHeader: header, Term: 7, Leader: []byte("L")}},
		{"array with values to spare", "9b 03 a16e a141 07 a14c 01 02 90 04 c0 81a17801", AppendEntriesRequest{RPCHeader: header, Term: 7, Leader: []byte("L"), PrevLogEntry: 1, PrevLogTerm: 2, Entries: []*Log{}, LeaderCommitIndex: 4}},
		{"nil values", "84 a45465726d 07 a64c6561646572 a14c a7456e7472696573 c0 ac507265764c6f67456e747279 c0", hello},
		{"nil for the whole struct", "c0", AppendEntriesRequest{}},
		{"a time as an extension, a missing field", "83 a45465726d 07 a64c6561646572 a14c a7456e7472696573 91 82 a5496e646578 09 aa417070656e6465644174 d7ff000000006553f100", AppendEntriesRequest{Term: 7, Leader: []byte("L"), Entries: []*Log{{Index: 9, AppendedAt: time.Unix(1700000000, 0)}}}},
		{"a nil entry", "81 a7456e7472696573 91 c0", AppendEntriesRequest{Entries: []*Log{nil}}},
		{"an entry as an array", "81 a7456e7472696573 91 93 01 02 04", AppendEntriesRequest{Entries: []*Log{{Index: 1, Term: 2, Type: LogBarrier}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newTestTransport(t, nil)
			got := make(chan RPC, 1)
			consume(t, n, func(rpc RPC) { got <- rpc })
			if _, err := dialTest(t, n).Write(unhex(t, "00"+tt.body)); err != nil {
				t.Fatal(err)
			}
			rpc := <-got
			rpc.Respond(&AppendEntriesResponse{}, nil)
			if d := diffMessages(rpc.Command, &tt.want); d != "" {
				t.Error(d)
			}
		})
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A response field that is missing keeps its value, nil in place of the response
// makes it zero: hashicorp/raft's decoder behaves so.
func TestMissingResponseFields(t *testing.T) {
	kept := AppendEntriesResponse{Term: 9, LastLog: 7, Success: true}
	for _, tt := range []struct {
		answer string
		want   AppendEntriesResponse
	}{
		{"a0 80", kept},
		{"c0 80", kept},
		{"a0 c0", AppendEntriesResponse{}},
		{"a0 81 a45465726d 01", AppendEntriesResponse{Term: 1, LastLog: 7, Success: true}},
	} {
		addr := fakePeer(t, func(conn net.Conn) {
			conn.Read(make([]byte, 4096))
			conn.Write(unhex(t, tt.answer))
			io.Copy(io.Discard, conn)
		})
		resp := kept
		if err := newTestTransport(t, nil).AppendEntries("x", addr, &AppendEntriesRequest{}, &resp); err != nil {
			t.Errorf("%s: %v", tt.answer, err)
		}
		if d := diffMessages(resp, tt.want); d != "" {
			t.Error(tt.answer, d)
		}
	}
}

func TestGoldenErrors(t *testing.T) {
	var want map[string]string
	if err := json.Unmarshal(readFile(t, goldenPath("errors.json")), &want); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"ErrAbortedByRestore":                ErrAbortedByRestore,
		"ErrCantBootstrap":                   ErrCantBootstrap,
		"ErrEnqueueTimeout":                  ErrEnqueueTimeout,
		"ErrIncompatibleLogStore":            ErrIncompatibleLogStore,
		"ErrLeader":                          ErrLeader,
		"ErrLeadershipLost":                  ErrLeadershipLost,
		"ErrLeadershipTransferInProgress":    ErrLeadershipTransferInProgress,
		"ErrLogNotFound":                     ErrLogNotFound,
		"ErrNotLeader":                       ErrNotLeader,
		"ErrNotVoter":                        ErrNotVoter,
		"ErrNothingNewToSnapshot":            ErrNothingNewToSnapshot,
		"ErrPipelineReplicationNotSupported": ErrPipelineReplicationNotSupported,
		"ErrPipelineShutdown":                ErrPipelineShutdown,
		"ErrRaftShutdown":                    ErrRaftShutdown,
		"ErrTransportShutdown":               ErrTransportShutdown,
		"ErrUnsupportedProtocol":             ErrUnsupportedProtocol,
	} {
		if err.Error() != want[name] {
			t.Errorf("%s is %q, want %q", name, err, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Error("not checked:", want)
	}
}

// Configurations lie inside entries and snapshot requests.
func TestGoldenConfigurations(t *testing.T) {
	var j struct {
		Configuration []struct {
			Name          string
			Configuration map[string]any
			Msgpack       string
		}
	}
	d := json.NewDecoder(bytes.NewReader(readFile(t, goldenPath("encodings.json"))))
	d.UseNumber()
	if err := d.Decode(&j); err != nil || len(j.Configuration) == 0 {
		t.Fatalf("%d configurations: %v", len(j.Configuration), err)
	}
	for _, tt := range j.Configuration {
		var c Configuration
		fillStruct(t, reflect.ValueOf(&c).Elem(), tt.Configuration)
		if got := hex.EncodeToString(EncodeConfiguration(c)); got != tt.Msgpack {
			t.Errorf("%s: %s, want %s", tt.Name, got, tt.Msgpack)
		}
		if d := diffMessages(DecodeConfiguration(unhex(t, tt.Msgpack)), c); d != "" {
			t.Error(tt.Name, d)
		}
	}
}
