package raftboltdb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func TestMigrateToV2(t *testing.T) {
	src := openNew(t)
	must(t, src.StoreLogs(entries(10, 300, 2)), src.SetUint64([]byte("CurrentTerm"), 2))
	want := contents(t, src)

	dst, err := MigrateToV2(closeStore(t, src), filepath.Join(t.TempDir(), "new.db"))
	must(t, err)
	defer dst.Close()
	if got := contents(t, dst); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if n, err := dst.GetUint64([]byte("CurrentTerm")); n != 2 || err != nil {
		t.Errorf("term %d, %v", n, err)
	}
	must(t, dst.StoreLogs(entries(301, 301, 2)))
}

func TestMigrateToV2Fails(t *testing.T) {
	dir := t.TempDir()
	good := closeStore(t, openNew(t))

	noLogs := filepath.Join(dir, "nologs.db")
	db, err := bbolt.Open(noLogs, 0o600, nil)
	must(t, err, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketConf)
		return err
	}), db.Close())
	exists := filepath.Join(dir, "exists")
	must(t, os.WriteFile(exists, []byte("mine"), 0o600))

	for _, tt := range []struct{ name, src, dst, want string }{
		{"destination exists", good, exists, "file exists in destination " + exists},
		{"no source", filepath.Join(dir, "none"), filepath.Join(dir, "a"), "failed opening source database: "},
		{"source is no database", exists, filepath.Join(dir, "b"), "failed opening source database: "},
		{"no directory", good, filepath.Join(dir, "none", "c"), "failed creating destination database: "},
		{"bucket missing", noLogs, filepath.Join(dir, "d"), "failed to copy logs bucket: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := MigrateToV2(tt.src, tt.dst); err == nil || s != nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if _, err := os.Stat(tt.dst); tt.dst != exists && err == nil {
				t.Error("a destination was left behind")
			}
		})
	}
	if b, _ := os.ReadFile(exists); string(b) != "mine" {
		t.Errorf("the file in the way became %q", b)
	}
}
