package raft

import (
	"errors"
	"fmt"
	"slices"
)

// ServerSuffrage says whether a server has a vote.
type ServerSuffrage int

const (
	// Voter is a server whose vote and log count.
	Voter ServerSuffrage = iota

	// Nonvoter is a server that receives the log and counts for nothing.
	Nonvoter

	// Staging is treated as Nonvoter. Nothing creates it.
	Staging
)

// String returns the name of the constant, "ServerSuffrage" for others.
func (s ServerSuffrage) String() string {
	switch s {
	case Voter:
		return "Voter"
	case Nonvoter:
		return "Nonvoter"
	case Staging:
		return "Staging"
	default:
		return "ServerSuffrage"
	}
}

// ServerID names a server for ever; it must not be reused.
type ServerID string

// ServerAddress is where a transport reaches a server.
type ServerAddress string

// Server is a member of a cluster.
type Server struct {
	Suffrage ServerSuffrage
	ID       ServerID
	Address  ServerAddress
}

// Configuration is the membership of a cluster. No two servers share an ID or an
// address, and at least one is a voter.
type Configuration struct {
	Servers []Server
}

// Clone returns a copy that shares nothing with c.
func (c *Configuration) Clone() (copy Configuration) {
	copy.Servers = append(copy.Servers, c.Servers...)
	return copy
}

// ConfigurationChangeCommand is a kind of membership change.
type ConfigurationChangeCommand uint8

const (
	AddVoter ConfigurationChangeCommand = iota
	AddNonvoter
	DemoteVoter
	RemoveServer
	// Promote cannot be requested through the API.
	Promote
)

// AddStaging is the former name of AddVoter.
const AddStaging = 0

// String returns the name of the constant, the name of the type for others.
func (c ConfigurationChangeCommand) String() string {
	switch c {
	case AddVoter:
		return "AddVoter"
	case AddNonvoter:
		return "AddNonvoter"
	case DemoteVoter:
		return "DemoteVoter"
	case RemoveServer:
		return "RemoveServer"
	case Promote:
		return "Promote"
	default:
		return "ConfigurationChangeCommand"
	}
}

// find returns the server with an ID.
func (c Configuration) find(id ServerID) (Server, bool) {
	i := slices.IndexFunc(c.Servers, func(s Server) bool { return s.ID == id })
	if i < 0 {
		return Server{}, false
	}
	return c.Servers[i], true
}

// findAddr returns the server with an address.
func (c Configuration) findAddr(addr ServerAddress) (Server, bool) {
	i := slices.IndexFunc(c.Servers, func(s Server) bool { return s.Address == addr })
	if i < 0 {
		return Server{}, false
	}
	return c.Servers[i], true
}

// isVoter reports whether a server has a vote.
func (c Configuration) isVoter(id ServerID) bool {
	s, ok := c.find(id)
	return ok && s.Suffrage == Voter
}

// voters returns the IDs of the servers that have a vote. Every quorum is one of
// these (R13).
func (c Configuration) voters() []ServerID {
	var ids []ServerID
	for _, s := range c.Servers {
		if s.Suffrage == Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// checkConfiguration reports the first rule that a configuration breaks.
func checkConfiguration(c Configuration) error {
	ids := make(map[ServerID]bool)
	addrs := make(map[ServerAddress]bool)
	voters := 0
	for _, s := range c.Servers {
		switch {
		case s.ID == "":
			return fmt.Errorf("empty ID in configuration: %v", c)
		case s.Address == "":
			return fmt.Errorf("empty address in configuration: %v", s)
		case ids[s.ID]:
			return fmt.Errorf("found duplicate ID in configuration: %v", s.ID)
		case addrs[s.Address]:
			return fmt.Errorf("found duplicate address in configuration: %v", s.Address)
		}
		ids[s.ID], addrs[s.Address] = true, true
		if s.Suffrage == Voter {
			voters++
		}
	}
	if voters == 0 {
		return fmt.Errorf("need at least one voter in configuration: %v", c)
	}
	return nil
}

// membershipChange is one requested change of the membership.
type membershipChange struct {
	command   ConfigurationChangeCommand
	server    ServerID
	address   ServerAddress
	prevIndex uint64 // index of the configuration that it was meant for, 0 for any
}

// nextConfiguration applies a change to the latest configuration. It changes one
// server at most, so the majorities before and after always meet (§4.1 of the
// dissertation).
func nextConfiguration(current Configuration, index uint64, change membershipChange) (Configuration, error) {
	if change.prevIndex > 0 && change.prevIndex != index {
		return Configuration{}, fmt.Errorf("configuration changed since %v (latest is %v)", change.prevIndex, index)
	}
	next := current.Clone()
	at := slices.IndexFunc(next.Servers, func(s Server) bool { return s.ID == change.server })
	switch change.command {
	case AddVoter:
		next.Servers = upsert(next.Servers, at, Server{Voter, change.server, change.address})
	case AddNonvoter:
		s := Server{Nonvoter, change.server, change.address}
		if at >= 0 {
			s.Suffrage = next.Servers[at].Suffrage // a voter keeps its vote
		}
		next.Servers = upsert(next.Servers, at, s)
	case DemoteVoter:
		if at >= 0 {
			next.Servers[at].Suffrage = Nonvoter
		}
	case RemoveServer:
		if at >= 0 {
			next.Servers = slices.Delete(next.Servers, at, at+1)
		}
	default:
		return Configuration{}, fmt.Errorf("unknown configuration change: %v", change.command)
	}
	if err := checkConfiguration(next); err != nil {
		return Configuration{}, err
	}
	return next, nil
}

func upsert(servers []Server, at int, s Server) []Server {
	if at < 0 {
		return append(servers, s)
	}
	servers[at] = s
	return servers
}

// configEntry is a configuration with the index of the entry that set it.
type configEntry struct {
	index  uint64
	config Configuration
}

// configurations is every configuration from the one in force at the log's base
// upward, oldest first: so truncation falls back to the right one, and a snapshot
// at any index carries the one in force there. A configuration is in force from
// the moment it is appended (§4.1 of the dissertation).
//
// Invariant: list is never empty and its indexes increase; list[0].index is 0 for
// a node that knows no configuration.
type configurations struct {
	list []configEntry
}

func newConfigurations(base configEntry) configurations {
	return configurations{list: []configEntry{base}}
}

func (c *configurations) latest() configEntry { return c.list[len(c.list)-1] }

// at returns the configuration in force at an index.
func (c *configurations) at(index uint64) configEntry {
	for i := len(c.list) - 1; i > 0; i-- {
		if c.list[i].index <= index {
			return c.list[i]
		}
	}
	return c.list[0]
}

func (c *configurations) append(e configEntry) {
	assert(e.index > c.latest().index, "configuration %d after %d", e.index, c.latest().index)
	c.list = append(c.list, e)
}

// truncate forgets the configurations from an index on.
func (c *configurations) truncate(from uint64) {
	for len(c.list) > 1 && c.latest().index >= from {
		c.list = c.list[:len(c.list)-1]
	}
}

// compact forgets the configurations that are not in force at an index or above.
func (c *configurations) compact(index uint64) {
	for len(c.list) > 1 && c.list[1].index <= index {
		c.list = c.list[1:]
	}
}

// reset makes base the configuration in force at a new base of the log, and keeps
// those above it.
func (c *configurations) reset(at uint64, base configEntry) {
	above := slices.DeleteFunc(slices.Clone(c.list), func(e configEntry) bool { return e.index <= at })
	c.list = append([]configEntry{base}, above...)
}

// EncodeConfiguration returns the bytes of a configuration as they stand in a
// [LogConfiguration] entry.
func EncodeConfiguration(configuration Configuration) []byte {
	buf, err := encodeMsgPack(configuration)
	if err != nil {
		panic(fmt.Errorf("failed to encode configuration: %w", err)) // a struct of strings and ints encodes
	}
	return buf
}

// DecodeConfiguration is the inverse of [EncodeConfiguration]. It panics if buf
// is none of its results: it is meant for data that was checked before.
func DecodeConfiguration(buf []byte) Configuration {
	c, err := decodeConfiguration(buf)
	if err != nil {
		panic(err)
	}
	return c
}

func decodeConfiguration(buf []byte) (Configuration, error) {
	c, err := readConfiguration(buf)
	if err != nil {
		return Configuration{}, fmt.Errorf("failed to decode configuration: %w", err)
	}
	return c, nil
}

// encodePeers returns the voters in the form that protocol versions 0 and 1 know.
func encodePeers(c Configuration, trans Transport) ([]byte, error) {
	var peers [][]byte
	for _, s := range c.Servers {
		if s.Suffrage == Voter {
			peers = append(peers, trans.EncodePeer(s.ID, s.Address))
		}
	}
	buf, err := encodeMsgPack(peers)
	if err != nil {
		return nil, fmt.Errorf("failed to encode peers: %w", err)
	}
	return buf, nil
}

// decodePeers is the inverse of encodePeers; IDs are the addresses.
func decodePeers(buf []byte, trans Transport) (Configuration, error) {
	peers, err := readPeers(buf)
	if err != nil {
		return Configuration{}, fmt.Errorf("failed to decode peers: %w", err)
	}
	var c Configuration
	for _, p := range peers {
		addr := trans.DecodePeer(p)
		c.Servers = append(c.Servers, Server{Voter, ServerID(addr), addr})
	}
	return c, nil
}

// entryConfiguration returns the configuration that an entry sets, if it sets one.
func entryConfiguration(e *Log, trans Transport) (c Configuration, ok bool, err error) {
	switch e.Type {
	case LogConfiguration:
		c, err = decodeConfiguration(e.Data)
	case LogAddPeerDeprecated, LogRemovePeerDeprecated:
		c, err = decodePeers(e.Data, trans)
	default:
		return Configuration{}, false, nil
	}
	if err == nil {
		err = checkReceived(c)
	}
	if err != nil {
		return Configuration{}, false, fmt.Errorf("entry %v: %w", idOf(e), err)
	}
	return c, true, nil
}

// checkReceived refuses a configuration that no leader makes. It is laxer than
// checkConfiguration: what is in a log already must be readable.
func checkReceived(c Configuration) error {
	if len(c.voters()) == 0 {
		return errors.New("configuration without a voter")
	}
	return nil
}

// configurationLog returns the entry that sets a configuration, without index
// and term, in the form of a protocol version.
func configurationLog(c Configuration, version ProtocolVersion, trans Transport) (Log, error) {
	if version < 2 {
		peers, err := encodePeers(c, trans)
		return Log{Type: LogRemovePeerDeprecated, Data: peers}, err
	}
	return Log{Type: LogConfiguration, Data: EncodeConfiguration(c)}, nil
}
