// Package raftwal keeps a node's log and its stable values in one write-ahead log: a
// directory of segment files that are only ever written at their end. Every call that
// writes costs one flush of one file, half of what a transaction of bbolt costs, and
// deleting at either end costs no more than a note.
//
// # Files
//
//	DIR/lock                    locked while the store is open
//	DIR/0000000000000007.wal    a segment; numbers rise by one
//	DIR/*.tmp                   a segment that is being made, or the file of an old
//	                            one, kept to be used again
//
// A segment begins with a header: its number, a random salt, and where the segment
// before it ends. Records follow, each at a multiple of 8 bytes. The first one repeats
// what the earlier segments say of everything but entries, so segments whose entries
// are all deleted can go. All checksums cover the salt and the place, so what a file
// held before, or what a user put into an entry, is never taken for a record.
//
// A record is durable before the next is begun. So after a crash the last record of the
// last segment, and no other, may be torn: it is dropped, nobody was told of it. Any
// other damage is an error that says where. A new segment is begun then, and after a
// write or a flush that failed, so what remains of a record lies behind the end that the
// new one notes: a part of it is never joined with a part of what is written instead.
//
// What is read at opening is made durable before anybody sees it: a process that was
// killed, or a flush that failed, leaves what can be read and is not on the disk.
//
// Files: store.go opens and closes; log.go, read.go and stable.go have the interfaces of
// raft; segment.go is a segment and how it grows; record.go is the format of records;
// replay.go reads segments; fs.go is what is needed of the operating system.
package raftwal
