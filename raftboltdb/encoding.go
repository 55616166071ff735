package raftboltdb

import (
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft/internal/msgpack"
)

// An entry is the msgpack map of its six fields, in the order of their names.
// That is what go-msgpack makes of a raft.Log, by reflection; the bytes are those
// of an entry on the wire too.

// appendEntry appends the encoding of l.
func appendEntry(b []byte, l *raft.Log, newTime bool) []byte {
	b = msgpack.AppendMapHeader(b, 6)
	b = msgpack.AppendString(b, "AppendedAt")
	if newTime {
		b = msgpack.AppendTimestamp(b, l.AppendedAt)
	} else {
		b = msgpack.AppendTime(b, l.AppendedAt)
	}
	b = msgpack.AppendString(b, "Data")
	b = msgpack.AppendBytes(b, l.Data)
	b = msgpack.AppendString(b, "Extensions")
	b = msgpack.AppendBytes(b, l.Extensions)
	b = msgpack.AppendString(b, "Index")
	b = msgpack.AppendUint(b, l.Index)
	b = msgpack.AppendString(b, "Term")
	b = msgpack.AppendUint(b, l.Term)
	b = msgpack.AppendString(b, "Type")
	return msgpack.AppendUint(b, uint64(l.Type))
}

// decodeEntry decodes an entry, which may alias b. Whatever go-msgpack reads as an entry
// is read: fields in any order, missing (then zero) or unknown (then skipped), numbers of
// any width, and an array instead of the map.
func decodeEntry(b []byte) (raft.Log, error) {
	var l raft.Log
	if decodeWritten(b, &l) {
		return l, nil
	}
	l = raft.Log{}
	d := msgpack.NewBytes(b)
	var err error
	switch d.Kind() {
	case msgpack.KindNil:
	case msgpack.KindArray:
		err = decodeArray(d, &l)
	default:
		err = decodeMap(d, &l)
	}
	if err != nil {
		return raft.Log{}, err
	}
	return l, nil
}

// decodeWritten decodes an entry in the form that appendEntry gives it, which is much
// faster than to look for each field. It reports false for any other form, and for what
// is malformed: l is undefined then.
func decodeWritten(b []byte, l *raft.Log) bool {
	d := msgpack.NewBytes(b)
	if !d.Cut("\x86\xaaAppendedAt") {
		return false
	}
	var err error
	if l.AppendedAt, err = d.ReadTime(); err != nil || !d.Cut("\xa4Data") {
		return false
	}
	if l.Data, err = d.ReadBytes(); err != nil || !d.Cut("\xaaExtensions") {
		return false
	}
	if l.Extensions, err = d.ReadBytes(); err != nil || !d.Cut("\xa5Index") {
		return false
	}
	if l.Index, err = d.ReadUint(); err != nil || !d.Cut("\xa4Term") {
		return false
	}
	if l.Term, err = d.ReadUint(); err != nil || !d.Cut("\xa4Type") {
		return false
	}
	t, err := d.ReadUint8()
	l.Type = raft.LogType(t)
	return err == nil
}

func decodeMap(d *msgpack.Bytes, l *raft.Log) error {
	n, err := d.ReadMapHeader()
	for ; n > 0 && err == nil; n-- {
		var name []byte
		if name, err = d.ReadBytes(); err == nil {
			err = decodeField(d, string(name), l)
		}
	}
	return err
}

// declared are the fields in the order of an array.
var declared = [...]string{"Index", "Term", "Type", "Data", "Extensions", "AppendedAt"}

func decodeArray(d *msgpack.Bytes, l *raft.Log) error {
	n, err := d.ReadArrayHeader()
	for i := 0; i < n && err == nil; i++ {
		name := ""
		if i < len(declared) {
			name = declared[i]
		}
		err = decodeField(d, name, l)
	}
	return err
}

func decodeField(d *msgpack.Bytes, name string, l *raft.Log) (err error) {
	switch name {
	case "Index":
		l.Index, err = d.ReadUint()
	case "Term":
		l.Term, err = d.ReadUint()
	case "Type":
		var t uint8
		t, err = d.ReadUint8()
		l.Type = raft.LogType(t)
	case "Data":
		l.Data, err = d.ReadBytes()
	case "Extensions":
		l.Extensions, err = d.ReadBytes()
	case "AppendedAt":
		l.AppendedAt, err = d.ReadTime()
	default:
		err = d.Skip()
	}
	return err
}
