package main

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// wire is a network of two nodes, and one connection from the first to the second,
// which sends back what it gets.
type wire struct {
	t    *testing.T
	net  *network
	addr string // of the proxy in front of the second node
	link *link
	conn net.Conn
}

const patience = 20 * time.Second

func newWire(t *testing.T) *wire {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	w := &wire{t: t, net: newNetwork(2)}
	t.Cleanup(w.net.close)
	if w.addr, err = w.net.proxy(1, server.Addr().String()); err != nil {
		t.Fatal(err)
	}
	w.link = w.net.links[0][1]
	w.conn = w.dial(0)
	w.echo("first")
	return w
}

func (w *wire) dial(from int) net.Conn {
	w.t.Helper()
	c, err := w.tryDial(from)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *wire) tryDial(from int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(sourceAddr(from))}}
	c, err := d.Dial("tcp", w.addr)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { c.Close() })
	return c, c.SetDeadline(time.Now().Add(patience))
}

func (w *wire) send(text string) {
	w.t.Helper()
	if _, err := w.conn.Write([]byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) receive(want string) {
	w.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(w.conn, got); err != nil || string(got) != want {
		w.t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func (w *wire) echo(text string) {
	w.t.Helper()
	w.send(text)
	w.receive(text)
}

// awaitHit waits until the link has done something.
func (w *wire) awaitHit(before int64) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); w.link.hits.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("the link has done nothing")
		}
	}
}

// wantNoWay connects in vain.
func (w *wire) wantNoWay(from int) {
	w.t.Helper()
	switch c, err := w.tryDial(from); {
	case err == nil:
		wantReset(w.t, c)
	case !errors.Is(err, syscall.ECONNRESET): // it may come that early
		w.t.Error(err)
	}
}

// wantReset reads until the connection has failed.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestCut(t *testing.T) {
	w := newWire(t)
	w.link.set(cut)
	wantReset(t, w.conn)
	w.wantNoWay(0)
	if got := w.link.hits.Load(); got != 2 {
		t.Errorf("%d hits, want 2", got)
	}
	w.link.set(open)
	w.conn = w.dial(0)
	w.echo("again")
}

func TestReset(t *testing.T) {
	w := newWire(t)
	w.link.reset()
	wantReset(t, w.conn)
	w.conn = w.dial(0)
	w.echo("again")
}

// TestSwallow holds that a connection that has lost something never works again, and
// does not end either.
func TestSwallow(t *testing.T) {
	w := newWire(t)
	w.link.set(swallow)
	w.send("lost")
	w.awaitHit(0)
	w.link.set(open)
	w.send("lost, too")
	_ = w.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := w.conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d bytes, %v; want silence", n, err)
	}
	w.conn = w.dial(0)
	w.echo("a new one")
}

// TestStall holds that what is sent meanwhile arrives later, in order.
func TestStall(t *testing.T) {
	w := newWire(t)
	w.link.set(stall)
	w.send("a")
	w.awaitHit(0)
	w.send("b")
	_ = w.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _ := w.conn.Read(make([]byte, 1)); n > 0 {
		t.Error("something came through")
	}
	_ = w.conn.SetDeadline(time.Now().Add(patience))
	w.link.set(open)
	w.receive("ab")
}

// TestLate holds that what is delayed or slow takes at least its time.
func TestLate(t *testing.T) {
	const size = 8 << 10
	for m, atLeast := range map[mode]time.Duration{
		delay: 2 * delayed, // forth and back
		slow:  2 * size * time.Second / slowRate,
	} {
		w := newWire(t)
		w.link.set(m)
		start := time.Now()
		w.echo(string(make([]byte, size)))
		if took := time.Since(start); took < atLeast {
			t.Errorf("%v: took %v, want at least %v", m, took, atLeast)
		}
	}
}

// TestStrangers holds that only nodes get through, each on its own link.
func TestStrangers(t *testing.T) {
	w := newWire(t)
	w.wantNoWay(1) // itself
	w.wantNoWay(7)
	if len(w.net.links[1][0].conns) != 0 {
		t.Error("a connection is on the wrong link")
	}
}

// TestServerDown holds that a connection to a server that is down is reset.
func TestServerDown(t *testing.T) {
	n := newNetwork(2)
	defer n.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	w := &wire{t: t, net: n}
	if w.addr, err = n.proxy(1, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	w.wantNoWay(0)
}

// TestSides holds which links a fault of the network concerns.
func TestSides(t *testing.T) {
	net := newNetwork(3)
	at := func(pairs ...[2]int) (ls links) {
		for _, p := range pairs {
			ls = append(ls, net.links[p[0]][p[1]])
		}
		return ls
	}
	side, rest := []int{1}, []int{0, 2}
	for _, tt := range []struct {
		name      string
		got, want links
	}{
		{"outward", outward(net, side, rest), at([2]int{1, 0}, [2]int{1, 2})},
		{"inward", inward(net, side, rest), at([2]int{0, 1}, [2]int{2, 1})},
		{"both ways", bothWays(net, side, rest), at([2]int{1, 0}, [2]int{1, 2}, [2]int{0, 1}, [2]int{2, 1})},
		{"all", outward(net, []int{0, 1, 2}, []int{0, 1, 2}), all(net.links)},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s: %d links, want %d others", tt.name, len(tt.got), len(tt.want))
		}
	}
}
