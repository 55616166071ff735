package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below those that systems give to outgoing connections:
// while a node is dead, somebody's connection must not get its port.
const (
	firstPort = 20_000
	lastPort  = 29_999
)

// freeAddresses returns n addresses of this machine that nobody listens on.
func freeAddresses(n int) ([]string, error) {
	var free []string
	for range 100 * n {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort+1))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		defer l.Close() // at the end, so that no address comes twice
		if free = append(free, addr); len(free) == n {
			return free, nil
		}
	}
	return nil, errors.New("no free ports")
}
