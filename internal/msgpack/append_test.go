package msgpack

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// reference encodes v as every version of the format did.
func reference(t testing.TB, v any, newTime bool) []byte {
	t.Helper()
	h := codec.MsgpackHandle{}
	h.TimeNotBuiltin = !newTime
	var buf bytes.Buffer
	if err := codec.NewEncoder(&buf, &h).Encode(v); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func checkBytes(t *testing.T, what any, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%v: got %s, want %s", what, prefix(got), prefix(want))
	}
}

func prefix(b []byte) string {
	if len(b) > 24 {
		return hex.EncodeToString(b[:24]) + "…"
	}
	return hex.EncodeToString(b)
}

// edges are the numbers at which an encoding changes its form, with neighbours.
func edges() (vs []int64) {
	for shift := range 64 {
		v := int64(1) << shift
		vs = append(vs, v-1, v, v+1, -v-1, -v, -v+1)
	}
	return append(vs, -32, -33, math.MaxInt64, math.MinInt64)
}

func TestAppendNumbers(t *testing.T) {
	for _, v := range edges() {
		checkBytes(t, v, AppendInt(nil, v), reference(t, v, false))
		checkBytes(t, uint64(v), AppendUint(nil, uint64(v)), reference(t, uint64(v), false))
	}
	for _, v := range []bool{false, true} {
		checkBytes(t, v, AppendBool(nil, v), reference(t, v, false))
	}
}

func TestAppendLengths(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("x", n)
		checkBytes(t, n, AppendString(nil, s), reference(t, s, false))
		checkBytes(t, n, AppendBytes(nil, []byte(s)), reference(t, []byte(s), false))
		checkBytes(t, n, append(AppendBytesHeader(nil, n), s...), reference(t, []byte(s), false))

		array := AppendArrayHeader(nil, n)
		pairs := AppendMapHeader(nil, n)
		m := make(map[int]bool, n)
		for i := range n {
			array = AppendBool(array, true)
			m[i] = true
		}
		values := make([]bool, n)
		for i := range values {
			values[i] = true
		}
		checkBytes(t, n, array, reference(t, values, false))
		checkBytes(t, n, pairs, reference(t, m, false)[:len(pairs)])
	}
	checkBytes(t, "nil", AppendBytes(nil, nil), []byte{0xc0})
}

// times are one of each form of either format.
func times() []time.Time {
	in := func(offset int) *time.Location { return time.FixedZone("", offset) }
	at := time.Date(2024, 5, 17, 12, 34, 56, 789012345, time.UTC)
	return []time.Time{
		{}, at, at.Truncate(time.Second),
		at.In(in(0)), at.In(in(7200)), at.In(in(-12600)),
		at.In(in(5692)), at.In(in(-5692)), at.In(time.Local),
		time.Unix(0, 0), time.Unix(-1, 0), time.Unix(-1, 999999999),
		time.Unix(1<<32-1, 0), time.Unix(1<<32, 0),
		time.Unix(1<<34-1, 999999999), time.Unix(1<<34, 0),
	}
}

func TestAppendTime(t *testing.T) {
	for _, at := range times() {
		checkBytes(t, at, AppendTime([]byte{1}, at)[1:], reference(t, at, false))
		checkBytes(t, at, AppendTimestamp([]byte{1}, at)[1:], reference(t, at, true))
	}
}

// The older format uses an offset of -1 minute as the mark of UTC, and has two
// bytes for it. The instant is what counts, so such a zone becomes UTC.
func TestAppendTimeOfUnsupportedZone(t *testing.T) {
	for _, offset := range []int{-60, 40000 * 60} {
		at := time.Unix(1715949296, 5).In(time.FixedZone("", offset))
		checkBytes(t, offset, AppendTime(nil, at), AppendTime(nil, at.UTC()))
	}
}
