package crashtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestStates(t *testing.T) {
	build := func(choose Choose) string {
		s := fmt.Sprint(choose(2))
		if s == "1" { // what there is to choose may depend on what was chosen
			s += fmt.Sprint(choose(3))
		}
		return s
	}
	states, all := States(4, 1, build)
	if want := []string{"0", "10", "11", "12"}; !slices.Equal(states, want) || !all {
		t.Errorf("states %v, all %t, want %v", states, all, want)
	}
	states, all = States(3, 1, build)
	if len(states) != 3 || states[0] != "0" || states[1] != "12" || all {
		t.Errorf("a sample: %v, all %t", states, all)
	}
	again, _ := States(3, 1, build)
	if !slices.Equal(states, again) {
		t.Errorf("the same seed made %v and %v", states, again)
	}
}

func TestImage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := make([]byte, 3*pageSize+100)
	copy(content[pageSize:], "page 1")
	copy(content[3*pageSize:], "page 3")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := ReadImage(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := (Image{}).changed(image), []int64{1, 3}; !slices.Equal(got, want) {
		t.Errorf("pages %v differ from nothing, want %v", got, want)
	}
	if err := image.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !slices.Equal(got, content) {
		t.Errorf("read %d bytes back, %v", len(got), err)
	}
}

// A transaction of two pages and a meta page: nothing of it comes before what it depends
// on, unless nothing was flushed.
func TestBoltCrashes(t *testing.T) {
	page := func(c byte) []byte { return slices.Repeat([]byte{c}, pageSize) }
	before := Image{Size: int64(4 * pageSize)}.with(0, page('m'))
	after := before.with(1, page('M')).with(2, page('a')).with(3, page('b'))
	early := func(i Image) bool {
		return !slices.Equal(i.page(1), make([]byte, pageSize)) &&
			!(slices.Equal(i.page(2), page('a')) && slices.Equal(i.page(3), page('b')))
	}
	for _, c := range BoltCrashes(before, after, 8, 1) {
		if early(c.Image) {
			t.Errorf("%s: the meta page comes before the others", c.Kind)
		}
	}
	if !slices.ContainsFunc(UnflushedCrashes(before, after, 8, 1), func(c Crash) bool { return early(c.Image) }) {
		t.Error("without a flush the meta page does not come before the others")
	}
}
