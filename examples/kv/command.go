package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// op says what a command does. The numbers are on disk: never reuse one.
type op byte

const (
	opPut          op = 1 // set key to value
	opDelete       op = 2 // forget key
	opSetMember    op = 3 // key is a server's ID, value its HTTP address
	opForgetMember op = 4 // key is a server's ID
)

// A command is one change of the replicated state. In the log it is
//
//	op (1 byte) | length of key (uvarint) | key | value (the rest)
type command struct {
	op    op
	key   string
	value []byte
}

// maxKey is the longest key in bytes. A key is part of a URL, and servers and
// proxies limit those.
const maxKey = 4096

var errBadCommand = errors.New("undecodable command")

// appendCommand appends a command without its value to b. The caller appends
// the value, straight from where it comes from.
func appendCommand(b []byte, o op, key string) []byte {
	b = append(b, byte(o))
	b = binary.AppendUvarint(b, uint64(len(key)))
	return append(b, key...)
}

func (c command) encode() []byte {
	return append(appendCommand(nil, c.op, c.key), c.value...)
}

// decodeCommand decodes b. The command's value shares memory with b.
func decodeCommand(b []byte) (command, error) {
	if len(b) == 0 {
		return command{}, fmt.Errorf("%w: empty", errBadCommand)
	}
	o := op(b[0])
	if o < opPut || o > opForgetMember {
		return command{}, fmt.Errorf("%w: unknown operation %d", errBadCommand, o)
	}
	n, width := binary.Uvarint(b[1:])
	rest := b[1+max(width, 0):]
	if width <= 0 || n > uint64(len(rest)) {
		return command{}, fmt.Errorf("%w: the key's length is wrong", errBadCommand)
	}
	return command{op: o, key: string(rest[:n]), value: rest[n:]}, nil
}
