package raft

import (
	"bytes"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// encodeMsgPack encodes the small structures that lie inside entries and
// messages. The format is that of docs/compatibility.md, "Encoding".
func encodeMsgPack(in interface{}) ([]byte, error) {
	var buf bytes.Buffer
	h := codec.MsgpackHandle{}
	h.TimeNotBuiltin = true
	if err := codec.NewEncoder(&buf, &h).Encode(in); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// decodeMsgPack is the inverse of encodeMsgPack.
func decodeMsgPack(buf []byte, out interface{}) error {
	return codec.NewDecoderBytes(buf, &codec.MsgpackHandle{}).Decode(out)
}
