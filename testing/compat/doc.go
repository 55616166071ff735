// Package compat holds no code, only tests: that a service that uses
// hashicorp/raft together with its stores builds and runs on this library after
// one replace line in its go.mod, and that the exported API is complete.
package compat
