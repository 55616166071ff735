// Package raftboltdb keeps a node's log and its stable values in one bbolt file.
//
// The file is that of github.com/hashicorp/raft-boltdb v2: it can be opened by
// either, in turn. Bucket "logs" has the entries by index (8 bytes, big-endian),
// each the msgpack of a [raft.Log]; bucket "conf" has the stable values. A third
// bucket, "meta", which the other ignores, has the commit index of
// [raft.Config.RestoreCommittedLogs] under the key "commit".
//
// Every call that writes is one transaction, durable when the call returns nil
// (unless [Options.NoSync] is set). There is one writer at a time and any number
// of readers beside it.
//
// Files: bolt_store.go opens the file and has the stable values; log.go has the
// entries and the commit index; encoding.go is the entries' format; metrics.go
// and migrate.go are what their names say.
package raftboltdb
