package scenarios

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/raft/testing/safety/scenarios/verdict"
)

// scenario is a history and how to go through it. run returns if the library was safe,
// and ends by one of the stage's other verdicts if not.
type scenario struct {
	id, line string
	run      func(*stage)
}

// Main is the program of a module that has chosen a library: it lists the scenarios, or
// runs one.
func Main() {
	list := flag.Bool("list", false, "list the scenarios")
	id := flag.String("run", "", "run the scenario with this ID")
	noisy := flag.Bool("log", false, "write what the library logs to standard error")
	flag.Parse()
	log := io.Discard
	if *noisy {
		log = os.Stderr
	}
	var out any
	if *list {
		out = describe()
	} else {
		s, ok := find(*id)
		if !ok {
			fmt.Fprintf(os.Stderr, "no scenario %q\n", *id)
			os.Exit(1)
		}
		out = play(s.run, log)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func describe() []verdict.Scenario {
	var list []verdict.Scenario
	for _, s := range all() {
		list = append(list, verdict.Scenario{ID: s.id, Line: s.line})
	}
	return list
}

func find(id string) (scenario, bool) {
	for _, s := range all() {
		if s.id == id {
			return s, true
		}
	}
	return scenario{}, false
}

// all returns the scenarios in the order of the table: safety first, then by number.
func all() []scenario {
	list := slices.Concat(safety, votes, reads, snapshots, liveness, replication, membership,
		lifecycle, storage, snapshotFiles, hostile, surface)
	slices.SortStableFunc(list, func(a, b scenario) int {
		ka, na, ra := order(a.id)
		kb, nb, rb := order(b.id)
		return cmp.Or(cmp.Compare(ka, kb), cmp.Compare(na, nb), cmp.Compare(ra, rb))
	})
	return list
}

// order splits an ID such as S14b into the place of its kind, its number and the rest.
func order(id string) (kind, number int, rest string) {
	kind = strings.IndexByte("SLDPFAH", id[0])
	digits := strings.TrimRight(id[1:], "abcdefghijklmnopqrstuvwxyz")
	number, _ = strconv.Atoi(digits)
	return kind, number, id[1+len(digits):]
}
