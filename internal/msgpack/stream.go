package msgpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Stream decodes values from a connection, one after the other. It reads not a
// byte beyond the value asked for, and what it allocates grows with the bytes
// that have arrived, never with a length that they claim.
//
// The first error sticks: from then on everything reads as nil, that is as zero,
// and containers as empty. So a decoder of a message need not look at errors
// until its end. A stream that ends within a value fails with
// [io.ErrUnexpectedEOF]. Where a number, a boolean, a time or bytes are asked
// for, nil is read as zero.
type Stream struct {
	r    *bufio.Reader
	err  error
	room []byte // for short strings, see ShortBytes
}

const (
	// maxShort is the longest key or time that can mean something to anybody.
	maxShort = 64

	// firstStep is how many bytes of a string are allocated before any of them
	// has arrived.
	firstStep = 64 << 10

	// shortString and roomSize bound the strings that share memory, and how much
	// they share.
	shortString = 512
	roomSize    = 2 << 10

	// maxRaw is the longest string that is accepted.
	maxRaw = 1 << 30

	// maxPending is how many values may be announced and still missing when one
	// is skipped.
	maxPending = 1 << 40
)

var errTooLong = errors.New("msgpack: value is too long")

// NewStream returns a decoder that reads from r, whose buffer has 64 bytes or more. Others
// may read from r between two values.
func NewStream(r *bufio.Reader) *Stream { return &Stream{r: r} }

// Err returns the first error, if there was one.
func (d *Stream) Err() error { return d.err }

// Fail makes err the stream's error, unless it has one already. It is for
// callers that find a value well-formed but unacceptable.
func (d *Stream) Fail(err error) {
	if d.err != nil {
		return
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	d.err = err
}

// Uint reads a number of any width. A negative one is an error.
func (d *Stream) Uint() uint64 {
	v, negative := d.integer()
	if negative {
		d.Fail(fmt.Errorf("msgpack: negative number %d", int64(v)))
		return 0
	}
	return v
}

// Uint8 is Uint for a number of eight bits. A larger one is an error.
func (d *Stream) Uint8() uint8 {
	v := d.Uint()
	if v > math.MaxUint8 {
		d.Fail(errOverflow(v))
		return 0
	}
	return uint8(v)
}

// Int64 reads a number of any width. One that is too large is an error.
func (d *Stream) Int64() int64 {
	v, negative := d.integer()
	if !negative && v > math.MaxInt64 {
		d.Fail(errOverflow(v))
		return 0
	}
	return int64(v)
}

// Int is Int64 for the machine's own width.
func (d *Stream) Int() int {
	v := d.Int64()
	if int64(int(v)) != v {
		d.Fail(errOverflow(uint64(v)))
		return 0
	}
	return int(v)
}

// Bool reads a boolean; the numbers 0 and 1 are booleans too.
func (d *Stream) Bool() bool {
	switch c := d.next(); c {
	case nilByte, falseByte, 0:
		return false
	case trueByte, 1:
		return true
	default:
		d.Fail(errKind(KindBool, c))
		return false
	}
}

// Bytes reads a string or a container of numbers as a slice of its own, nil for nil.
// A map counts as an array of its keys and values in turn, as go-msgpack has it.
func (d *Stream) Bytes() []byte { return d.bytes(d.next()) }

// ShortBytes is Bytes, of which a short result shares its memory with those before and
// after it: somebody who keeps one keeps up to 2 KiB of others alive. The caller says
// how many are likely to come, this one included.
func (d *Stream) ShortBytes(expected int) []byte {
	c := d.next()
	if kindOf(c) != KindRaw {
		return d.bytes(c)
	}
	n := d.length(c)
	if n == 0 || n > shortString {
		return d.take(n)
	}
	if n > uint64(len(d.room)) {
		d.room = make([]byte, min(roomSize, int(n)*max(expected, 1)))
	}
	b := d.room[:n:n]
	d.room = d.room[n:]
	d.full(b)
	return b
}

// bytes reads what Bytes returns behind its first byte.
func (d *Stream) bytes(c byte) []byte {
	switch kindOf(c) {
	case KindNil:
		return nil
	case KindRaw:
		return d.take(d.length(c))
	case KindArray:
		return d.byteArray(d.length(c))
	case KindMap:
		return d.byteArray(2 * d.length(c))
	default:
		d.Fail(errKind(KindRaw, c))
		return nil
	}
}

// String is Bytes for a string.
func (d *Stream) String() string { return string(d.Bytes()) }

// Time reads a time in either format (see AppendTime and AppendTimestamp) or as
// msgpack's timestamp extension.
func (d *Stream) Time() time.Time {
	c := d.next()
	var t time.Time
	var err error
	switch kindOf(c) {
	case KindNil:
		return time.Time{}
	case KindExt:
		t, err = d.timeExt(c)
	case KindRaw:
		t, err = d.timeRaw(c)
	default:
		err = errKind(KindRaw, c)
	}
	if err != nil {
		d.Fail(err)
		return time.Time{}
	}
	return t
}

// Array reads the header of an array, whose values the caller reads next, or of a
// map, see Bytes. It reports nil apart from an array of no values. The length is only
// a claim.
func (d *Stream) Array() (n uint64, isNil bool) {
	c := d.next()
	switch kindOf(c) {
	case KindNil:
		return 0, true
	case KindArray:
		return d.length(c), false
	case KindMap:
		return 2 * d.length(c), false
	default:
		d.Fail(errKind(KindArray, c))
		return 0, false
	}
}

// Skip reads one value of any kind, with all that lies in it. It counts what is
// missing instead of descending, so nesting costs nothing however deep it is.
func (d *Stream) Skip() {
	for pending := uint64(1); pending > 0 && d.err == nil; pending-- {
		pending += d.skipOne()
		if pending > maxPending {
			d.Fail(errTooLong)
		}
	}
}

// skipOne skips a simple value, or the header of a container, whose number of
// values it returns.
func (d *Stream) skipOne() (contained uint64) {
	c := d.next()
	switch kindOf(c) {
	case KindNil, KindBool:
	case KindInt:
		d.integerFrom(c)
	case KindFloat:
		d.discard(4 << (c - float32Byte))
	case KindRaw:
		d.discard(d.length(c))
	case KindExt:
		d.discard(d.length(c) + 1)
	case KindArray:
		return d.length(c)
	case KindMap:
		return 2 * d.length(c)
	default:
		d.Fail(errKind(KindInvalid, c))
	}
	return 0
}

func (d *Stream) integer() (v uint64, negative bool) { return d.integerFrom(d.next()) }

// integerFrom reads the rest of the number that starts with c, as 64 bits in
// two's complement.
func (d *Stream) integerFrom(c byte) (v uint64, negative bool) {
	switch {
	case c < fixMap:
		return uint64(c), false
	case c >= negativeFixInt:
		return uint64(int64(int8(c))), true
	case c >= uint8Byte && c <= uint64Byte:
		return d.bigEndian(1 << (c - uint8Byte)), false
	case c >= int8Byte && c <= int64Byte:
		width := 1 << (c - int8Byte)
		unused := 64 - 8*width
		signed := int64(d.bigEndian(width)<<unused) >> unused
		return uint64(signed), signed < 0
	case c == nilByte:
		return 0, false
	default:
		d.Fail(errKind(KindInt, c))
		return 0, false
	}
}

// length returns the length of the string, container or extension that starts
// with c; it lies in c or behind it.
func (d *Stream) length(c byte) uint64 {
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
		return 1 << (c - fixExt1)
	case c >= fixRaw:
		return uint64(c & 0x1f)
	default:
		return uint64(c & 0x0f)
	}
}

// timeRaw reads the rest of a time in a string that starts with c.
func (d *Stream) timeRaw(c byte) (time.Time, error) {
	p := d.short(d.length(c))
	return parseTime(p, c&^0x1f == fixRaw)
}

// timeExt reads the rest of a time in an extension that starts with c.
func (d *Stream) timeExt(c byte) (time.Time, error) {
	n := d.length(c)
	tag := d.bigEndian(1)
	if tag != timestampTag {
		return time.Time{}, errTimestamp
	}
	return parseTimestamp(d.short(n))
}

// short returns the next n bytes, which stay until more is read. More than any name or
// time has are skipped, and nil is returned.
func (d *Stream) short(n uint64) []byte {
	if n > maxShort {
		d.discard(n)
		return nil
	}
	if d.err != nil {
		return nil
	}
	b, err := d.r.Peek(int(n))
	if err != nil {
		d.Fail(err)
		return nil
	}
	_, _ = d.r.Discard(int(n)) // they are buffered
	return b
}

// has reads what comes next if it is this, and has arrived.
func (d *Stream) has(encoded string) bool {
	if d.err != nil || d.r.Buffered() < len(encoded) {
		return false
	}
	b, _ := d.r.Peek(len(encoded))
	if string(b) != encoded {
		return false
	}
	_, _ = d.r.Discard(len(encoded))
	return true
}

// byteArray reads n numbers as bytes.
func (d *Stream) byteArray(n uint64) []byte {
	b := []byte{}
	for ; n > 0 && d.err == nil; n-- {
		b = append(b, d.Uint8())
	}
	return b
}

// take reads n bytes into a slice of exactly that capacity. What is allocated
// before the bytes are there is at most firstStep or what is already buffered,
// later at most as much again as has arrived.
func (d *Stream) take(n uint64) []byte {
	if n > maxRaw {
		d.Fail(errTooLong)
		return nil
	}
	b := make([]byte, min(int(n), max(firstStep, d.r.Buffered())))
	d.full(b)
	for len(b) < int(n) && d.err == nil {
		longer := make([]byte, min(int(n), 2*len(b)))
		d.full(longer[copy(longer, b):])
		b = longer
	}
	return b
}

// next reads the first byte of a value.
func (d *Stream) next() byte {
	if d.err != nil {
		return nilByte
	}
	c, err := d.r.ReadByte()
	if err != nil {
		d.Fail(err)
		return nilByte
	}
	return c
}

// bigEndian reads a number of the given width in bytes.
func (d *Stream) bigEndian(width int) (v uint64) {
	for _, c := range d.short(uint64(width)) {
		v = v<<8 | uint64(c)
	}
	return v
}

// full fills b, with zeros after an error.
func (d *Stream) full(b []byte) {
	if d.err == nil {
		if _, err := io.ReadFull(d.r, b); err != nil {
			d.Fail(err)
		}
	}
	if d.err != nil {
		clear(b)
	}
}

// discard skips n bytes.
func (d *Stream) discard(n uint64) {
	for n > 0 && d.err == nil {
		step := min(n, maxRaw)
		if _, err := d.r.Discard(int(step)); err != nil {
			d.Fail(err)
		}
		n -= step
	}
}
