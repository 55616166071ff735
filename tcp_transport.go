package raft

import (
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// This file is the StreamLayer of plain TCP. It owns the listener.

var (
	errNotTCP          = errors.New("local address is not a TCP address")
	errNotAdvertisable = errors.New("local bind address is not advertisable")
)

// TCPStreamLayer is a [StreamLayer] of plain TCP, without encryption and
// authentication.
type TCPStreamLayer struct {
	listener  net.Listener
	advertise net.Addr // nil for the listener's
}

// NewTCPTransport returns a [NetworkTransport] that listens on bindAddr and tells
// others to reach it at advertise, or at the listener's address if that is nil.
// The listener's address will not do if it is unspecified, like 0.0.0.0.
//
// advertise may be a *net.TCPAddr, or any other net.Addr of a TCP network with a
// host and a port, such as a host name: names are resolved at every dial.
func NewTCPTransport(bindAddr string, advertise net.Addr, maxPool int, timeout time.Duration, logOutput io.Writer) (*NetworkTransport, error) {
	return NewTCPTransportWithLogger(bindAddr, advertise, maxPool, timeout, newNetLogger(logOutput))
}

// NewTCPTransportWithLogger is NewTCPTransport with a logger.
func NewTCPTransportWithLogger(bindAddr string, advertise net.Addr, maxPool int, timeout time.Duration, logger hclog.Logger) (*NetworkTransport, error) {
	return NewTCPTransportWithConfig(bindAddr, advertise, &NetworkTransportConfig{
		MaxPool: maxPool,
		Timeout: timeout,
		Logger:  logger,
	})
}

// NewTCPTransportWithConfig is NewTCPTransport with a configuration, whose Stream
// it sets.
func NewTCPTransportWithConfig(bindAddr string, advertise net.Addr, config *NetworkTransportConfig) (*NetworkTransport, error) {
	listener, err := net.Listen("tcp", bindAddr)
	if err != nil {
		return nil, err
	}
	stream := &TCPStreamLayer{listener: listener, advertise: advertise}
	if err := checkAdvertised(stream.Addr()); err != nil {
		listener.Close()
		return nil, err
	}
	config.Stream = stream
	return NewNetworkTransportWithConfig(config), nil
}

// checkAdvertised fails if others cannot dial addr.
func checkAdvertised(addr net.Addr) error {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		if tcp.IP == nil || tcp.IP.IsUnspecified() {
			return errNotAdvertisable
		}
		return nil
	}
	if !strings.HasPrefix(addr.Network(), "tcp") {
		return errNotTCP
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil || host == "" {
		return errNotAdvertisable
	}
	return nil
}

// Dial implements [StreamLayer]. It resolves host names anew each time.
func (t *TCPStreamLayer) Dial(address ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(address), timeout)
}

// Accept implements [net.Listener].
func (t *TCPStreamLayer) Accept() (net.Conn, error) { return t.listener.Accept() }

// Close implements [net.Listener].
func (t *TCPStreamLayer) Close() error { return t.listener.Close() }

// Addr implements [net.Listener] with the advertised address.
func (t *TCPStreamLayer) Addr() net.Addr {
	if t.advertise != nil {
		return t.advertise
	}
	return t.listener.Addr()
}
