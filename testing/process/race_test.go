//go:build race

package main

// raceEnabled makes the nodes of a test look for races if the test does.
const raceEnabled = true
