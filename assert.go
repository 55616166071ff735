package raft

import "fmt"

// assert panics if this node breaks a guarantee that it gives itself. What a
// peer, a store or a caller could cause is never asserted (R17).
func assert(ok bool, format string, args ...interface{}) {
	if !ok {
		panic("raft: assertion failed: " + fmt.Sprintf(format, args...))
	}
}
