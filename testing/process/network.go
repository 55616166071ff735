package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// network is what lies between the nodes: a proxy in front of each port that nodes
// connect to, and a link for each ordered pair of nodes. A proxy knows the sender
// by its address, because node i connects from sourceAddr(i).
type network struct {
	links     [][]*link // by sender and receiver; nil on the diagonal
	mu        sync.Mutex
	listeners []*net.TCPListener
	group     sync.WaitGroup
}

// sourceAddr is where node i connects from: Linux takes all of 127.0.0.0/8 for
// this host's.
func sourceAddr(i int) string { return fmt.Sprintf("127.0.1.%d", i+1) }

// sender is the inverse of sourceAddr.
func sender(a net.Addr, size int) (int, bool) {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return 0, false
	}
	for i := range size {
		if host == sourceAddr(i) {
			return i, true
		}
	}
	return 0, false
}

func newNetwork(size int) *network {
	n := &network{}
	for i := range size {
		row := make([]*link, size)
		for j := range row {
			if j != i {
				row[j] = newLink()
			}
		}
		n.links = append(n.links, row)
	}
	return n
}

// proxy starts to carry connections to node to, which listens on addr, and returns
// the address to tell the other nodes. It goes on until close.
func (n *network) proxy(to int, addr string) (string, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	n.listeners = append(n.listeners, l)
	n.mu.Unlock()
	n.group.Go(func() {
		for {
			in, err := l.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil {
				continue
			}
			from, known := sender(in.RemoteAddr(), len(n.links))
			if !known || from == to {
				abort(in)
				continue
			}
			n.group.Go(func() { n.links[from][to].carry(in, addr) })
		}
	})
	return l.Addr().String(), nil
}

// close ends the proxies and all connections, and waits for them.
func (n *network) close() {
	n.mu.Lock()
	for _, l := range n.listeners {
		l.Close()
	}
	n.mu.Unlock()
	all(n.links).set(cut)
	n.group.Wait()
}

// links is a set of links.
type links []*link

func all(matrix [][]*link) (ls links) {
	for _, row := range matrix {
		for _, l := range row {
			if l != nil {
				ls = append(ls, l)
			}
		}
	}
	return ls
}

// between returns the links from any node in from to any in to.
func (n *network) between(from, to []int) (ls links) {
	for _, i := range from {
		for _, j := range to {
			if i != j {
				ls = append(ls, n.links[i][j])
			}
		}
	}
	return ls
}

func (ls links) set(m mode) {
	for _, l := range ls {
		l.set(m)
	}
}

func (ls links) reset() {
	for _, l := range ls {
		l.reset()
	}
}

// hits is how often the links have done anything to what they carry.
func (ls links) hits() (n int64) {
	for _, l := range ls {
		n += l.hits.Load()
	}
	return n
}
