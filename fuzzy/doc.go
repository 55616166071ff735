// Package fuzzy plays random clusters of whole nodes, many hours of virtual time in
// some minutes, and looks whether anything goes wrong that must not. It is the engine
// of testing/rafttest, Simulate, with two more judges: a watch that sees every request
// and everything that reaches a disk, and porcupine, which searches the histories of
// clients without knowing of the log. README.md says how to run it.
package fuzzy
