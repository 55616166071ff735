package main

// A relation is a rate beside another one that it is judged by, in the same rounds.
type relation struct {
	name    string
	entrant entrant
	rate    series
	to      string // what the other is
	beside  series
}

// relations returns all relations, whether there are results of them or not.
func relations(cases []testCase, res *results) []relation {
	var all []relation
	find := func(name string) (testCase, bool) {
		for _, c := range cases {
			if c.name() == name {
				return c, true
			}
		}
		return testCase{}, false
	}
	add := func(name, to string, beside func(e entrant) series) {
		c, ok := find(name)
		if !ok {
			return
		}
		for _, e := range c.entrants {
			all = append(all, relation{name, e, res.series(c.measurement(e), "rate"), to, beside(e)})
		}
	}
	besideCase := func(name, to string) {
		if other, ok := find(to); ok {
			add(name, to, func(e entrant) series { return res.series(other.measurement(e), "rate") })
		}
	}

	trip := limitOf(res, roundTrip, 1)
	for _, b := range []struct{ store, limit string }{{"bolt", commit1}, {"wal", overwriting}} {
		rate := bound(limitOf(res, b.limit, 3), trip)
		add("write/"+b.store+"/c1", b.limit+" x3 + "+roundTrip, func(entrant) series { return rate })
	}
	for _, store := range []string{"bolt", "wal"} {
		besideCase("biglog/"+store+"/c64", "write/"+store+"/c64")
		for _, nodes := range []string{"n5", "n7"} {
			for _, clients := range []string{"c64", "c256"} {
				besideCase("nodes/"+store+"/"+nodes+"/"+clients, "nodes/"+store+"/n3/"+clients)
			}
		}
	}
	return all
}

func limitOf(res *results, name string, workers int) limitRate {
	return limitRate{res.series(limit{name: name, workers: workers}.measurement(), "rate"), workers}
}
