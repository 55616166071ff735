package msgpack

import "slices"

// Names are the names of a struct's fields.
type Names struct {
	declared []string
	usual    []usualName // in ascending byte order, as go-msgpack writes them
}

type usualName struct{ name, encoded string }

// NewNames returns the names of a struct's fields in Go's order of declaration.
func NewNames(declared ...string) *Names {
	n := &Names{declared: declared}
	for _, name := range slices.Sorted(slices.Values(declared)) {
		n.usual = append(n.usual, usualName{name, string(AppendString(nil, name))})
	}
	return n
}

// Struct begins to read a struct, which may come as a map of names to values or
// as an array of values in the order of declaration.
func (d *Stream) Struct(names *Names) Fields {
	f := Fields{d: d, names: names}
	c := d.next()
	switch kindOf(c) {
	case KindNil:
		f.Nil = true
	case KindMap:
		f.left = d.length(c)
	case KindArray:
		f.left, f.array = d.length(c), true
	default:
		d.Fail(errKind(KindMap, c))
	}
	return f
}

// Fields walks over the fields of a struct:
//
//	for f := d.Struct(names); f.Next(); {
//		switch f.Name {
//		case "Term":
//			v.Term = d.Uint()
//
// The value of every field that Next stops at must be read. Fields with other
// names are skipped.
type Fields struct {
	// Nil says that there is nil in place of the struct.
	Nil bool

	// Name is the field whose value is next, one of the struct's names.
	Name string

	d     *Stream
	names *Names
	left  uint64 // fields that have not been visited
	array bool
	at    int // where the next field is likely to be: in names.usual, for an array in names.declared
}

// Next goes to the next field. It returns false at the end and after an error.
func (f *Fields) Next() bool {
	for f.left > 0 && f.d.err == nil {
		f.left--
		if f.find() && f.d.err == nil {
			return true
		}
		f.d.Skip()
	}
	return false
}

// find reads the name of the field that comes next, and reports whether it is one of the
// struct's.
func (f *Fields) find() bool {
	if f.array {
		return f.findInArray()
	}
	usual := f.names.usual
	if f.at == len(usual) || !f.d.has(usual[f.at].encoded) {
		i := f.d.key(usual)
		if i < 0 {
			return false
		}
		f.at = i
	}
	f.Name = usual[f.at].name
	f.at++
	return true
}

func (f *Fields) findInArray() bool {
	if f.at == len(f.names.declared) {
		return false
	}
	f.Name = f.names.declared[f.at]
	f.at++
	return true
}

// key reads the name of a field and returns its position in names, or -1.
func (d *Stream) key(names []usualName) int {
	c := d.next()
	switch kindOf(c) {
	case KindNil: // an empty name
		return -1
	case KindRaw:
		return position(names, d.short(d.length(c)))
	case KindArray:
		return position(names, d.byteArray(d.length(c)))
	default:
		d.Fail(errKind(KindRaw, c))
		return -1
	}
}

func position(names []usualName, name []byte) int {
	return slices.IndexFunc(names, func(n usualName) bool { return n.name == string(name) })
}
