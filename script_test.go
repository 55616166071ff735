package raft

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the expected output in testdata/scripts")

// TestScripts plays the scenarios in testdata/scripts. A scenario is a list of
// commands, each followed by ---- and what the cluster did in response:
//
//	cluster 3            n1, n2, n3 with empty logs but a configuration of them all
//	add n4               a server without state; also: add n4 stopped
//	option KEY=VALUE     before cluster: trailing, prevote, monotonic, maxappend, shutdownonremove, leases
//	lead n1              n1 is elected, and all that hear it know what is committed; untold
//	timeout n1           n1's election timer fires
//	beat n1              n1's heartbeat timer fires
//	tick n1              n1 looks at its deadlines
//	wait 2s [n1]         time passes; no timer fires [but n1's, every 50ms, and all flows]
//	apply n1 x           a client writes x through n1
//	read n1              a client asks for a linearizable read
//	leased n1            how long n1 may read by its lease, and what
//	change n1 add n4     likewise add-nonvoter, demote, remove; a last number is prevIndex
//	transfer n1 n2       n1 is to hand its leadership to n2
//	snapshot n1          n1 takes a snapshot
//	restore n1 a,b       n1 restores a snapshot of a and b for the whole cluster
//	cut n1 / heal        n1 is disconnected / everyone is connected
//	cut n1 n2            messages from n1 to n2 are lost
//	slow n1 n2 1s        messages from n1 to n2 take that long
//	hold n1 / release n1 n1's disk finishes no write / finishes what it has
//	holdfsm n1           n1's FSM finishes nothing until released
//	fail n1 store enospc n1's disk fails this kind of write from now on; eio, ok; delete, set, create, close
//	fail n1 set crash 2  n1 crashes instead of carrying out its second such write
//	crash n1 / start n1  n1 loses what is not on its disk / boots from it
//	wipe n1              n1 crashes and loses its disk, too
//	deliver n1 n2 MSG    a request made by hand: see handmade
//	run [2]              let everything flow until nothing is due [or for so many events]
//	beats on             show heartbeats
//	status [n1]          one line a node
//	disk n1              what n1 would find after a crash
//	results              what clients were told
//
// Nodes are stepped by hand on one goroutine, so the same script always gives the same
// output. After a change, run go test -run Scripts -rewrite and read the diff.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			must(t, err)
			got := play(t, string(want))
			if got == string(want) {
				return
			}
			if !*rewrite {
				t.Fatalf("output differs; got:\n%s", got)
			}
			must(t, os.WriteFile(file, []byte(got), 0o666))
		})
	}
}

// play runs a script and returns it with the actual output.
func play(t *testing.T, script string) string {
	s := newStage(t)
	var out strings.Builder
	inOutput := false
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			inOutput = false
			fmt.Fprintln(&out)
		case inOutput: // the old expectation
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		case line == "----":
			inOutput = true
			fmt.Fprintf(&out, "----\n%s", s.log.String())
			s.log.Reset()
		default:
			fmt.Fprintln(&out, line)
			s.do(strings.Fields(line))
		}
	}
	return out.String()
}

// stage is a world whose every move is made by the script.
type stage struct {
	*world
	log     strings.Builder
	options map[string]string
	slow    map[link]time.Duration
	beats   bool
	calls   []call
}

// call is what a client waits for.
type call struct {
	name   string
	result func() (done bool, text string)
}

func newStage(t *testing.T) *stage {
	s := &stage{world: newWorld(t, 1), options: map[string]string{}, slow: map[link]time.Duration{}}
	s.trace = func(format string, args ...interface{}) {
		line := fmt.Sprintf(format, args...)
		if s.beats || !strings.Contains(line, "beat ") {
			s.log.WriteString(line)
		}
	}
	base := s.conf
	s.conf = func(id ServerID) *Config {
		c := base(id)
		c.TrailingLogs = s.number("trailing", 0)
		c.MaxAppendEntries = int(s.number("maxappend", 4))
		c.PreVoteDisabled = s.options["prevote"] != "on"
		c.ShutdownOnRemove = s.options["shutdownonremove"] != "off"
		c.LeaseReads = s.options["leases"] == "on"
		return c
	}
	return s
}

func (s *stage) number(key string, otherwise uint64) uint64 {
	if v, ok := s.options[key]; ok {
		n, err := strconv.ParseUint(v, 10, 64)
		must(s.t, err)
		return n
	}
	return otherwise
}

func (s *stage) node(name string) *simNode {
	n := s.nodes[ServerID(name)]
	if n == nil {
		s.t.Fatalf("no node %q", name)
	}
	return n
}

func (s *stage) do(args []string) {
	switch args[0] {
	case "option":
		k, v, _ := strings.Cut(args[1], "=")
		s.options[k] = v
	case "cluster":
		n, err := strconv.Atoi(args[1])
		must(s.t, err)
		var ids []ServerID
		for i := range n {
			ids = append(ids, ServerID(fmt.Sprintf("n%d", i+1)))
		}
		s.bootstrap(ids...)
		for _, id := range ids {
			s.nodes[id].disk.monotonic = s.options["monotonic"] == "on"
			must(s.t, s.nodes[id].start())
		}
	case "add":
		n := s.add(ServerID(args[1]))
		if len(args) == 2 {
			must(s.t, n.start())
		}
	case "start":
		if err := s.node(args[1]).start(); err != nil {
			fmt.Fprintf(&s.log, "%s does not start: %v\n", args[1], err)
		}
	case "crash":
		s.node(args[1]).crash()
	case "wipe":
		n := s.node(args[1])
		n.crash()
		n.disk = newSimDisk()
		n.logs, n.stable = n.disk, n.disk
	case "lead":
		s.lead(s.node(args[1]))
	case "timeout":
		s.timeout(s.node(args[1]))
	case "beat":
		n := s.node(args[1])
		n.raft.lead.beatAt = s.now
		n.step(timeout{})
	case "tick":
		s.node(args[1]).step(timeout{})
	case "wait":
		s.wait(args[1:])
	case "run":
		s.run(args[1:])
	case "beats":
		s.beats = args[1] == "on"
	case "cut", "heal":
		s.connect(args)
	case "slow":
		s.slow[link{ServerID(args[1]), ServerID(args[2])}] = s.duration(args[3])
		s.delay = func(from, to ServerID) time.Duration { return s.slow[link{from, to}] }
	case "hold":
		s.node(args[1]).holdDisk = true
	case "holdfsm":
		s.node(args[1]).holdFSM = true
	case "release":
		s.node(args[1]).release()
	case "fail":
		s.fail(args)
	case "deliver":
		s.deliver(args[1], args[2], args[3:])
	case "status":
		s.status(args[1:])
	case "disk":
		s.disk(s.node(args[1]))
	case "results":
		s.results()
	case "leased":
		s.leased(s.node(args[1]))
	default:
		s.client(args)
	}
}

func (s *stage) timeout(n *simNode) {
	n.raft.electionAt, n.raft.heard = s.now, time.Time{}
	n.step(timeout{})
}

// lead elects a node the usual way, which needs no telling each time.
func (s *stage) lead(n *simNode) {
	told := s.log.String()
	s.now = s.now.Add(2 * time.Second) // nobody remembers another leader
	s.timeout(n)
	s.run(nil)
	s.wait([]string{"50ms", string(n.id)})
	s.log.Reset()
	st := n.raft.status()
	fmt.Fprintf(&s.log, "%s%s: %v of term %d, commit %d\n", told, n.id, st.state, st.term, st.commit)
}

func (s *stage) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	must(s.t, err)
	return d
}

func (s *stage) wait(args []string) {
	const pace = 50 * time.Millisecond
	end := s.now.Add(s.duration(args[0]))
	for len(args) > 1 && !s.now.Add(pace).After(end) {
		s.now = s.now.Add(pace)
		s.node(args[1]).step(timeout{})
		s.run(nil)
	}
	s.now = end
}

// run carries out what is due. Time does not pass.
func (s *stage) run(args []string) {
	events := 1 << 20
	if len(args) > 0 {
		events, _ = strconv.Atoi(args[0])
	}
	for events > 0 && len(s.queue) > 0 && !s.queue[0].at.After(s.now) {
		s.tick()
		events--
	}
}

func (s *stage) connect(args []string) {
	switch {
	case args[0] == "heal":
		clear(s.cut)
	case len(args) == 3:
		s.cut[link{ServerID(args[1]), ServerID(args[2])}] = true
	default:
		for _, id := range s.ids {
			s.cut[link{ServerID(args[1]), id}] = true
			s.cut[link{id, ServerID(args[1])}] = true
		}
	}
}

func (s *stage) fail(args []string) {
	if args[3] == "crash" {
		s.crashAt(s.node(args[1]), args[2], args[4])
		return
	}
	err := map[string]error{"enospc": syscall.ENOSPC, "eio": syscall.EIO, "other": errors.New("broken")}[args[3]]
	s.node(args[1]).disk.fail = func(op string) error {
		if op == args[2] {
			return err
		}
		return nil
	}
}

// crashAt crashes a node when it is about to do the count-th write of a kind.
func (s *stage) crashAt(n *simNode, kind, count string) {
	left, err := strconv.Atoi(count)
	must(s.t, err)
	n.disk.fail = func(op string) error {
		if op == kind {
			left--
		}
		if op != kind || left > 0 {
			return nil
		}
		n.disk.fail = nil
		n.crash()
		s.tracef("%s: crashed before a write\n", n.id)
		return errors.New("crashed")
	}
}

// client makes a call and keeps it for results.
func (s *stage) client(args []string) {
	n := s.node(args[1])
	name := strings.Join(args, " ")
	entry := func(f *logFuture) {
		s.calls = append(s.calls, call{name, func() (bool, string) {
			done, err := f.completed()
			return done, fmt.Sprintf("index=%d response=%v err=%v", f.log.Index, f.response, err)
		}})
	}
	plain := func(f *future) {
		s.calls = append(s.calls, call{name, func() (bool, string) {
			done, err := f.completed()
			return done, fmt.Sprintf("err=%v", err)
		}})
	}
	switch args[0] {
	case "apply":
		for _, f := range n.applyAll(args[2:]...) {
			entry(f)
		}
	case "change":
		command := map[string]ConfigurationChangeCommand{"add": AddVoter, "add-nonvoter": AddNonvoter, "demote": DemoteVoter, "remove": RemoveServer}[args[2]]
		var prev uint64
		if len(args) > 4 {
			prev, _ = strconv.ParseUint(args[4], 10, 64)
		}
		entry(n.change(command, ServerID(args[3]), prev))
	case "transfer":
		plain(n.transfer(ServerID(args[2])))
	case "snapshot":
		plain(&n.snapshot().future)
	case "restore":
		data := strings.ReplaceAll(args[2], ",", "\n")
		u := &userRestore{meta: &SnapshotMeta{Version: 1, Size: int64(len(data))}, reader: strings.NewReader(data)}
		u.future.init()
		n.step(u)
		plain(&u.future)
	case "read":
		text := ""
		n.read(func(index uint64, err error) { text = fmt.Sprintf("index=%d err=%v", index, err) })
		s.calls = append(s.calls, call{name, func() (bool, string) { return text != "", text }})
	default:
		s.t.Fatalf("unknown command %q", args[0])
	}
}

// deliver sends a message made by hand, as from a server that breaks the rules:
//
//	deliver n1 n2 vote term=2 last=1@1       deliver n1 n2 beat term=2 at=n3
//	deliver n1 n2 vote term=2 last=1@1 transfer    deliver n1 n2 beat term=2 promise?
//	deliver n1 n2 append term=2 prev=1@1 2@2,3@2 commit=3
//	deliver n1 n2 snapshot term=2 last=3@1 a,b
//	deliver n1 n2 stand-now
//
// at=n3 makes it come from n3's address.
func (s *stage) deliver(from, to string, words []string) {
	get := func(key string) (text string) {
		for _, w := range words {
			if k, v, ok := strings.Cut(w, "="); ok && k == key {
				text = v
			}
		}
		return text
	}
	number := func(text string) uint64 {
		n, _ := strconv.ParseUint(text, 10, 64)
		return n
	}
	id := func(text string) entryID {
		i, term, _ := strings.Cut(text, "@")
		return entryID{number(i), number(term)}
	}
	h := RPCHeader{3, []byte(from), []byte(addrOf(ServerID(from)))}
	if at := get("at"); at != "" {
		h.Addr = []byte(addrOf(ServerID(at)))
	}
	var cmd interface{}
	var payload []byte
	term, last, prev := number(get("term")), id(get("last")), id(get("prev"))
	switch words[0] {
	case "vote":
		cmd = &RequestVoteRequest{RPCHeader: h, Term: term, Candidate: h.Addr, LastLogIndex: last.index, LastLogTerm: last.term,
			LeadershipTransfer: slices.Contains(words, "transfer")}
	case "prevote":
		cmd = &RequestPreVoteRequest{RPCHeader: h, Term: term, LastLogIndex: last.index, LastLogTerm: last.term}
	case "beat":
		cmd = &AppendEntriesRequest{RPCHeader: h, Term: term, Leader: h.Addr, Lease: slices.Contains(words, "promise?")}
	case "append":
		req := &AppendEntriesRequest{RPCHeader: h, Term: term, Leader: h.Addr, PrevLogEntry: prev.index, PrevLogTerm: prev.term,
			Entries: []*Log{}, LeaderCommitIndex: number(get("commit"))}
		for _, w := range words[1:] {
			if strings.Contains(w, "=") {
				continue
			}
			for e := range strings.SplitSeq(w, ",") {
				i := id(e)
				req.Entries = append(req.Entries, &Log{Index: i.index, Term: i.term, Data: []byte("by hand " + e)})
			}
		}
		cmd = req
	case "snapshot":
		payload = []byte(strings.ReplaceAll(words[len(words)-1], ",", "\n"))
		cmd = &InstallSnapshotRequest{RPCHeader: h, SnapshotVersion: 1, Term: term, Leader: h.Addr, LastLogIndex: last.index,
			LastLogTerm: last.term, Configuration: EncodeConfiguration(s.node(to).raft.configs.latest().config),
			ConfigurationIndex: 1, Size: int64(len(payload))}
	case "stand-now":
		cmd = &TimeoutNowRequest{RPCHeader: h}
	}
	s.send(ServerID(from), ServerID(to), cmd, payload, func(interface{}, error) {})
}

func (s *stage) leased(n *simNode) {
	index, ok := n.raft.leasedIndex(n.clock)
	if !ok {
		fmt.Fprintf(&s.log, "%s has no lease\n", n.id)
		return
	}
	fmt.Fprintf(&s.log, "%s reads at %d for %v\n", n.id, index, n.raft.status().readLease.Sub(n.clock()))
}

// results tells once how each call ended.
func (s *stage) results() {
	s.calls = slices.DeleteFunc(s.calls, func(c call) bool {
		done, text := c.result()
		if !done {
			text = "pending"
		}
		fmt.Fprintf(&s.log, "%s: %s\n", c.name, text)
		return done
	})
}

func (s *stage) status(only []string) {
	for _, id := range s.ids {
		if len(only) > 0 && only[0] != string(id) {
			continue
		}
		n := s.nodes[id]
		if n.raft == nil {
			fmt.Fprintf(&s.log, "%s down\n", id)
			continue
		}
		st := n.raft.status()
		fmt.Fprintf(&s.log, "%s %-9v term=%d last=%v durable=%d commit=%d applied=%v\n",
			id, st.state, st.term, st.last, st.durable, st.commit, n.fsm.cmds)
	}
}

func (s *stage) disk(n *simNode) {
	hard, err := loadHardState(n.disk)
	must(s.t, err)
	fmt.Fprintf(&s.log, "%s has term=%d", n.id, hard.term)
	if hard.vote != (candidate{}) {
		fmt.Fprintf(&s.log, " vote=%s", hard.vote.id)
	}
	if d, err := loadPromise(n.disk); d > 0 {
		must(s.t, err)
		fmt.Fprintf(&s.log, " promise=%v", d)
	}
	if k := len(n.disk.snaps); k > 0 {
		m := n.disk.snaps[k-1].meta
		fmt.Fprintf(&s.log, " snapshot=%v", entryID{m.Index, m.Term})
	}
	fmt.Fprintf(&s.log, " log=%s\n", entriesString(slices.DeleteFunc(slices.Clone(n.disk.entries), func(e *Log) bool { return e == nil })))
}
