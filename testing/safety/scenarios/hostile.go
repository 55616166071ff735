package scenarios

import (
	"encoding/binary"
	"io"
	"math"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// This file: what comes from the network may be anything.
var hostile = []scenario{
	{"F6a", "an entry's time is announced with 256 MiB, and 20 bytes come", announcedBytes},
	{"F6b", "a message announces 2^32-1 entries and brings none", announcedEntries},
	{"F6c", "AppendEntries with a configuration that cannot be decoded", garbageConfiguration},
	{"F6d", "InstallSnapshot with a configuration that cannot be decoded", garbageSnapshotConfiguration},
	{"F6e", "AppendEntries with a nil entry", nilEntry},
	{"F6f", "a committed entry of a type that nobody knows", unknownType},
	{"F6g", "AppendEntries with entries that are not consecutive", gapInRequest},
	{"F6h", "a vote request names the largest term that there is", largestTerm},
	{"F6i", "the stream of a snapshot of an old term stands still at the leader", stalledOldSnapshot},
}

// hostileFrame sends bytes to a transport whose Consumer answers, and returns what that
// allocated.
func hostileFrame(s *stage, frame []byte) uint64 {
	t := s.tcp()
	go serve(s, t, "n", func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) {})
	conn, err := net.Dial("tcp", string(t.LocalAddr()))
	s.must(err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = conn.Write(frame)
	s.must(err)
	s.must(conn.(*net.TCPConn).CloseWrite())
	io.Copy(io.Discard, conn) // until the transport gives up
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// rawString is a msgpack string of a length, without its bytes.
func rawString(length uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0xdb}, length) }

// field is a key of a msgpack map.
func field(name string) []byte { return append([]byte{0xa0 | byte(len(name))}, name...) }

// F6. AppendedAt is a byte string on the wire.
func announcedBytes(s *stage) {
	frame := append([]byte{0, 0x81}, field("Entries")...)
	frame = append(frame, 0x91, 0x81)
	frame = append(frame, field("AppendedAt")...)
	frame = append(frame, rawString(256<<20)...)
	frame = append(frame, make([]byte, 20)...)
	if got := hostileFrame(s, frame) >> 20; got > 16 {
		s.violated("it allocates %d MiB for %d bytes", got, len(frame))
	}
}

// F6. Entries is an array.
func announcedEntries(s *stage) {
	frame := append([]byte{0, 0x81}, field("Entries")...)
	frame = append(frame, 0xdd, 0xff, 0xff, 0xff, 0xff)
	if got := hostileFrame(s, frame) >> 20; got > 16 {
		s.violated("it allocates %d MiB for %d bytes", got, len(frame))
	}
}

// victim returns a follower of the peer lead.
func (s *stage) victim() (*server, *peer) {
	n := s.server("n").holds(logOf(voters("n", "lead", "c"))...).start()
	lead := s.peer("lead")
	lead.heartbeat(n, 2)
	return n, lead
}

// unhurt ends the scenario if the victim does not go on with sound messages.
func (s *stage) unhurt(n *server, lead *peer) {
	if !within(prompt, func() bool {
		resp, err := lead.tryAppend(n, 2, 1, 1, 2, command(2, 2, "sound"))
		return err == nil && resp.Success
	}) {
		s.violated("it takes no sound entry afterwards")
	}
	n.shown("sound")
}

// garbage is no msgpack.
var garbage = []byte{0xc1, 0xff, 0x00}

func garbageConfiguration(s *stage) {
	n, lead := s.victim()
	lead.tryAppend(n, 2, 1, 1, 2, &raft.Log{Index: 2, Term: 2, Type: raft.LogConfiguration, Data: garbage})
	s.unhurt(n, lead)
}

func garbageSnapshotConfiguration(s *stage) {
	n, lead := s.victim()
	req := lead.snapshotRequest(2, 5, 2, raft.Configuration{}, 2)
	req.Configuration = garbage
	lead.trySnapshot(n, req, strings.NewReader("[]"))
	s.unhurt(n, lead)
}

func nilEntry(s *stage) {
	n, lead := s.victim()
	lead.tryAppend(n, 2, 1, 1, 2, nil)
	s.unhurt(n, lead)
}

func unknownType(s *stage) {
	n, lead := s.victim()
	lead.tryAppend(n, 2, 1, 1, 2, &raft.Log{Index: 2, Term: 2, Type: 77})
	lead.tryAppend(n, 2, 2, 2, 2)
	s.unhurt(n, lead)
}

// F6. The log would have a gap.
func gapInRequest(s *stage) {
	n, lead := s.victim()
	if resp, err := lead.tryAppend(n, 2, 1, 1, 1, command(5, 2, "five"), command(9, 2, "nine")); err == nil && resp.Success {
		s.violated("it accepted entries 5 and 9 after entry 1")
	}
	s.unhurt(n, lead)
}

// F6. There is no term after it: a candidate's would be 0.
func largestTerm(s *stage) {
	n, lead := s.victim()
	c := s.peer("c")
	req := c.voteRequest(math.MaxUint64, 1, 1)
	req.LeadershipTransfer = true
	_ = c.RequestVote(n.id, n.addr, req, new(raft.RequestVoteResponse))
	lead.tryAppend(n, math.MaxUint64, 0, 0, 0) // says that it leads, so that TimeoutNow is obeyed
	_ = lead.TimeoutNow(n.id, n.addr, &raft.TimeoutNowRequest{RPCHeader: lead.header()}, new(raft.TimeoutNowResponse))
	if within(settle, func() bool { return n.CurrentTerm() < 2 }) {
		s.violated("its term went back from 2^64-1 to %d", n.CurrentTerm())
	}
}

// F6. The sender is to be refused for its old term, whatever its stream does.
func stalledOldSnapshot(s *stage) {
	conf := voters("n", "b", "c")
	n := s.server("n").timeouts(2 * prompt).holds(logOf(conf)...).start()
	b, c := s.peer("b"), s.peer("c")
	n.leads(b)
	n.settled()
	body, sender := io.Pipe()
	go c.trySnapshot(n, c.snapshotRequest(1, 100, 1, conf, 1000), body)
	go sender.Write(make([]byte, 10)) // may never be read
	time.Sleep(settle)
	s.must(s.mustEnd(func() error { return n.Apply([]byte("x"), 0).Error() }, "the leader does nothing until the stream ends"))
}
