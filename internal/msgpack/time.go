package msgpack

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// AppendTime appends t in the older of the two formats in use: a raw string with
// the bytes of [time.Time.MarshalBinary], which keep the zone's offset. A zone
// which that format cannot express is replaced by UTC.
func AppendTime(b []byte, t time.Time) []byte {
	at := len(b)
	b = append(b, fixRaw)
	out, err := t.AppendBinary(b)
	if err != nil {
		out, _ = t.UTC().AppendBinary(b) // UTC is always expressible
	}
	out[at] = fixRaw | byte(len(out)-at-1)
	return out
}

// AppendTimestamp appends t in the newer format: a raw string with the payload of
// msgpack's timestamp extension, but without that extension's header. The zone is
// lost; the zero time is nil.
func AppendTimestamp(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return AppendNil(b)
	}
	sec, nsec := t.Unix(), uint32(t.Nanosecond())
	switch {
	case sec < 0 || sec >= 1<<34:
		b = binary.BigEndian.AppendUint32(append(b, fixRaw|12), nsec)
		return binary.BigEndian.AppendUint64(b, uint64(sec))
	case nsec != 0 || sec > math.MaxUint32:
		return binary.BigEndian.AppendUint64(append(b, fixRaw|8), uint64(nsec)<<34|uint64(sec))
	default:
		return binary.BigEndian.AppendUint32(append(b, fixRaw|4), uint32(sec))
	}
}

// parseTime reads the payload of a raw string in either format. The older one was
// only ever written as a short string.
func parseTime(p []byte, short bool) (time.Time, error) {
	var t time.Time
	if short && t.UnmarshalBinary(p) == nil {
		return wellFormed(t), nil
	}
	return parseTimestamp(p)
}

// wellFormed returns the instant t with less than a second of nanoseconds and without
// a monotonic clock. UnmarshalBinary takes any number of nanoseconds, and a negative
// one makes a time that seems to have that clock.
func wellFormed(t time.Time) time.Time {
	return time.Unix(t.Unix(), int64(t.Nanosecond())).In(t.Location())
}

var errTimestamp = errors.New("msgpack: malformed time")

// parseTimestamp is the inverse of AppendTimestamp, given the payload.
func parseTimestamp(p []byte) (time.Time, error) {
	var sec int64
	var nsec uint64
	switch len(p) {
	case 4:
		sec = int64(binary.BigEndian.Uint32(p))
	case 8:
		v := binary.BigEndian.Uint64(p)
		sec, nsec = int64(v&(1<<34-1)), v>>34
	case 12:
		nsec = uint64(binary.BigEndian.Uint32(p))
		sec = int64(binary.BigEndian.Uint64(p[4:]))
	default:
		return time.Time{}, errTimestamp
	}
	return time.Unix(sec, int64(nsec)).UTC(), nil
}
