//go:build !race

package fuzzy

// shortRun is how many virtual hours TestFuzz plays without -hours: a minute's worth on
// two processors.
const shortRun = 4.0

const raceEnabled = false
