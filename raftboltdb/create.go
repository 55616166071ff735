package raftboltdb

import (
	"errors"
	"os"

	"go.etcd.io/bbolt"
)

// unfinished is the end of the name of a file that is being made. A crash may leave
// such a file behind; the next attempt removes it.
const unfinished = ".new"

// create makes an empty database at path, whole or not at all, unless something is
// there already. bbolt makes its file in place, and a crash meanwhile leaves one that
// it can't open any more: for most of what the disk may hold then, it panics.
//
// The name is given by a link, which never replaces the file of another process that
// was faster. Where the file system has no links, bbolt makes the file in place.
func create(path string, o *bbolt.Options) error {
	if o.ReadOnly || o.OpenFile != nil {
		return nil // nothing is to be made, or not by us
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	tmp := path + unfinished
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(tmp, fileMode, o)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	_ = os.Link(tmp, path) // on failure it is bbolt's to make the file, or to say why it can't
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
