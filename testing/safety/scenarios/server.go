package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// server is a node of the library under test.
type server struct {
	*raft.Raft // nil until start
	stage      *stage
	id         raft.ServerID
	addr       raft.ServerAddress
	conf       *raft.Config
	machine    *machine
	fsm        raft.FSM // the machine, unless a scenario has one of its own
	disk       *disk
	end        *endpoint
	transport  raft.Transport // the end, unless a scenario has one of its own
	tracker    raft.LogStore  // instead of the disk's log
}

// server returns a node that has not been started. Its timeouts are so long that it
// does nothing unless told.
func (s *stage) server(id raft.ServerID) *server {
	conf := raft.DefaultConfig()
	conf.LocalID = id
	conf.LogOutput = s.log
	conf.CommitTimeout = 10 * time.Millisecond
	n := &server{stage: s, id: id, addr: addressOf(id), conf: conf, machine: new(machine), disk: newDisk()}
	n.fsm = n.machine
	n.end = s.net.join(id, n.addr)
	n.transport = n.end
	n.timeouts(time.Minute)
	return n
}

func addressOf(id raft.ServerID) raft.ServerAddress { return "addr-" + raft.ServerAddress(id) }

// timeouts sets all the timeouts of elections and leases.
func (n *server) timeouts(d time.Duration) *server {
	n.conf.HeartbeatTimeout, n.conf.ElectionTimeout, n.conf.LeaderLeaseTimeout = d, d, d
	return n
}

// holds puts entries into the log before the start, and the term of the last one.
func (n *server) holds(entries ...*raft.Log) *server {
	n.stage.must(n.disk.logs.StoreLogs(entries))
	return n.inTerm(entries[len(entries)-1].Term)
}

// inTerm sets the term on disk before the start.
func (n *server) inTerm(term uint64) *server {
	n.stage.must(n.disk.stable.SetUint64([]byte("CurrentTerm"), term))
	return n
}

// start starts the node.
func (n *server) start() *server {
	n.stage.must(n.tryStart())
	return n
}

func (n *server) tryStart() error {
	logs := n.tracker
	if logs == nil {
		logs = n.disk.logs
	}
	r, err := raft.NewRaft(n.conf, n.fsm, logs, n.disk.stable, n.disk.snaps, n.transport)
	n.Raft = r
	return err
}

// restarted returns a node that starts on a disk in place of this one, which is left to
// itself without a network.
func (n *server) restarted(d *disk) *server {
	next := n.stage.server(n.id)
	next.disk = d
	return next
}

// shown waits until the FSM holds exactly these commands.
func (n *server) shown(commands ...string) {
	n.stage.await(fmt.Sprintf("the FSM of %s to hold %q", n.id, commands), func() bool {
		return same(n.machine.commands(), commands...)
	})
}

// leads makes the node the leader, of a term above its present one: a peer says that it
// leads, and hands over.
func (n *server) leads(by *peer) {
	by.heartbeat(n, n.CurrentTerm()+1)
	by.timeoutNow(n)
	n.stage.await("the node to lead", func() bool { return n.State() == raft.Leader })
}

// settled waits until the leader has committed the first entry of its term, or later
// ones.
func (n *server) settled() { n.stage.succeed(n.Barrier(patience)) }

// peer is another server of the cluster, which follows a script. By default it is a
// follower that grants and accepts everything.
type peer struct {
	*endpoint
	stage *stage
	on    reaction // see answer
	seen  record
}

// reaction answers a request in the place of the default if the answer or the error
// is not nil. It may block. Several goroutines may call it at a time.
type reaction func(req any) (any, error)

func (s *stage) peer(id raft.ServerID) *peer {
	p := &peer{stage: s, endpoint: s.net.join(id, addressOf(id))}
	p.script = p.answer
	return p
}

// behave sets what the peer does from now on; nil is the default.
func (p *peer) behave(on reaction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
}

func (p *peer) answer(req any, body io.Reader) (any, error) {
	p.seen.add(req)
	p.mu.Lock()
	on := p.on
	p.mu.Unlock()
	if on != nil {
		if answer, err := on(req); answer != nil || err != nil {
			return answer, err
		}
	}
	switch req := req.(type) {
	case *raft.AppendEntriesRequest:
		return p.accept(req), nil
	case *raft.RequestVoteRequest:
		return &raft.RequestVoteResponse{RPCHeader: p.header(), Term: req.Term, Granted: true}, nil
	case *raft.RequestPreVoteRequest:
		return &raft.RequestPreVoteResponse{RPCHeader: p.header(), Term: req.Term, Granted: true}, nil
	case *raft.InstallSnapshotRequest:
		_, err := io.Copy(io.Discard, body)
		return &raft.InstallSnapshotResponse{Term: req.Term, Success: err == nil}, err
	case *raft.TimeoutNowRequest:
		return &raft.TimeoutNowResponse{}, nil
	default:
		return nil, fmt.Errorf("unexpected %T", req)
	}
}

// accept is the answer to an append that was stored.
func (p *peer) accept(req *raft.AppendEntriesRequest) *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{
		RPCHeader: p.header(), Term: req.Term, Success: true,
		LastLog: req.PrevLogEntry + uint64(len(req.Entries)),
	}
}

// refuse is the answer of a follower whose log ends at last, to an append that does not
// fit it.
func (p *peer) refuse(req *raft.AppendEntriesRequest, last uint64) *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{RPCHeader: p.header(), Term: req.Term, LastLog: last, NoRetryBackoff: true}
}

// ahead is the answer of a server that knows of a newer term.
func (p *peer) ahead(term uint64) *raft.AppendEntriesResponse {
	return &raft.AppendEntriesResponse{RPCHeader: p.header(), Term: term}
}

func (p *peer) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(p.id), Addr: []byte(p.addr)}
}

// append sends entries as a leader does.
func (p *peer) append(to *server, term, prev, prevTerm, commit uint64, entries ...*raft.Log) *raft.AppendEntriesResponse {
	resp, err := p.tryAppend(to, term, prev, prevTerm, commit, entries...)
	p.stage.must(err)
	return resp
}

func (p *peer) tryAppend(to *server, term, prev, prevTerm, commit uint64, entries ...*raft.Log) (*raft.AppendEntriesResponse, error) {
	var resp raft.AppendEntriesResponse
	err := p.AppendEntries(to.id, to.addr, &raft.AppendEntriesRequest{
		RPCHeader: p.header(), Term: term,
		PrevLogEntry: prev, PrevLogTerm: prevTerm, LeaderCommitIndex: commit, Entries: entries,
	}, &resp)
	return &resp, err
}

// heartbeat says that the peer leads in a term.
func (p *peer) heartbeat(to *server, term uint64) { p.append(to, term, 0, 0, 0) }

// asksVote asks for a vote and reports whether it was granted.
func (p *peer) asksVote(to *server, term, last, lastTerm uint64) bool {
	var resp raft.RequestVoteResponse
	p.stage.must(p.RequestVote(to.id, to.addr, p.voteRequest(term, last, lastTerm), &resp))
	return resp.Granted
}

func (p *peer) voteRequest(term, last, lastTerm uint64) *raft.RequestVoteRequest {
	return &raft.RequestVoteRequest{
		RPCHeader: p.header(), Term: term, LastLogIndex: last, LastLogTerm: lastTerm,
	}
}

func (p *peer) timeoutNow(to *server) {
	p.stage.must(p.TimeoutNow(to.id, to.addr, &raft.TimeoutNowRequest{RPCHeader: p.header()}, new(raft.TimeoutNowResponse)))
}

// sendSnapshot sends a snapshot of a machine with these commands.
func (p *peer) sendSnapshot(to *server, term, index, indexTerm uint64, conf raft.Configuration, commands ...string) *raft.InstallSnapshotResponse {
	state := encodeState(commands...)
	resp, err := p.trySnapshot(to, p.snapshotRequest(term, index, indexTerm, conf, len(state)), bytes.NewReader(state))
	p.stage.must(err)
	return resp
}

func (p *peer) trySnapshot(to *server, req *raft.InstallSnapshotRequest, state io.Reader) (*raft.InstallSnapshotResponse, error) {
	var resp raft.InstallSnapshotResponse
	err := p.InstallSnapshot(to.id, to.addr, req, &resp, state)
	return &resp, err
}

func (p *peer) snapshotRequest(term, index, indexTerm uint64, conf raft.Configuration, size int) *raft.InstallSnapshotRequest {
	return &raft.InstallSnapshotRequest{
		RPCHeader: p.header(), SnapshotVersion: 1, Term: term,
		LastLogIndex: index, LastLogTerm: indexTerm,
		Configuration: raft.EncodeConfiguration(conf), ConfigurationIndex: 1, Size: int64(size),
	}
}

var errRefused = errors.New("the peer does not answer")

// silent makes a peer that answers nothing.
func silent(any) (any, error) { return nil, errRefused }

// voters returns a configuration of voters.
func voters(ids ...raft.ServerID) (c raft.Configuration) {
	for _, id := range ids {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: id, Address: addressOf(id)})
	}
	return c
}

// withNonvoters adds non-voters to a configuration.
func withNonvoters(c raft.Configuration, ids ...raft.ServerID) raft.Configuration {
	for _, id := range ids {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Nonvoter, ID: id, Address: addressOf(id)})
	}
	return c
}

// command is an entry of the log with a command.
func command(index, term uint64, data string) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: []byte(data)}
}

// commandsOf returns the entries first to last, each with a command of its own.
func commandsOf(first, last, term uint64, name string) (list []*raft.Log) {
	for i := first; i <= last; i++ {
		list = append(list, command(i, term, fmt.Sprintf("%s-%d", name, i)))
	}
	return list
}

// configured is an entry of the log with a configuration.
func configured(index, term uint64, c raft.Configuration) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)}
}

// logOf returns a log that begins with a configuration, in term 1.
func logOf(c raft.Configuration, rest ...*raft.Log) []*raft.Log {
	return append([]*raft.Log{configured(1, 1, c)}, rest...)
}
