package msgpack

import (
	"encoding/binary"
	"math"
)

// Format bytes. A fixed form carries its value or length in the low bits.
const (
	fixMap   = 0x80
	fixArray = 0x90
	fixRaw   = 0xa0

	nilByte   = 0xc0
	falseByte = 0xc2
	trueByte  = 0xc3

	bin8  = 0xc4
	bin16 = 0xc5
	bin32 = 0xc6

	ext8  = 0xc7
	ext16 = 0xc8
	ext32 = 0xc9

	float32Byte = 0xca
	float64Byte = 0xcb

	uint8Byte  = 0xcc
	uint16Byte = 0xcd
	uint32Byte = 0xce
	uint64Byte = 0xcf

	int8Byte  = 0xd0
	int16Byte = 0xd1
	int32Byte = 0xd2
	int64Byte = 0xd3

	fixExt1  = 0xd4
	fixExt4  = 0xd6
	fixExt8  = 0xd7
	fixExt16 = 0xd8

	raw8  = 0xd9
	raw16 = 0xda
	raw32 = 0xdb

	array16 = 0xdc
	array32 = 0xdd
	map16   = 0xde
	map32   = 0xdf

	negativeFixInt = 0xe0
)

// AppendNil appends nil.
func AppendNil(b []byte) []byte { return append(b, nilByte) }

// AppendBool appends a boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, trueByte)
	}
	return append(b, falseByte)
}

// AppendUint appends v as an unsigned number in the shortest form.
func AppendUint(b []byte, v uint64) []byte {
	switch {
	case v <= math.MaxInt8:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, uint8Byte, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, uint16Byte), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, uint32Byte), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, uint64Byte), v)
	}
}

// AppendInt appends v as a signed number. Positive values above 127 take a
// signed form too, of 16 bits at least: 128 is d1 00 80.
func AppendInt(b []byte, v int64) []byte {
	switch {
	case v >= -32 && v <= math.MaxInt8:
		return append(b, byte(v))
	case v >= math.MinInt8 && v < 0:
		return append(b, int8Byte, byte(v))
	case v >= math.MinInt16 && v <= math.MaxInt16:
		return binary.BigEndian.AppendUint16(append(b, int16Byte), uint16(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		return binary.BigEndian.AppendUint32(append(b, int32Byte), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, int64Byte), uint64(v))
	}
}

// AppendString appends s in the raw family.
func AppendString(b []byte, s string) []byte {
	return append(appendRawHeader(b, len(s)), s...)
}

// AppendBytes appends v in the raw family, or nil if v is nil: a nil slice and
// an empty one are told apart.
func AppendBytes(b, v []byte) []byte {
	if v == nil {
		return AppendNil(b)
	}
	return append(appendRawHeader(b, len(v)), v...)
}

// AppendBytesHeader appends what AppendBytes puts before the n bytes of a slice
// that is not nil, for a caller that sends the bytes themselves from elsewhere.
func AppendBytesHeader(b []byte, n int) []byte { return appendRawHeader(b, n) }

// AppendMapHeader opens a map; n keys and n values, in turn, must follow.
func AppendMapHeader(b []byte, n int) []byte {
	return appendHeader(b, n, header{fixMap, 16, map16, map32})
}

// AppendArrayHeader opens an array; n values must follow.
func AppendArrayHeader(b []byte, n int) []byte {
	return appendHeader(b, n, header{fixArray, 16, array16, array32})
}

func appendRawHeader(b []byte, n int) []byte {
	return appendHeader(b, n, header{fixRaw, 32, raw16, raw32})
}

// A header is how one family of values writes its length: fixed|n below limit,
// then with 16 bits, then with 32.
type header struct {
	fixed      byte
	limit      int
	wide, huge byte
}

func appendHeader(b []byte, n int, h header) []byte {
	switch {
	case n < h.limit:
		return append(b, h.fixed|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, h.wide), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, h.huge), uint32(n))
	}
}
