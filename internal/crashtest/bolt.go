package crashtest

import (
	"fmt"
	"slices"
)

// Crash is a state of a file after a crash.
type Crash struct {
	Kind  string // what of the last writes it has
	Image Image
}

// BoltCrashes returns what a crash during one write transaction of bbolt may leave of
// its file, given the file before and after. bbolt makes the file larger and flushes,
// writes pages and flushes, and writes one of the two meta pages and flushes; until then
// the other one stands for the old state, none of whose pages it has touched.
//
// There are up to limit states each of whole and of torn pages, and besides those in
// which one page is alone, missing or torn.
func BoltCrashes(before, after Image, limit int, seed uint64) []Crash {
	pages := before.changed(after)
	var metas []int64
	for len(pages) > 0 && isMeta(pages[0]) {
		metas, pages = append(metas, pages[0]), pages[1:]
	}
	crashes := []Crash{{"nothing", before}}
	grown := before
	if after.Size > before.Size {
		grown = before.resized(after.Size)
		crashes = append(crashes, Crash{"grown", grown})
	}
	crashes = append(crashes, unflushed(grown, after, pages, limit, seed)...)
	synced := merge(grown, after, pages)
	crashes = append(crashes, Crash{"all pages", synced})
	for _, n := range metas {
		crashes = append(crashes, tornMeta(synced, after, n)...)
	}
	return append(crashes, Crash{"all", after})
}

// UnflushedCrashes returns what a crash may leave of writes that were not flushed, in
// whatever order they were made: any part of them, in a file that is as long as before,
// as long as after, or anything between.
func UnflushedCrashes(before, after Image, limit int, seed uint64) (crashes []Crash) {
	pages := before.changed(after)
	var sizes []int64
	for size := before.Size; size < after.Size; size += Sector {
		sizes = append(sizes, size)
	}
	sizes = append(sizes, after.Size)
	if len(sizes) > 1 {
		states, _ := States(limit, seed, func(choose Choose) Image {
			return choosePages(before, after, pages, choose).resized(sizes[choose(len(sizes))])
		})
		crashes = name(crashes, "some pages, some size", states)
	}
	return append(crashes, unflushed(before.resized(after.Size), after, pages, limit, seed)...)
}

func isMeta(n int64) bool { return n < 2 }

// unflushed returns states in which some of some pages have been written.
func unflushed(before, after Image, pages []int64, limit int, seed uint64) []Crash {
	subsets, _ := States(limit, seed, func(choose Choose) Image {
		return choosePages(before, after, pages, choose)
	})
	crashes := name(nil, "some pages", subsets)
	if len(pages) == 0 {
		return crashes
	}
	torn, _ := States(limit, seed, func(choose Choose) Image {
		return chooseSectors(before, after, pages, choose)
	})
	crashes = name(crashes, "torn pages", torn)
	for i := 0; i < len(pages); i += 1 + len(pages)/maxSingled {
		crashes = append(crashes, singled(before, after, pages, i, limit)...)
	}
	return crashes
}

// maxSingled is about how many pages are singled out, of large writes.
const maxSingled = 16

// singled returns states in which one of some pages differs from all others, or is torn.
func singled(before, after Image, pages []int64, i, limit int) []Crash {
	n := pages[i]
	others := slices.Delete(slices.Clone(pages), i, i+1)
	missing := merge(before, after, others)
	crashes := []Crash{{"one page alone", merge(before, after, []int64{n})}, {"one page missing", missing}}
	sectors := pageSize / Sector
	step := max(1, 4*sectors/limit)
	for s := 1 + i%step; s < sectors; s += step {
		page := slices.Concat(after.page(n)[:s*Sector], before.page(n)[s*Sector:])
		crashes = append(crashes,
			Crash{"one page torn", before.with(n, page)},
			Crash{"one page torn", missing.with(n, page)})
	}
	return crashes
}

// tornMeta returns states in which a meta page has been written in part. The meta data
// is smaller than a sector, and has a checksum for disks whose sectors are not whole.
func tornMeta(before, after Image, n int64) (crashes []Crash) {
	const word = 8
	old, new := before.page(n), after.page(n)
	for at := word; at < pageSize; at += word {
		if slices.Equal(old[at-word:at], new[at-word:at]) {
			continue
		}
		crashes = append(crashes,
			Crash{"torn meta page", before.with(n, slices.Concat(new[:at], old[at:]))},
			Crash{"torn meta page", before.with(n, slices.Concat(old[:at-word], new[at-word:]))})
	}
	return crashes
}

// merge returns an image that has some pages of another.
func merge(i, from Image, pages []int64) Image {
	for _, n := range pages {
		i = i.with(n, from.page(n))
	}
	return i
}

func choosePages(before, after Image, pages []int64, choose Choose) Image {
	i := before
	for _, n := range pages {
		if choose(2) == 1 {
			i = i.with(n, after.page(n))
		}
	}
	return i
}

func chooseSectors(before, after Image, pages []int64, choose Choose) Image {
	i := before
	for _, n := range pages {
		page, new := slices.Clone(before.page(n)), after.page(n)
		for at := 0; at < pageSize; at += Sector {
			if slices.Equal(page[at:at+Sector], new[at:at+Sector]) {
				continue
			}
			if choose(2) == 1 {
				copy(page[at:], new[at:at+Sector])
			}
		}
		i = i.with(n, page)
	}
	return i
}

func name(crashes []Crash, kind string, states []Image) []Crash {
	for _, s := range states {
		crashes = append(crashes, Crash{kind, s})
	}
	return crashes
}

// Tally counts states by kind.
type Tally map[string]int

// String lists the kinds.
func (t Tally) String() string { return fmt.Sprint(map[string]int(t)) }
