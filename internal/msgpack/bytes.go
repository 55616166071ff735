package msgpack

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Bytes decodes values from a byte slice, one after the other. What it allocates
// is never more than its input, whatever lengths the input claims. After an
// error its position is undefined.
//
// Where a number, a boolean, a time or bytes are asked for, nil is read as zero.
type Bytes struct{ rest []byte }

// NewBytes returns a decoder of b. Slices read from it may alias b.
func NewBytes(b []byte) *Bytes { return &Bytes{rest: b} }

// Len returns the number of bytes not yet read.
func (d *Bytes) Len() int { return len(d.rest) }

// A Kind is what the next value is.
type Kind int

const (
	KindInvalid Kind = iota // nothing left, or a byte that starts no value
	KindNil
	KindBool
	KindInt
	KindFloat
	KindRaw // string or bytes
	KindArray
	KindMap
	KindExt
)

// Kind returns the kind of the next value without reading it.
func (d *Bytes) Kind() Kind {
	if len(d.rest) == 0 {
		return KindInvalid
	}
	return kindOf(d.rest[0])
}

func kindOf(c byte) Kind {
	switch {
	case c < fixMap || c >= negativeFixInt || c >= uint8Byte && c <= int64Byte:
		return KindInt
	case c < fixArray || c == map16 || c == map32:
		return KindMap
	case c < fixRaw || c == array16 || c == array32:
		return KindArray
	case c < nilByte || c >= raw8 && c <= raw32 || c >= bin8 && c <= bin32:
		return KindRaw
	case c == nilByte:
		return KindNil
	case c == falseByte || c == trueByte:
		return KindBool
	case c == float32Byte || c == float64Byte:
		return KindFloat
	case c >= ext8 && c <= ext32 || c >= fixExt1 && c <= fixExt16:
		return KindExt
	default:
		return KindInvalid
	}
}

// Cut skips the bytes of prefix if they are next, and reports whether they were.
func (d *Bytes) Cut(prefix string) bool {
	if len(d.rest) < len(prefix) || string(d.rest[:len(prefix)]) != prefix {
		return false
	}
	d.rest = d.rest[len(prefix):]
	return true
}

// ReadNil reads a nil if one is next, and reports whether it was.
func (d *Bytes) ReadNil() bool {
	if d.Kind() != KindNil {
		return false
	}
	d.rest = d.rest[1:]
	return true
}

// ReadMapHeader returns the number of pairs that follow. It fails if the input
// is too short for so many.
func (d *Bytes) ReadMapHeader() (int, error) { return d.readContainer(KindMap, 2) }

// ReadArrayHeader returns the number of values that follow. It fails if the
// input is too short for so many.
func (d *Bytes) ReadArrayHeader() (int, error) { return d.readContainer(KindArray, 1) }

// readContainer reads the header of a container of the given kind, whose
// elements are at least size bytes long.
func (d *Bytes) readContainer(kind Kind, size uint64) (int, error) {
	if err := d.expect(kind); err != nil {
		return 0, err
	}
	n, err := d.readLength()
	if err != nil {
		return 0, err
	}
	if n > uint64(len(d.rest))/size {
		return 0, io.ErrUnexpectedEOF
	}
	return int(n), nil
}

// ReadBytes returns the bytes of a string or of a container of numbers, nil for nil.
// A map counts as an array of its keys and values in turn, as go-msgpack has it. The
// slice may alias the input.
func (d *Bytes) ReadBytes() ([]byte, error) {
	switch d.Kind() {
	case KindNil:
		d.rest = d.rest[1:]
		return nil, nil
	case KindArray:
		n, err := d.ReadArrayHeader()
		return d.readNumbers(n, err)
	case KindMap:
		n, err := d.ReadMapHeader()
		return d.readNumbers(2*n, err)
	default:
		return d.readRaw()
	}
}

// ReadString is ReadBytes for a string.
func (d *Bytes) ReadString() (string, error) {
	b, err := d.ReadBytes()
	return string(b), err
}

func (d *Bytes) readRaw() ([]byte, error) {
	if err := d.expect(KindRaw); err != nil {
		return nil, err
	}
	n, err := d.readLength()
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// readNumbers reads n numbers as bytes, unless their header could not be read.
func (d *Bytes) readNumbers(n int, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	for i := range b {
		if b[i], err = d.ReadUint8(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// ReadUint reads a number of any width. A negative one is an error.
func (d *Bytes) ReadUint() (uint64, error) {
	v, negative, err := d.readInteger()
	if err == nil && negative {
		return 0, fmt.Errorf("msgpack: negative number %d", int64(v))
	}
	return v, err
}

// ReadUint8 is ReadUint for a number of eight bits. A larger one is an error.
func (d *Bytes) ReadUint8() (uint8, error) {
	v, err := d.ReadUint()
	if err == nil && v > math.MaxUint8 {
		return 0, errOverflow(v)
	}
	return uint8(v), err
}

// ReadInt reads a number of any width. One that is too large is an error.
func (d *Bytes) ReadInt() (int64, error) {
	v, negative, err := d.readInteger()
	if err == nil && !negative && v > math.MaxInt64 {
		return 0, errOverflow(v)
	}
	return int64(v), err
}

func errOverflow(v uint64) error { return fmt.Errorf("msgpack: number %d is too large", v) }

// readInteger returns a number as 64 bits in two's complement.
func (d *Bytes) readInteger() (v uint64, negative bool, err error) {
	if d.ReadNil() {
		return 0, false, nil
	}
	if err := d.expect(KindInt); err != nil {
		return 0, false, err
	}
	c := d.rest[0]
	d.rest = d.rest[1:]
	switch {
	case c < fixMap:
		return uint64(c), false, nil
	case c >= negativeFixInt:
		return uint64(int64(int8(c))), true, nil
	case c <= uint64Byte:
		v, err = d.bigEndian(1 << (c - uint8Byte))
		return v, false, err
	default:
		width := 1 << (c - int8Byte)
		v, err = d.bigEndian(width)
		unused := 64 - 8*width
		signed := int64(v<<unused) >> unused
		return uint64(signed), signed < 0, err
	}
}

// ReadBool reads a boolean; the numbers 0 and 1 are booleans too.
func (d *Bytes) ReadBool() (bool, error) {
	if len(d.rest) == 0 {
		return false, io.ErrUnexpectedEOF
	}
	switch c := d.rest[0]; c {
	case nilByte, falseByte, 0:
		d.rest = d.rest[1:]
		return false, nil
	case trueByte, 1:
		d.rest = d.rest[1:]
		return true, nil
	default:
		return false, errKind(KindBool, c)
	}
}

// ReadTime reads a time in either format (see AppendTime and AppendTimestamp) or
// as msgpack's timestamp extension.
func (d *Bytes) ReadTime() (time.Time, error) {
	switch d.Kind() {
	case KindNil:
		d.rest = d.rest[1:]
		return time.Time{}, nil
	case KindExt:
		return d.readTimeExt()
	default:
		return d.readTimeRaw()
	}
}

func (d *Bytes) readTimeRaw() (time.Time, error) {
	short := len(d.rest) > 0 && d.rest[0]&^0x1f == fixRaw
	p, err := d.readRaw()
	if err != nil {
		return time.Time{}, err
	}
	return parseTime(p, short)
}

// timestampTag is the type of msgpack's timestamp extension, -1.
const timestampTag = 0xff

func (d *Bytes) readTimeExt() (time.Time, error) {
	tag, p, err := d.readExt()
	if err != nil {
		return time.Time{}, err
	}
	if tag != timestampTag {
		return time.Time{}, fmt.Errorf("msgpack: extension %d is no time", int8(tag))
	}
	return parseTimestamp(p)
}

func (d *Bytes) readExt() (tag byte, payload []byte, err error) {
	n, err := d.readLength()
	if err != nil {
		return 0, nil, err
	}
	b, err := d.take(n + 1)
	if err != nil {
		return 0, nil, err
	}
	return b[0], b[1:], nil
}

// maxDepth is how deep containers may lie in each other.
const maxDepth = 1024

var errDepth = errors.New("msgpack: nested too deep")

// Skip reads one value of any kind, with all that lies in it.
func (d *Bytes) Skip() error { return d.skip(maxDepth) }

func (d *Bytes) skip(depth int) error {
	var n int
	var err error
	switch d.Kind() {
	case KindNil, KindBool:
		d.rest = d.rest[1:]
	case KindInt:
		_, _, err = d.readInteger()
	case KindFloat:
		_, err = d.take(1 + 4<<(d.rest[0]-float32Byte))
	case KindRaw:
		_, err = d.readRaw()
	case KindExt:
		_, _, err = d.readExt()
	case KindArray:
		n, err = d.ReadArrayHeader()
	case KindMap:
		n, err = d.ReadMapHeader()
		n *= 2
	default:
		err = d.expect(KindInvalid)
	}
	if n > 0 && depth == 0 {
		return errDepth
	}
	for ; n > 0 && err == nil; n-- {
		err = d.skip(depth - 1)
	}
	return err
}

// expect fails unless the next value is of the given kind.
func (d *Bytes) expect(kind Kind) error {
	if len(d.rest) == 0 {
		return io.ErrUnexpectedEOF
	}
	if c := d.rest[0]; kindOf(c) != kind || kind == KindInvalid {
		return errKind(kind, c)
	}
	return nil
}

func errKind(want Kind, c byte) error {
	if want == KindInvalid {
		return fmt.Errorf("msgpack: %#x starts no value", c)
	}
	return fmt.Errorf("msgpack: want %v, have a value that starts with %#x", want, c)
}

// readLength reads the first byte of a string, a container or an extension, and
// the length in or behind it.
func (d *Bytes) readLength() (uint64, error) {
	c := d.rest[0]
	d.rest = d.rest[1:]
	switch c {
	case raw8, bin8, ext8:
		return d.bigEndian(1)
	case raw16, bin16, ext16, array16, map16:
		return d.bigEndian(2)
	case raw32, bin32, ext32, array32, map32:
		return d.bigEndian(4)
	}
	switch {
	case c >= fixExt1:
		return 1 << (c - fixExt1), nil
	case c >= fixRaw:
		return uint64(c & 0x1f), nil
	default:
		return uint64(c & 0x0f), nil
	}
}

// bigEndian reads a number of the given width in bytes.
func (d *Bytes) bigEndian(width int) (uint64, error) {
	b, err := d.take(uint64(width))
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v, err
}

// take reads n bytes.
func (d *Bytes) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.rest)) {
		return nil, io.ErrUnexpectedEOF
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b, nil
}

// String returns the kind's name, with an article.
func (k Kind) String() string {
	switch k {
	case KindNil:
		return "nil"
	case KindBool:
		return "a boolean"
	case KindInt:
		return "an integer"
	case KindFloat:
		return "a float"
	case KindRaw:
		return "a string"
	case KindArray:
		return "an array"
	case KindMap:
		return "a map"
	case KindExt:
		return "an extension"
	default:
		return "nothing"
	}
}
