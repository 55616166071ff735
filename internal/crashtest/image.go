package crashtest

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
)

// Image is the content of a file. The zero value is an empty one. It does not change.
type Image struct {
	Size  int64
	pages map[int64][]byte // by number; what is in none is zero
}

// pageSize is that of a bbolt file, unless its options say otherwise.
var pageSize = os.Getpagesize()

// ReadImage returns the content of a file.
func ReadImage(path string) (Image, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Image{}, err
	}
	i := Image{Size: int64(len(b)), pages: map[int64][]byte{}}
	zero := make([]byte, pageSize)
	for n, page := range slices.Collect(slices.Chunk(b, pageSize)) {
		if !bytes.Equal(page, zero[:len(page)]) {
			i.pages[int64(n)] = whole(page)
		}
	}
	return i, nil
}

// whole returns a copy of a page, filled up with zeros.
func whole(page []byte) []byte {
	b := make([]byte, pageSize)
	copy(b, page)
	return b
}

// WriteFile makes a file of this content. It removes the one that is there, which
// somebody may have open still.
func (i Image) WriteFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = f.Truncate(i.Size)
	for n, page := range i.pages {
		at := n * int64(pageSize)
		if err == nil && at < i.Size {
			_, err = f.WriteAt(page[:min(int64(pageSize), i.Size-at)], at)
		}
	}
	return errors.Join(err, f.Close())
}

// page returns a page. It must not be modified.
func (i Image) page(n int64) []byte {
	if p := i.pages[n]; p != nil {
		return p
	}
	return make([]byte, pageSize)
}

// changed returns the numbers of the pages in which two images differ, in order.
func (i Image) changed(o Image) (numbers []int64) {
	all := maps.Clone(i.pages)
	if all == nil {
		all = map[int64][]byte{}
	}
	maps.Copy(all, o.pages)
	for n := range all {
		if !bytes.Equal(i.page(n), o.page(n)) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// with returns an image that has another page.
func (i Image) with(n int64, page []byte) Image {
	pages := maps.Clone(i.pages)
	if pages == nil {
		pages = map[int64][]byte{}
	}
	pages[n] = page
	return Image{i.Size, pages}
}

// resized returns an image of another size.
func (i Image) resized(size int64) Image { return Image{size, i.pages} }
