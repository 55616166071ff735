package raft

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// goldenPath returns the path of golden data, see testdata/golden/README.md.
func goldenPath(name string) string {
	return filepath.Join("testdata", "golden", filepath.FromSlash(name))
}

// loadGolden decodes a JSON file of golden data.
func loadGolden(t *testing.T, name string, v interface{}) {
	t.Helper()
	buf, err := os.ReadFile(goldenPath(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(buf, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// hexBytes is a byte string in golden data.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// goldenPattern is the content of long byte strings in golden data.
func goldenPattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + 3)
	}
	return b
}

// addrTransport is a Transport that encodes addresses as they stand and can do
// nothing else.
type addrTransport struct{ Transport }

func (addrTransport) LocalAddr() ServerAddress                          { return "local" }
func (addrTransport) EncodePeer(id ServerID, addr ServerAddress) []byte { return []byte(addr) }
func (addrTransport) DecodePeer(buf []byte) ServerAddress               { return ServerAddress(buf) }
