package loopback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/nativeoauth/nativeoauth/internal/wire"
)

// bindTries is how many free ports bind tries for Localhost. A port that is
// free on one address family and taken on the other is skipped. If that happens
// 32 times in a row, someone occupies the ports on purpose, or the machine has
// none left.
const bindTries = 32

// bind returns one listener. For Config.Localhost it returns one for each
// loopback family that the machine has.
func bind(ctx context.Context, cfg Config) ([]net.Listener, error) {
	addrs, err := bindAddrs(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Ports == nil {
		return bindPort(ctx, cfg, addrs)
	}
	if addrs[0].Port() != 0 || cfg.RedirectURI != "" || len(cfg.Ports) == 0 ||
		slices.Contains(cfg.Ports, 0) {
		return nil, fmt.Errorf("loopback: %w", wire.Field("Config.Ports",
			"give ports other than 0, no port in Config.Addr and no Config.RedirectURI"))
	}
	var taken error
	for _, port := range cfg.Ports {
		for i, a := range addrs {
			addrs[i] = netip.AddrPortFrom(a.Addr(), port)
		}
		listeners, err := bindPort(ctx, cfg, addrs)
		if !errors.Is(err, ErrPortTaken) {
			return listeners, err
		}
		taken = err
	}
	return nil, taken
}

func bindPort(ctx context.Context, cfg Config, addrs []netip.AddrPort) ([]net.Listener, error) {
	if !cfg.Localhost {
		l, err := listenFirst(ctx, addrs)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	return listenBoth(ctx, addrs)
}

// bindAddrs returns the addresses to try, the preferred one first. RFC 8252
// §8.3 wants the loopback address itself: a listener on 0.0.0.0 would be
// reachable from the network.
func bindAddrs(cfg Config) ([]netip.AddrPort, error) {
	v4, v6 := netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()
	if cfg.Addr == "" {
		return []netip.AddrPort{netip.AddrPortFrom(v4, 0), netip.AddrPortFrom(v6, 0)}, nil
	}
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
	case cfg.Localhost:
		return []netip.AddrPort{
			netip.AddrPortFrom(v4, addr.Port()),
			netip.AddrPortFrom(v6, addr.Port()),
		}, nil
	}
	return []netip.AddrPort{netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())}, nil
}

// listenFirst binds the first address that the machine has. An address in use
// is an error and not skipped: the redirect URI would otherwise silently become
// one that is not registered with the provider.
func listenFirst(ctx context.Context, addrs []netip.AddrPort) (net.Listener, error) {
	var err error
	for _, addr := range addrs {
		var l net.Listener
		if l, err = listen(ctx, addr); err == nil {
			return l, nil
		}
		if taken(err) {
			return nil, fmt.Errorf("loopback: %w: %s is in use; "+
				"end the program that listens there, or configure another port", ErrPortTaken, addr)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("loopback: %w", ctx.Err())
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return nil, fmt.Errorf("loopback: cannot listen: %w; "+
				"close files, or raise the limit (ulimit -n)", cause(err))
		}
	}
	return nil, fmt.Errorf("loopback: %w (%s); "+
		"check that the lo interface is up, or that a sandbox permits it",
		ErrNoLoopback, cause(err))
}

// listenBoth binds one port on 127.0.0.1 and on [::1]. The browser may resolve
// localhost to either. If another program had the port on the other family, it
// would receive the authorization code. A family that the machine lacks is left
// out.
func listenBoth(ctx context.Context, addrs []netip.AddrPort) ([]net.Listener, error) {
	for range bindTries {
		l, err := listenFirst(ctx, addrs)
		if err != nil {
			return nil, err
		}
		bound := l.Addr().(*net.TCPAddr).AddrPort()
		if bound.Addr().Unmap().Is6() {
			return []net.Listener{l}, nil // there is no IPv4
		}
		other, err := listen(ctx, netip.AddrPortFrom(netip.IPv6Loopback(), bound.Port()))
		if err == nil {
			return []net.Listener{l, other}, nil
		}
		if !taken(err) {
			return []net.Listener{l}, nil // there is no IPv6
		}
		_ = l.Close()
		if addrs[0].Port() != 0 {
			return nil, fmt.Errorf("loopback: %w: another program listens on [::1]:%d "+
				"and would get what is meant for localhost; end it, or configure another port",
				ErrPortTaken, bound.Port())
		}
	}
	return nil, fmt.Errorf("loopback: %w: no port is free on both 127.0.0.1 and [::1]; "+
		"end the programs that listen there", ErrPortTaken)
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
	// Multipath TCP is of no use on loopback, and package peer cannot find the
	// owner of such a socket.
	lc.SetMultipathTCP(false)
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	return lc.Listen(ctx, network, addr.String())
}

// cause returns the innermost error. It is the system's message, without the
// address that package net adds.
func cause(err error) error {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err
}
