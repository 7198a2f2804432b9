package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// sixes are n IPv6 addresses, as the resolver lists them before IPv4's.
func sixes(n int) (addrs []netip.Addr) {
	for i := range n {
		addrs = append(addrs, netip.AddrFrom16([16]byte{0x2a, 0x00, 0x14, 0x50, 15: byte(i + 1)}))
	}
	return addrs
}

var four = netip.MustParseAddr("142.250.74.10")

// swallowed is a dial into a black hole.
func swallowed(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// IPv6 that leads nowhere costs one stagger behind the guard, however many such
// addresses a host has.
func TestGuardRacesAddresses(t *testing.T) {
	for _, n := range []int{1, 4, 8} {
		synctest.Test(t, func(t *testing.T) {
			var open atomic.Int32
			tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				if addr[0] == '[' {
					return swallowed(ctx)
				}
				open.Add(1)
				a, _ := net.Pipe()
				return a, nil
			}}
			g := NewGuard(tr, "accounts.example.com")
			g.lookup = func(context.Context, string) ([]netip.Addr, error) { return append(sixes(n), four), nil }
			start := time.Now()
			conn, err := g.dial(t.Context(), tr.DialContext, "tcp", "oauth2.example.com:443")
			require.NoError(t, err)
			require.Equal(t, stagger, time.Since(start), "%d addresses", n)
			require.NoError(t, conn.Close())
			synctest.Wait()
			require.EqualValues(t, 1, open.Load())
		})
	}
}

// One attempt wins and the others leave nothing behind. A failure begins the
// next attempt at once.
func TestRace(t *testing.T) {
	all := append(sixes(2), four)
	down := errors.New("no route")
	t.Run("a failure is no delay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start, tried := time.Now(), []netip.Addr{}
			_, err := race(t.Context(), all, func(_ context.Context, a netip.Addr) (net.Conn, error) {
				tried = append(tried, a)
				if a == all[0] {
					return nil, down
				}
				return nil, errors.New("another")
			})
			require.ErrorIs(t, err, down, "the first attempt's error")
			require.Zero(t, time.Since(start))
			require.Equal(t, []netip.Addr{all[0], four, all[1]}, tried, "the families take turns")
		})
	})
	t.Run("the second connection is closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			far := make(chan net.Conn, 3)
			conn, err := race(t.Context(), all, func(_ context.Context, a netip.Addr) (net.Conn, error) {
				if a != four {
					time.Sleep(time.Second) // it comes, and too late
				}
				ours, theirs := net.Pipe()
				far <- theirs
				return ours, nil
			})
			require.NoError(t, err)
			winner := <-far
			go func() { _, _ = conn.Write([]byte("x")) }()
			_, err = winner.Read(make([]byte, 1))
			require.NoError(t, err)
			_, err = (<-far).Read(make([]byte, 1))
			require.Error(t, err, "the loser's connection ends")
		})
	})
	t.Run("the caller's deadline ends it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := race(ctx, all, func(ctx context.Context, _ netip.Addr) (net.Conn, error) { return swallowed(ctx) })
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 5*time.Second, time.Since(start))
		})
	})
}

// S43: a private address among public ones is refused before any is dialled,
// wherever the resolver lists it.
func TestS43MixedAddressesAreNotRaced(t *testing.T) {
	private := netip.MustParseAddr("10.0.0.1")
	for _, addrs := range [][]netip.Addr{{private, four}, {four, private}, append(sixes(8), four, private)} {
		g := NewGuard(&http.Transport{}, "")
		g.lookup = func(context.Context, string) ([]netip.Addr, error) { return addrs, nil }
		_, err := g.dial(t.Context(), func(context.Context, string, string) (net.Conn, error) {
			t.Error("dialled")
			return nil, errors.New("no")
		}, "tcp", "mixed.example:443")
		require.ErrorIs(t, err, ErrAddress)
	}
}
