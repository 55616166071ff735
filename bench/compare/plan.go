package main

// A measurement is what one run of a peer yields: the same one may be a part of several
// cases.
type measurement struct {
	peer string
	args string // command line, but for -dir and -time
}

// plan returns the measurements of a round, from 1: each once, those under the same
// load next to each other. The one that goes first changes from round to round, for a
// run may profit or suffer from what ran before it.
func plan(cases []testCase, round int) []measurement {
	var all []measurement
	planned := map[measurement]bool{}
	for len(cases) > 0 {
		same := 1
		for same < len(cases) && cases[same].load == cases[0].load {
			same++
		}
		var turn []measurement
		for _, c := range cases[:same] {
			for _, e := range c.entrants {
				if m := c.measurement(e); !planned[m] {
					planned[m] = true
					turn = append(turn, m)
				}
			}
		}
		all = append(all, rotated(turn, round-1)...)
		cases = cases[same:]
	}
	return all
}

// rotated returns s with its first n elements, modulo its length, moved to the end.
func rotated[T any](s []T, n int) []T {
	if len(s) == 0 {
		return nil
	}
	n %= len(s)
	return append(append([]T(nil), s[n:]...), s[:n]...)
}
