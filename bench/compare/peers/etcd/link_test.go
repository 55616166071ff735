package main

import (
	"bytes"
	"net"
	"reflect"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// Messages arrive as they were sent, in order, also those longer than a batch, and
// keep what they say when others come after them.
func TestLink(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l, err := dial(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	stopping, sent, received := make(chan struct{}), make(chan error), make(chan error, 1)
	inbox := newMailbox[raftpb.Message]()
	go func() { sent <- l.run(stopping) }()
	go func() { received <- receive(conn, inbox) }()

	want := messages()
	for _, m := range want {
		l.queue.put(m)
	}
	var got []raftpb.Message
	for len(got) < len(want) {
		<-inbox.ready
		got = append(got, inbox.take(nil)...)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("message %d is %.200v, want %.200v", i, got[i].String(), want[i].String())
		}
	}

	close(stopping)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	l.conn.Close()
	if err := <-received; err != nil {
		t.Errorf("the end of a connection is the error %v", err)
	}
}

// messages returns messages with entries of all kinds of sizes.
func messages() []raftpb.Message {
	var all []raftpb.Message
	for i, size := range []int{0, 1, 300, batchSize - 1, batchSize, 2*batchSize + 3, 5, 1 << 20, 17} {
		all = append(all, raftpb.Message{
			Type:  raftpb.MsgApp,
			From:  1,
			To:    2,
			Index: uint64(i),
			Entries: []raftpb.Entry{
				{Index: uint64(i) + 1, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, size)},
				{Index: uint64(i) + 2, Term: 1, Data: []byte{byte(i)}},
			},
		})
	}
	return append(all, raftpb.Message{Type: raftpb.MsgHeartbeat, From: 1, To: 2})
}
