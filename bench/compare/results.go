package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft/bench/compare/load"
)

// A record is what came out of one run of a peer, or of one limit. It is a line of the
// file of results.
type record struct {
	Round       int          `json:"round"`
	Peer        string       `json:"peer"`
	Args        string       `json:"args"`
	Build       string       `json:"build,omitempty"` // hash of the peer's executable
	At          time.Time    `json:"at"`
	Metrics     load.Metrics `json:"metrics,omitempty"`
	Failure     string       `json:"failure,omitempty"`
	Unsupported bool         `json:"unsupported,omitempty"` // the peer cannot do it
}

// A setting is what all results of a file have in common. It is the file's first line.
type setting struct {
	Time  string `json:"time"` // measured in each run
	Short bool   `json:"short"`
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
	OS    string `json:"os"`
}

// results are all records so far, and the file that they go to.
type results struct {
	setting setting
	records map[runID]record
	file    *os.File // nil for results that are only kept in memory
}

// A runID tells which run a record is of. A later record of the same run replaces an
// earlier one.
type runID struct {
	measurement
	round int
}

func (r record) id() runID { return runID{measurement{r.Peer, r.Args}, r.Round} }

func newResults(s setting) *results { return &results{setting: s, records: map[runID]record{}} }

// readResults reads what another run of the program wrote.
func readResults(r io.Reader) (*results, error) {
	lines := bufio.NewReader(r)
	res := newResults(setting{})
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return res, nil // a line without an end was being written when the program was killed
		}
		if err != nil {
			return nil, err
		}
		if err := res.read(n, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
}

// read takes in the nth line, from 1.
func (res *results) read(n int, line []byte) error {
	if n == 1 {
		return json.Unmarshal(line, &res.setting)
	}
	var rec record
	if err := json.Unmarshal(line, &rec); err != nil {
		return err
	}
	res.records[rec.id()] = rec
	return nil
}

// openResults returns the results in the file of that name, to which more can be added;
// it is created if it does not exist. Results under another setting are refused.
func openResults(name string, s setting) (*results, error) {
	if name == "" {
		return newResults(s), nil
	}
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	res, err := readResults(bytes.NewReader(data[:whole]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if whole > 0 && res.setting != s {
		return nil, fmt.Errorf("%s has results of another setting, %+v, not %+v: name another file", name, res.setting, s)
	}
	if res.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	if err := res.file.Truncate(int64(whole)); err != nil {
		return nil, errors.Join(err, res.file.Close())
	}
	if whole == 0 {
		res.setting = s
		err = res.append(s)
	}
	return res, err
}

// add adds a record, in the file too: what has been measured is not lost if the program
// is interrupted.
func (res *results) add(rec record) error {
	res.records[rec.id()] = rec
	return res.append(rec)
}

func (res *results) append(v any) error {
	if res.file == nil {
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = res.file.Write(append(line, '\n'))
	return err
}

func (res *results) close() error {
	if res.file == nil {
		return nil
	}
	return res.file.Close()
}

// done says whether a run need not be repeated.
func (res *results) done(id runID) bool {
	rec, ok := res.records[id]
	return ok && rec.Failure == ""
}

// otherBuild returns an error if there are results of a peer that was another program
// then: medians over both would be of neither.
func (res *results) otherBuild(peer, build string) error {
	for _, rec := range res.records {
		if rec.Peer == peer && rec.Build != build {
			return fmt.Errorf("%s has changed since round %d was measured: name another file for the results", peer, rec.Round)
		}
	}
	return nil
}

// series returns what a metric of a measurement was in each round.
func (res *results) series(m measurement, metric string) series {
	s := series{}
	for id, rec := range res.records {
		if value, ok := rec.Metrics[metric]; ok && id.measurement == m {
			s[id.round] = value
		}
	}
	return s
}

// failures returns the number of runs that failed, of all or of one measurement.
func (res *results) failures(of ...measurement) int {
	n := 0
	for id, rec := range res.records {
		if rec.Failure != "" && (len(of) == 0 || of[0] == id.measurement) {
			n++
		}
	}
	return n
}
