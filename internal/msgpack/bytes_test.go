package msgpack

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// read decodes one value of the named type and prints it, or "error".
func read(d *Bytes, as string) string {
	var v any
	var err error
	switch as {
	case "uint":
		v, err = d.ReadUint()
	case "uint8":
		v, err = d.ReadUint8()
	case "int":
		v, err = d.ReadInt()
	case "bool":
		v, err = d.ReadBool()
	case "string":
		v, err = d.ReadString()
	case "bytes":
		v, err = d.ReadBytes()
	case "time":
		v, err = d.ReadTime()
	case "map":
		v, err = d.ReadMapHeader()
	case "array":
		v, err = d.ReadArrayHeader()
	case "skip":
		v, err = "", d.Skip()
	}
	if err != nil {
		return "error"
	}
	return show(v)
}

func show(v any) string {
	switch v := v.(type) {
	case []byte:
		if v == nil {
			return "nil"
		}
		return fmt.Sprintf("%x", v)
	case time.Time:
		return v.Format("2006-01-02T15:04:05.999999999Z07:00:00")
	default:
		return fmt.Sprint(v)
	}
}

func TestRead(t *testing.T) {
	for _, tt := range []struct{ in, as, want string }{
		{"05", "uint", "5"},
		{"cc05", "uint", "5"},
		{"cd0005", "uint", "5"},
		{"ce00000005", "uint", "5"},
		{"cfffffffffffffffff", "uint", "18446744073709551615"},
		{"d005", "uint", "5"},
		{"d30000000000000005", "uint", "5"},
		{"c0", "uint", "0"},
		{"ff", "uint", "error"},
		{"d0ff", "uint", "error"},
		{"d1ffff", "uint", "error"},
		{"cd00", "uint", "error"},
		{"ca00000000", "uint", "error"},
		{"a105", "uint", "error"},
		{"", "uint", "error"},
		{"ccff", "uint8", "255"},
		{"cd0100", "uint8", "error"},
		{"e0", "int", "-32"},
		{"d080", "int", "-128"},
		{"d18000", "int", "-32768"},
		{"d280000000", "int", "-2147483648"},
		{"d38000000000000000", "int", "-9223372036854775808"},
		{"cf7fffffffffffffff", "int", "9223372036854775807"},
		{"cf8000000000000000", "int", "error"},

		{"c2", "bool", "false"},
		{"c3", "bool", "true"},
		{"00", "bool", "false"},
		{"01", "bool", "true"},
		{"c0", "bool", "false"},
		{"02", "bool", "error"},
		{"", "bool", "error"},

		{"a161", "string", "a"},
		{"d90161", "string", "a"},
		{"da000161", "string", "a"},
		{"db0000000161", "string", "a"},
		{"c40161", "string", "a"},
		{"c5000161", "bytes", "61"},
		{"c60000000161", "bytes", "61"},
		{"a0", "bytes", ""},
		{"c0", "bytes", "nil"},
		{"93010203", "bytes", "010203"},
		{"dc0002ccffc0", "bytes", "ff00"},
		{"91cd0100", "bytes", "error"},
		{"9261", "bytes", "error"},
		{"a261", "bytes", "error"},
		{"dbffffffff61", "bytes", "error"},
		{"81a161", "bytes", "error"},
		{"80", "bytes", ""},
		{"820102ccff04", "bytes", "0102ff04"},
		{"81", "bytes", "error"},

		{"c0", "time", "0001-01-01T00:00:00Z"},
		{"af010000000eddd945f02f075f79ffff", "time", "2024-05-17T12:34:56.789012345Z"},
		{"af010000000eddd945f02f075f790078", "time", "2024-05-17T14:34:56.789012345+02:00:00"},
		{"b0020000000eddd945f02f075f79005e34", "time", "2024-05-17T14:09:48.789012345+01:34:52"},
		{"a400000001", "time", "1970-01-01T00:00:01Z"},
		{"a80000000400000001", "time", "1970-01-01T00:00:01.000000001Z"},
		{"ac00000001ffffffffffffffff", "time", "1969-12-31T23:59:59.000000001Z"},
		{"d90400000001", "time", "1970-01-01T00:00:01Z"},
		{"c40400000001", "time", "1970-01-01T00:00:01Z"},
		{"d6ff00000001", "time", "1970-01-01T00:00:01Z"},
		{"d7ff0000000400000001", "time", "1970-01-01T00:00:01.000000001Z"},
		{"c70cff00000001ffffffffffffffff", "time", "1969-12-31T23:59:59.000000001Z"},
		{"d90f010000000eddd945f02f075f79ffff", "time", "error"}, // only a fixed string may have the older format
		{"d60100000001", "time", "error"},
		{"d6ff000000", "time", "error"},
		{"a0", "time", "error"},
		{"05", "time", "error"},
		{"", "time", "error"},

		{"82c0c0c0c0", "map", "2"},
		{"de0001c0c0", "map", "1"},
		{"df00000001c0c0", "map", "1"},
		{"82c0c0c0", "map", "error"},
		{"dfffffffffc0c0", "map", "error"},
		{"90", "map", "error"},
		{"92c0c0", "array", "2"},
		{"dc0001c0", "array", "1"},
		{"dd00000001c0", "array", "1"},
		{"ddffffffffc0", "array", "error"},
		{"", "array", "error"},

		{"c1", "skip", "error"},
		{"", "skip", "error"},
		{"92c0", "skip", "error"},
		{"cb00", "skip", "error"},
	} {
		in, err := hex.DecodeString(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(NewBytes(in), tt.as); got != tt.want {
			t.Errorf("%s as %s: got %s, want %s", tt.in, tt.as, got, tt.want)
		}
	}
}

// Skip must read exactly one value of any kind.
func TestSkip(t *testing.T) {
	for _, in := range []string{
		"05", "e0", "cc05", "cd0005", "cf0000000000000005", "d0ff", "d3ffffffffffffffff",
		"c0", "c2", "c3", "ca00000000", "cb0000000000000000",
		"a0", "a161", "d90161", "da000161", "db0000000161", "c40161",
		"d4ff00", "d5ff0000", "d7ff0000000000000000", "d8" + strings.Repeat("00", 17), "c70101ff", "c8000101ff", "c90000000101ff",
		"90", "93010203", "dc0001c0", "80", "81a16192c0c3", "de0001c081c0c0",
	} {
		b, err := hex.DecodeString(in + "2a")
		if err != nil {
			t.Fatal(err)
		}
		d := NewBytes(b)
		if err := d.Skip(); err != nil {
			t.Errorf("%s: %v", in, err)
		} else if v, _ := d.ReadUint(); v != 42 || d.Len() != 0 {
			t.Errorf("%s: %d bytes are left behind %d, want none behind 42", in, d.Len(), v)
		}
	}
}

func TestSkipDepth(t *testing.T) {
	for _, tt := range []struct {
		depth int
		want  error
	}{{maxDepth, nil}, {maxDepth + 1, errDepth}, {1 << 20, errDepth}} {
		in := append(bytes.Repeat([]byte{0x91}, tt.depth), nilByte)
		if err := NewBytes(in).Skip(); err != tt.want {
			t.Errorf("%d arrays in each other: %v, want %v", tt.depth, err, tt.want)
		}
	}
}

// A time is an instant that can be compared, whatever number of nanoseconds it comes
// with, and is the same when it is written and read again.
func TestReadTimeOfTooManyNanoseconds(t *testing.T) {
	for _, nsec := range []string{"3b9aca00", "3fffffff", "7fffffff", "80000000", "ffffffff"} {
		in, err := hex.DecodeString("af01" + "0000000eddd945f0" + nsec + "ffff")
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewBytes(in).ReadTime()
		if err != nil {
			t.Errorf("%s: %v", nsec, err)
		}
		if again, err := NewBytes(AppendTimestamp(nil, got)).ReadTime(); err != nil || !again.Equal(got) || again != got.Round(0) {
			t.Errorf("%s: %v came back as %v, %v", nsec, got, again, err)
		}
		if stream := NewStream(bufio.NewReader(bytes.NewReader(in))).Time(); stream != got {
			t.Errorf("%s: a stream gives %v, want %v", nsec, stream, got)
		}
	}
}

// A claimed length must not be believed before the bytes are there (R17).
func TestReadAllocatesNoMoreThanItReceived(t *testing.T) {
	for _, in := range []string{"dbffffffff", "c6ffffffff", "ddffffffff01", "dfffffffff0101"} {
		b, _ := hex.DecodeString(in)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, as := range []string{"bytes", "array", "map", "skip"} {
			read(NewBytes(b), as)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16 {
			t.Errorf("%s: %d bytes allocated", in, n)
		}
	}
}

// FuzzRead holds the decoder against go-msgpack: what that accepts for a field of
// a given type, this must accept too, with the same result.
func FuzzRead(f *testing.F) {
	for _, v := range edges() {
		f.Add(AppendInt(nil, v))
		f.Add(AppendUint(nil, uint64(v)))
	}
	for _, at := range times() {
		f.Add(AppendTime(nil, at))
		f.Add(AppendTimestamp(nil, at))
	}
	for _, s := range []string{"93010203", "c40161", "d6ff00000001", "c70cff00000001ffffffffffffffff", "82a16101a162dc0001c3", "c1"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, tt := range []struct {
			as  string
			ptr any
		}{
			{"uint", new(uint64)}, {"uint8", new(uint8)}, {"bool", new(bool)},
			{"bytes", new([]byte)}, {"string", new(string)}, {"time", new(time.Time)},
		} {
			want := "error"
			if err := codec.NewDecoderBytes(in, &codec.MsgpackHandle{}).Decode(tt.ptr); err == nil {
				want = show(deref(tt.ptr))
			}
			if got := read(NewBytes(in), tt.as); got != want && want != "error" {
				t.Errorf("%x as %s: got %s, want %s", in, tt.as, got, want)
			}
		}
		d := NewBytes(in)
		for d.Len() > 0 && d.Skip() == nil {
		}
	})
}

func deref(ptr any) any {
	switch p := ptr.(type) {
	case *uint64:
		return *p
	case *uint8:
		return *p
	case *bool:
		return *p
	case *[]byte:
		return *p
	case *string:
		return *p
	default:
		return wellFormed(*ptr.(*time.Time))
	}
}
