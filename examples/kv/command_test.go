package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestCommandRoundTrip(t *testing.T) {
	for _, c := range []command{
		{opPut, "a/b", []byte("value")},
		{opPut, "\x00//..", []byte{}},
		{opDelete, strings.Repeat("k", maxKey), []byte{}},
		{opSetMember, "n1", []byte("127.0.0.1:8001")},
		{opForgetMember, "n1", []byte{}},
	} {
		got, err := decodeCommand(c.encode())
		if err != nil || got.op != c.op || got.key != c.key || !bytes.Equal(got.value, c.value) {
			t.Errorf("%v %.10q came back as %v %.10q %q, error %v", c.op, c.key, got.op, got.key, got.value, err)
		}
	}
}

func TestCommandRefusesNonsense(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":              "",
		"operation 0":          "\x00\x01a",
		"an unknown operation": "\x05\x01a",
		"no length":            "\x01",
		"half a length":        "\x01\x80",
		"too long a length":    "\x01\x02a",
		"a length of 2^64":     "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	} {
		if c, err := decodeCommand([]byte(b)); !errors.Is(err, errBadCommand) {
			t.Errorf("%s: decoded to %v, error %v", name, c, err)
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(command{opPut, "key", []byte("value")}.encode())
	f.Add(command{opDelete, "", nil}.encode())
	f.Add(command{opSetMember, "n1", []byte("127.0.0.1:8001")}.encode())
	f.Add([]byte("\x01\x80"))
	f.Add([]byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCommand(b)
		if err != nil {
			if !errors.Is(err, errBadCommand) {
				t.Errorf("%x: error %v", b, err)
			}
			return
		}
		if len(c.key)+len(c.value) >= len(b) {
			t.Errorf("%x: a key of %d bytes and a value of %d", b, len(c.key), len(c.value))
		}
		again, err := decodeCommand(c.encode())
		if err != nil || again.op != c.op || again.key != c.key || !bytes.Equal(again.value, c.value) {
			t.Errorf("%v became %v, error %v", c, again, err)
		}
	})
}
