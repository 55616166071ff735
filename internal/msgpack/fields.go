package msgpack

import "slices"

// Names are the names of a struct's fields.
type Names struct {
	declared []string
	usual    []usualName // in ascending byte order, as go-msgpack writes them
	rank     []int       // for each declared one its place in usual
}

type usualName struct {
	encoded  string
	declared int // its position
}

// NewNames returns the names of a struct's fields in Go's order of declaration.
func NewNames(declared ...string) *Names {
	sorted := slices.Sorted(slices.Values(declared))
	n := &Names{declared: declared, usual: make([]usualName, len(declared)), rank: make([]int, len(declared))}
	for i, name := range declared {
		n.rank[i] = slices.Index(sorted, name)
		n.usual[n.rank[i]] = usualName{string(AppendString(nil, name)), i}
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
		if i := f.find(); i >= 0 && f.d.err == nil {
			f.Name = f.names.declared[i]
			return true
		}
		f.d.Skip()
	}
	return false
}

// find returns the position among the declared names of the field that comes next, or -1.
func (f *Fields) find() int {
	if f.array {
		return f.findInArray()
	}
	if usual := f.names.usual; f.at < len(usual) && f.d.has(usual[f.at].encoded) {
		f.at++
		return usual[f.at-1].declared
	}
	i := f.d.key(f.names.declared)
	if i >= 0 {
		f.at = f.names.rank[i] + 1
	}
	return i
}

func (f *Fields) findInArray() int {
	if f.at == len(f.names.declared) {
		return -1
	}
	f.at++
	return f.at - 1
}

// key reads the name of a field and returns its position in names, or -1.
func (d *Stream) key(names []string) int {
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

func position(names []string, name []byte) int {
	return slices.IndexFunc(names, func(n string) bool { return n == string(name) })
}
