package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// status is the part of a node's GET /status that the driver looks at.
type status struct {
	ID       string   `json:"id"`
	State    string   `json:"state"`
	Term     uint64   `json:"term"`
	Leader   string   `json:"leader"`
	Last     uint64   `json:"last_index"`
	Commit   uint64   `json:"commit_index"`
	Applied  uint64   `json:"applied_index"`
	Snapshot uint64   `json:"snapshot_index"`
	Installs int      `json:"snapshots_installed"`
	Members  []member `json:"members"`

	Hash      string `json:"hash"`
	HashIndex uint64 `json:"hash_index"`
}

type member struct {
	ID       string `json:"id"`
	Suffrage string `json:"suffrage"`
}

// voters is how many nodes have a vote, as far as this one knows.
func (s status) voters() (n int) {
	for _, m := range s.Members {
		if m.Suffrage == "Voter" {
			n++
		}
	}
	return n
}

const statusTimeout = time.Second

// status asks a node what it thinks of itself.
func (n *node) status(ctx context.Context, client *http.Client) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.http+"/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("status of %s: %s", n.id, resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// leaders knows who led which term, from whatever was seen. The zero value knows
// nothing.
type leaders struct {
	of   map[uint64]string // by term
	led  map[string]uint64 // the newest term that a node has led
	runs map[any]uint64    // the newest term of each run of a node
}

// see takes in a status of a node's run: a term has one leader, no run's term falls,
// and no node forgets a term that it has led. (One that was killed may forget a term
// that it only knew of: it has promised nothing in it.)
func (l *leaders) see(s status, run any) error {
	if l.of == nil {
		l.of, l.led, l.runs = map[uint64]string{}, map[string]uint64{}, map[any]uint64{}
	}
	if s.Term < max(l.runs[run], l.led[s.ID]) {
		return fmt.Errorf("%s went back from term %d to %d", s.ID, max(l.runs[run], l.led[s.ID]), s.Term)
	}
	l.runs[run] = s.Term
	if s.State != "Leader" {
		return nil
	}
	if who, known := l.of[s.Term]; known && who != s.ID {
		return fmt.Errorf("two leaders of term %d: %s and %s", s.Term, who, s.ID)
	}
	l.of[s.Term], l.led[s.ID] = s.ID, s.Term
	return nil
}

// states knows the hash of the state at each index, from whatever was seen. The zero
// value knows nothing.
type states map[uint64]status

// see takes in a status: nodes at the same index have the same state.
func (at *states) see(s status) error {
	if *at == nil {
		*at = states{}
	}
	other, known := (*at)[s.HashIndex]
	if known && other.Hash != s.Hash {
		return fmt.Errorf("%s and %s differ at index %d: state %s and %s", other.ID, s.ID, s.HashIndex, other.Hash, s.Hash)
	}
	(*at)[s.HashIndex] = s
	return nil
}
