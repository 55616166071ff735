// Package msgpack reads and writes the subset of msgpack that log entries and
// messages are made of, without reflection. It writes the bytes that
// github.com/hashicorp/go-msgpack writes with the settings the format was born
// with: the raw family for strings and byte slices alike (never str 8 or bin),
// the shortest form of unsigned numbers, signed forms for signed ones. It reads
// whatever that library reads for the same fields.
//
// The Append functions extend a buffer and return it; lengths are below 2^32.
// [Bytes] decodes from a byte slice. Nothing here knows a Raft type.
package msgpack
