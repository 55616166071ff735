package msgpack

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func newTestStream(b []byte) (*Stream, *bufio.Reader) {
	return newTestStreamFrom(bytes.NewReader(b))
}

func newTestStreamFrom(src io.Reader) (*Stream, *bufio.Reader) {
	r := bufio.NewReaderSize(src, maxShort)
	return NewStream(r), r
}

// The operations of Stream and what they are called in the tables below.
var streamReads = map[string]func(d *Stream) any{
	"uint":   func(d *Stream) any { return d.Uint() },
	"uint8":  func(d *Stream) any { return d.Uint8() },
	"int64":  func(d *Stream) any { return d.Int64() },
	"int":    func(d *Stream) any { return d.Int() },
	"bool":   func(d *Stream) any { return d.Bool() },
	"bytes":  func(d *Stream) any { return dumpBytes(d.Bytes()) },
	"string": func(d *Stream) any { return d.String() },
	"time":   func(d *Stream) any { return d.Time().UTC() },
	"array":  func(d *Stream) any { n, isNil := d.Array(); return fmt.Sprint(n, isNil) },
	"skip":   func(d *Stream) any { d.Skip(); return nil },
}

func dumpBytes(b []byte) string {
	if b == nil {
		return "nil"
	}
	return fmt.Sprintf("%x", b)
}

func TestStreamValues(t *testing.T) {
	for _, tt := range []struct{ read, hex, want string }{
		{"uint", "7f", "127"},
		{"uint", "cf ffffffffffffffff", "18446744073709551615"},
		{"uint", "d3 0000000000000007", "7"},
		{"uint", "c0", "0"},
		{"uint", "e0", "error"},
		{"uint", "d0 ff", "error"},
		{"uint", "a0", "error"},
		{"uint8", "cc ff", "255"},
		{"uint8", "cd 0100", "error"},
		{"int64", "d1 8000", "-32768"},
		{"int64", "ff", "-1"},
		{"int64", "cf 8000000000000000", "error"},
		{"int", "d2 80000000", "-2147483648"},
		{"bool", "c3", "true"},
		{"bool", "01", "true"},
		{"bool", "00", "false"},
		{"bool", "c0", "false"},
		{"bool", "02", "error"},
		{"bytes", "c0", "nil"},
		{"bytes", "a0", ""},
		{"bytes", "c4 02 0102", "0102"},
		{"bytes", "d9 01 aa", "aa"},
		{"bytes", "92 01 cc ff", "01ff"},
		{"bytes", "90", ""},
		{"bytes", "91 cd 0100", "error"},
		{"bytes", "80", ""},
		{"bytes", "81 01 cc ff", "01ff"},
		{"bytes", "07", "error"},
		{"string", "a3 616263", "abc"},
		{"array", "dc 0011", "17 false"},
		{"array", "c0", "0 true"},
		{"array", "80", "0 false"},
		{"array", "82", "4 false"},
		{"array", "a0", "error"},
		{"time", "c0", "0001-01-01 00:00:00 +0000 UTC"},
		{"time", "a4 6553f100", "2023-11-14 22:13:20 +0000 UTC"},
		{"time", "c4 04 6553f100", "2023-11-14 22:13:20 +0000 UTC"},
		{"time", "d6 ff 6553f100", "2023-11-14 22:13:20 +0000 UTC"},
		{"time", "c7 0c ff 00000001 000000006553f100", "2023-11-14 22:13:20.000000001 +0000 UTC"},
		{"time", "af 01 0000000edce5e800 00000000 ffff", "2023-11-14 22:13:20 +0000 UTC"},
		{"time", "c4 0f 01 0000000edce5e800 00000000 ffff", "error"},
		{"time", "d6 fe 6553f100", "error"},
		{"time", "a5 0000000000", "error"},
		{"time", "05", "error"},
		{"skip", "c1", "error"},
		{"skip", "82 a161 93 01 c0 cb 0000000000000000 92 d8 00 00112233445566778899aabbccddeeff c9 00000001 05 00 c3", "<nil>"},
	} {
		t.Run(tt.read+" "+tt.hex, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			d, r := newTestStream(append(b, 0x55))
			got := fmt.Sprint(streamReads[tt.read](d))
			if tt.want == "error" {
				if d.Err() == nil {
					t.Errorf("no error, but %v", got)
				}
				return
			}
			if d.Err() != nil || got != tt.want {
				t.Errorf("%v, %v; want %v", got, d.Err(), tt.want)
			}
			if c, err := r.ReadByte(); err != nil || c != 0x55 {
				t.Errorf("%#x follows (%v), want 0x55: not as much was read as the value has", c, err)
			}
			for n := range b {
				d, _ := newTestStream(b[:n])
				if streamReads[tt.read](d); d.Err() != io.ErrUnexpectedEOF {
					t.Errorf("%d bytes of it: %v", n, d.Err())
				}
			}
		})
	}
}

func TestStreamStruct(t *testing.T) {
	names := NewNames("A", "C", "B")
	for _, tt := range []struct{ name, hex, want string }{
		{"map", "82 a142 02 a141 01", "B=2 A=1"},
		{"map in the usual order", "83 a141 01 a142 02 a143 03", "A=1 B=2 C=3"},
		{"map without one of them", "82 a141 01 a143 03", "A=1 C=3"},
		{"a name that comes twice", "83 a141 01 a141 02 a142 03", "A=1 A=2 B=3"},
		{"names with longer lengths", "82 d90141 01 da000142 02", "A=1 B=2"},
		{"unknown names", "83 a158 93010203 a142 02 a0 c0", "B=2"},
		{"nil and numbers as names", "82 c0 01 9141 01", "A=1"},
		{"array", "93 01 02 03", "A=1 C=2 B=3"},
		{"short array", "91 01", "A=1"},
		{"long array", "95 01 02 03 81a15804 05", "A=1 C=2 B=3"},
		{"nil", "c0", "nil"},
		{"a number as a name", "81 01 01", "error"},
		{"a number as a struct", "01", "error"},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(tt.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, 0x55)
		for _, src := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
			d, r := newTestStreamFrom(src)
			var got []string
			f := d.Struct(names)
			if f.Nil {
				got = append(got, "nil")
			}
			for f.Next() {
				got = append(got, fmt.Sprintf("%s=%d", f.Name, d.Uint()))
			}
			if d.Err() != nil {
				got = []string{"error"}
			} else if c, _ := r.ReadByte(); c != 0x55 {
				t.Errorf("%s: not as much was read as the struct has", tt.name)
			}
			if got := strings.Join(got, " "); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

// The first error stays, and nothing is read after it.
func TestStreamErrorSticks(t *testing.T) {
	broken := errors.New("broken")
	src := io.MultiReader(strings.NewReader("\x01\xa5ab"), iotest.ErrReader(broken))
	d := NewStream(bufio.NewReader(src))
	if d.Uint() != 1 || d.Err() != nil {
		t.Fatal(d.Err())
	}
	d.Bytes()
	d.Fail(errors.New("later"))
	f := d.Struct(NewNames("A"))
	n, _ := d.Array()
	if d.Err() != broken || f.Next() || n != 0 || d.Uint() != 0 || d.Bytes() != nil || !d.Time().IsZero() {
		t.Errorf("after the error %v there are values", d.Err())
	}
}

// A long string arrives whole, in a slice of just its size.
func TestStreamLongBytes(t *testing.T) {
	for _, n := range []int{firstStep - 1, firstStep, firstStep + 1, 5 * firstStep} {
		want := bytes.Repeat([]byte("0123456"), n/7+1)[:n]
		got := NewStream(bufio.NewReader(bytes.NewReader(AppendBytes(nil, want)))).Bytes()
		if !bytes.Equal(got, want) || cap(got) != n {
			t.Errorf("%d bytes came as %d of capacity %d", n, len(got), cap(got))
		}
	}
}

// However deep the nesting, skipping costs no stack.
func TestStreamSkipsDeepNesting(t *testing.T) {
	b := append(bytes.Repeat([]byte{0x91}, 10_000_000), 0xc0)
	d := NewStream(bufio.NewReader(bytes.NewReader(b)))
	if d.Skip(); d.Err() != nil {
		t.Error(d.Err())
	}
}

// Both decoders read the same out of the same bytes.
func FuzzStreamAgreesWithBytes(f *testing.F) {
	for _, s := range []string{"\x7f", "\xcd\x01\x00", "\xd1\x80\x00", "\xa3abc", "\xc4\x01a", "\x92\x01\x02", "\xd6\xff\x65\x53\xf1\x00", "\x81\xa1a\x90", "\xc0", "\xc3"} {
		f.Add([]byte(s))
	}
	bytesReads := map[string]func(d *Bytes) (any, error){
		"uint":  func(d *Bytes) (any, error) { return d.ReadUint() },
		"uint8": func(d *Bytes) (any, error) { return d.ReadUint8() },
		"int64": func(d *Bytes) (any, error) { return d.ReadInt() },
		"bool":  func(d *Bytes) (any, error) { return d.ReadBool() },
		"bytes": func(d *Bytes) (any, error) { b, err := d.ReadBytes(); return dumpBytes(b), err },
		"time":  func(d *Bytes) (any, error) { v, err := d.ReadTime(); return v.UTC(), err },
		"skip":  func(d *Bytes) (any, error) { return nil, d.Skip() },
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, read := range bytesReads {
			whole := NewBytes(b)
			want, wantErr := read(whole)
			src := bytes.NewReader(b)
			r := bufio.NewReader(src)
			d := NewStream(r)
			got := streamReads[name](d)
			if name == "skip" && wantErr == errDepth {
				continue
			}
			if (d.Err() == nil) != (wantErr == nil) {
				t.Fatalf("%s of %x: %v and %v", name, b, d.Err(), wantErr)
			}
			if wantErr != nil {
				continue
			}
			if rest := r.Buffered() + src.Len(); fmt.Sprint(got) != fmt.Sprint(want) || rest != whole.Len() {
				t.Fatalf("%s of %x: %v and %d bytes, %v and %d bytes", name, b, got, rest, want, whole.Len())
			}
		}
	})
}

func BenchmarkStreamBytes(b *testing.B) {
	for _, size := range []int{100, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			frame := AppendBytes(nil, make([]byte, size))
			src := bytes.NewReader(nil)
			r := bufio.NewReaderSize(src, 64<<10)
			d := NewStream(r)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(frame)
				r.Reset(src)
				d.Bytes()
			}
		})
	}
}
