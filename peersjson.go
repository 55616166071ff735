package raft

import (
	"bytes"
	"encoding/json"
	"os"
)

// This file reads the configurations that operators write by hand to recover a
// cluster that has lost its majority, see [RecoverCluster].

// ReadPeersJSON reads a configuration from a file in the legacy form, a JSON array
// of addresses. All servers are voters and their IDs are their addresses, as with
// protocol versions below 3.
func ReadPeersJSON(path string) (Configuration, error) {
	var peers []ServerAddress
	if err := readJSON(path, &peers); err != nil {
		return Configuration{}, err
	}
	var c Configuration
	for _, addr := range peers {
		c.Servers = append(c.Servers, Server{Voter, ServerID(addr), addr})
	}
	return checked(c)
}

// ReadConfigJSON reads a configuration from a file that holds a JSON array of
// objects:
//
//	[
//	  {"id": "node-a", "address": "10.0.0.1:8300"},
//	  {"id": "node-b", "address": "10.0.0.2:8300", "non_voter": true}
//	]
func ReadConfigJSON(path string) (Configuration, error) {
	var servers []struct {
		ID       ServerID      `json:"id"`
		Address  ServerAddress `json:"address"`
		NonVoter bool          `json:"non_voter"`
	}
	if err := readJSON(path, &servers); err != nil {
		return Configuration{}, err
	}
	var c Configuration
	for _, s := range servers {
		suffrage := Voter
		if s.NonVoter {
			suffrage = Nonvoter
		}
		c.Servers = append(c.Servers, Server{suffrage, s.ID, s.Address})
	}
	return checked(c)
}

// readJSON decodes the first JSON value of a file.
func readJSON(path string, v interface{}) error {
	buf, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(buf)).Decode(v)
}

func checked(c Configuration) (Configuration, error) {
	if err := checkConfiguration(c); err != nil {
		return Configuration{}, err
	}
	return c, nil
}
