//go:build race

package fuzzy

// shortRun is how many virtual hours TestFuzz plays without -hours. The race detector
// makes everything some ten times slower.
const shortRun = 0.25

const raceEnabled = true
