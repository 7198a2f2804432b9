package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// A port that is free on one address family and taken on the other is left for the next; that so many are is
// an attack or a machine out of ports.
const bindTries = 32

// bind returns one listener, or for Localhost one on each loopback family there is.
func bind(ctx context.Context, cfg Config) ([]net.Listener, error) {
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	first := []netip.AddrPort{netip.AddrPortFrom(v4, 0), netip.AddrPortFrom(v6, 0)}
	if cfg.Addr != "" {
		addr, err := netip.ParseAddrPort(cfg.Addr)
		switch {
		case err != nil || addr.Addr().Zone() != "":
			return nil, fmt.Errorf("loopback: %w", wire.Field("Config.Addr",
				"it is not an \"ip:port\" such as 127.0.0.1:0"))
		case !addr.Addr().Unmap().IsLoopback() && cfg.RedirectURI == "":
			return nil, fmt.Errorf("loopback: %w", wire.Field("Config.Addr",
				"it is not a loopback address, so that others on the network could reach it; "+
					"if that is meant, set Config.RedirectURI"))
		case cfg.Localhost && addr.Addr().Unmap() != v4 && addr.Addr() != v6:
			return nil, fmt.Errorf("loopback: %w", wire.Field("Config.Localhost",
				"it means 127.0.0.1 and [::1], and the address to listen on is neither"))
		}
		first = []netip.AddrPort{netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}
		if cfg.Localhost {
			first = []netip.AddrPort{netip.AddrPortFrom(v4, addr.Port()), netip.AddrPortFrom(v6, addr.Port())}
		}
	}

	var err error
	for range bindTries {
		for i, addr := range first {
			var l, other net.Listener
			if l, err = listen(ctx, addr); err != nil {
				if taken(err) {
					return nil, fmt.Errorf("loopback: %w: %s is in use; end the program that listens there, or configure another port", ErrPortTaken, addr)
				}
				if ctx.Err() != nil {
					return nil, fmt.Errorf("loopback: %w", ctx.Err())
				}
				continue // this family is missing here
			}
			if !cfg.Localhost || i == 1 { // [::1] alone is what there is
				return []net.Listener{l}, nil
			}
			port := uint16(l.Addr().(*net.TCPAddr).Port)
			other, err = listen(ctx, netip.AddrPortFrom(v6, port))
			if err == nil {
				return []net.Listener{l, other}, nil
			}
			if !taken(err) {
				return []net.Listener{l}, nil // no IPv6 here
			}
			_ = l.Close()
			if addr.Port() != 0 {
				return nil, fmt.Errorf("loopback: %w: another program listens on [::1]:%d and would get what is meant for localhost; end it, or configure another port", ErrPortTaken, port)
			}
			break // somebody sits on the other family: another port
		}
		if err == nil || !taken(err) {
			break
		}
	}
	if taken(err) {
		return nil, fmt.Errorf("loopback: %w: no port is free on both 127.0.0.1 and [::1]; end the programs that listen there", ErrPortTaken)
	}
	return nil, fmt.Errorf("loopback: %w (%s); check that the lo interface is up, or that a sandbox permits it", ErrNoLoopback, cause(err))
}

// listen binds addr for this process alone (RFC 8252, appendix B).
func listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = exclusive(fd, addr.Port() != 0) }); e != nil {
			return e
		}
		return err
	}}
	lc.SetMultipathTCP(false) // one path is all there is, and its sockets hide their owner
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	return lc.Listen(ctx, network, addr.String())
}

// cause keeps the system's words, which name no address.
func cause(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}
