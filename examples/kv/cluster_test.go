package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// startCluster starts n1, which leads, and two followers.
func startCluster(t *testing.T) []*testNode {
	t.Helper()
	n1 := startLeader(t)
	return []*testNode{n1, startFollower(t, "n2", n1), startFollower(t, "n3", n1)}
}

// leaderOf waits until one of the nodes leads and all of them know its address.
func leaderOf(t *testing.T, nodes ...*testNode) (leader *testNode) {
	t.Helper()
	waitFor(t, "agreement on a leader", func() bool {
		leader = nil
		for _, n := range nodes {
			if n.node.isLeader() {
				leader = n
			}
		}
		for _, n := range nodes {
			if _, addr := n.node.leaderHTTP(); leader == nil || addr != leader.node.httpAddr {
				return false
			}
		}
		return true
	})
	return leader
}

func sameState(nodes ...*testNode) bool {
	first := hashOfSummary(nodes[0].node.fsm.summary())
	for _, n := range nodes {
		if hashOfSummary(n.node.fsm.summary()) != first {
			return false
		}
	}
	return true
}

// Every node takes every request, and a read sees the write before it wherever
// either was sent.
func TestForwarding(t *testing.T) {
	nodes := startCluster(t)
	for i := range 30 {
		writer, reader := nodes[i%3], nodes[i/3%3]
		path, value := fmt.Sprintf("/kv/dir//%%00/%d", i%5), fmt.Sprint("value ", i)
		writer.must(204, "PUT", path, value)
		if got := reader.must(200, "GET", path, ""); got != value {
			t.Fatalf("%s: %q, want %q", path, got, value)
		}
	}
	nodes[1].must(204, "DELETE", "/kv/dir//%00/0", "")
	nodes[2].must(404, "GET", "/kv/dir//%00/0", "")
	nodes[1].must(413, "PUT", "/kv/x", strings.Repeat("x", 100_001))
	waitFor(t, "equal states", func() bool { return sameState(nodes...) })
}

// A request goes one hop at most.
func TestForwardingOnce(t *testing.T) {
	nodes := startCluster(t)
	follower := nodes[1]
	if leaderOf(t, nodes...) == follower {
		follower = nodes[2]
	}
	req, err := http.NewRequest("PUT", follower.url+"/kv/a", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(forwardedHeader, "someone")
	if code, text, _ := follower.send(req); code != 503 || !strings.Contains(text, "for the leader") {
		t.Errorf("%d %s", code, text)
	}
}

// The leader stops in good order: the others go on at once, and it comes back.
func TestFailover(t *testing.T) {
	nodes := startCluster(t)
	nodes[0].must(204, "PUT", "/kv/before", "1")
	nodes[0].stop()
	leader := leaderOf(t, nodes[1], nodes[2])
	for _, n := range nodes[1:] {
		n.must(200, "GET", "/kv/before", "")
	}
	leader.must(204, "PUT", "/kv/after", "2")
	waitFor(t, "equal states", func() bool { return sameState(nodes[1:]...) })
}

func TestLeave(t *testing.T) {
	nodes := startCluster(t)
	nodes[1].must(204, "DELETE", "/cluster/n3", "") // forwarded
	waitFor(t, "n3 is gone", func() bool {
		st := nodes[1].statusOf()
		return len(st.Members) == 2 && nodes[1].node.fsm.member("n3") == ""
	})
	nodes[2].stop()
	nodes[0].must(204, "PUT", "/kv/a", "two are enough")

	// A leader can remove itself; the rest goes on.
	nodes[0].must(204, "DELETE", "/cluster/n1", "")
	waitFor(t, "n2 leads", nodes[1].node.isLeader)
	waitFor(t, "n2 serves", func() bool {
		code, got, _ := nodes[1].do("GET", "/kv/a", "")
		return code == 200 && got == "two are enough"
	})
}

func TestJoinConflict(t *testing.T) {
	nodes := startCluster(t)
	err := nodes[0].node.addMember(t.Context(), joinRequest{"n4", nodes[1].node.raftAddr, "127.0.0.1:1"})
	if err == nil || problemOf(err).status != http.StatusConflict {
		t.Errorf("error %v", err)
	}
}

// A node that joins late gets the state as a snapshot if the log starts later.
func TestJoinBySnapshot(t *testing.T) {
	conf := testConfig(t, "n1")
	conf.bootstrap = true
	conf.snapshotThreshold, conf.trailingLogs = 10, 1
	n1 := startTestNode(t, conf)
	leaderOf(t, n1)
	for i := range 50 {
		n1.must(204, "PUT", fmt.Sprint("/kv/", i), strings.Repeat("x", i))
	}
	waitFor(t, "a snapshot", func() bool { return n1.statusOf().SnapshotIndex > 20 })
	n2 := startFollower(t, "n2", n1)
	waitFor(t, "equal states", func() bool { return sameState(n1, n2) })
	if st := n2.statusOf(); st.SnapshotsInstalled == 0 || st.Keys != 50 {
		t.Errorf("%+v", st)
	}
}
