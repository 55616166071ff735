package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// A frame on a connection is a message behind its length.
const lengthSize = 4

// batchSize is how much is encoded before it is written.
const batchSize = 256 << 10

// A link sends messages to one other node, on a connection of its own.
type link struct {
	conn  net.Conn
	queue *mailbox[raftpb.Message] // bounded by raft, by MaxInflightMsgs
}

// dial returns a link to the node at address.
func dial(address string) (*link, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return &link{conn: conn, queue: newMailbox[raftpb.Message]()}, nil
}

// run sends until stopping is closed. What waits at one time goes into one write.
func (l *link) run(stopping <-chan struct{}) error {
	var (
		messages []raftpb.Message
		buf      []byte
	)
	for {
		select {
		case <-stopping:
			return nil
		case <-l.queue.ready:
		}
		messages = l.queue.take(messages)
		for i := range messages {
			var err error
			if buf, err = appendFrame(buf, &messages[i]); err != nil {
				return fmt.Errorf("encode: %w", err)
			}
			if len(buf) < batchSize && i < len(messages)-1 {
				continue
			}
			if _, err := l.conn.Write(buf); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			buf = buf[:0]
		}
	}
}

func appendFrame(buf []byte, m *raftpb.Message) ([]byte, error) {
	size := m.Size()
	buf = binary.LittleEndian.AppendUint32(buf, uint32(size))
	buf, room := extend(buf, size)
	_, err := m.MarshalToSizedBuffer(room)
	return buf, err
}

// receive puts every message that comes on conn into inbox, until the other side ends.
func receive(conn net.Conn, inbox *mailbox[raftpb.Message]) error {
	var (
		r      = bufio.NewReaderSize(conn, batchSize)
		length [lengthSize]byte
		buf    []byte
	)
	for {
		switch _, err := io.ReadFull(r, length[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("receive: %w", err)
		}
		_, frame := extend(buf[:0], int(binary.LittleEndian.Uint32(length[:])))
		buf = frame
		if _, err := io.ReadFull(r, frame); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		var m raftpb.Message
		if err := m.Unmarshal(frame); err != nil { // copies the data of entries
			return fmt.Errorf("decode: %w", err)
		}
		inbox.put(m)
	}
}

// extend returns buf with size more bytes, and these.
func extend(buf []byte, size int) (longer, added []byte) {
	end := len(buf) + size
	longer = slices.Grow(buf, size)[:end]
	return longer, longer[end-size:]
}
