package raft

import (
	"bufio"
	"bytes"
	"errors"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/hashicorp/raft/internal/msgpack"
)

// This file encodes and decodes the small structures that lie inside entries,
// messages and snapshots; it owns no state. The format is that of
// docs/compatibility.md, "Encoding". What arrives here may come from a peer, so
// what it claims allocates nothing (R17).

// maxServers is how many servers a configuration may have. A server needs much
// more memory than an empty one takes in the encoding.
const maxServers = 1 << 16

var errTooManyServers = errors.New("too many servers")

var (
	configurationFields = msgpack.NewNames("Servers")
	serverFields        = msgpack.NewNames("Suffrage", "ID", "Address") // in Go's order of declaration
)

// encodeMsgPack encodes a value by reflection.
func encodeMsgPack(in interface{}) ([]byte, error) {
	var buf bytes.Buffer
	h := codec.MsgpackHandle{}
	h.TimeNotBuiltin = true
	if err := codec.NewEncoder(&buf, &h).Encode(in); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// readConfiguration decodes a Configuration.
func readConfiguration(buf []byte) (Configuration, error) {
	d := newByteStream(buf)
	var c Configuration
	for f := d.Struct(configurationFields); f.Next(); {
		c.Servers = readList(d, readServer)
	}
	return c, d.Err()
}

// readPeers decodes a list of addresses, each as Transport.EncodePeer encodes it.
func readPeers(buf []byte) ([][]byte, error) {
	d := newByteStream(buf)
	peers := readList(d, (*msgpack.Stream).Bytes)
	return peers, d.Err()
}

func newByteStream(buf []byte) *msgpack.Stream {
	return msgpack.NewStream(bufio.NewReader(bytes.NewReader(buf)))
}

func readServer(d *msgpack.Stream) (s Server) {
	for f := d.Struct(serverFields); f.Next(); {
		switch f.Name {
		case "Suffrage":
			s.Suffrage = ServerSuffrage(d.Int())
		case "ID":
			s.ID = ServerID(d.String())
		case "Address":
			s.Address = ServerAddress(d.String())
		}
	}
	return s
}

// readList reads an array of servers in either form.
func readList[T any](d *msgpack.Stream, read func(*msgpack.Stream) T) []T {
	n, isNil := d.Array()
	if isNil {
		return nil
	}
	if n > maxServers {
		d.Fail(errTooManyServers)
		return nil
	}
	list := []T{}
	for ; n > 0 && d.Err() == nil; n-- {
		list = append(list, read(d))
	}
	return list
}
