// Connects to one of several addresses without waiting for dead ones.
//
// On many networks IPv6 leads nowhere, and no error says so. A host may have
// eight such addresses before the first that works. So the attempts overlap, as
// RFC 8305 ("Happy Eyeballs") describes.

package fetch

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// stagger is how long an attempt has before the next one begins beside it. It is
// net.Dialer's delay; RFC 8305 §8 suggests 250 ms.
const stagger = 300 * time.Millisecond

// attempt is how a dial ended.
type attempt struct {
	conn net.Conn
	err  error
}

// race returns the first connection that dial makes to one of addrs, which are
// not empty. The attempts begin in the order of [interleave], each as soon as
// the one before has failed or the stagger has passed. If all fail, race
// returns the first attempt's error.
func race(
	ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error),
) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the attempts that have lost
	over := make(chan struct{})
	defer close(over)
	ended := make(chan attempt)
	begin := func(a netip.Addr) {
		conn, err := dial(ctx, a)
		select {
		case ended <- attempt{conn, err}:
		case <-over:
			if err == nil {
				_ = conn.Close() // it was second
			}
		}
	}

	addrs = interleave(addrs)
	next := time.NewTimer(0)
	defer next.Stop()
	var first error
	for waiting, failed := addrs, 0; ; {
		select {
		case <-next.C:
			if len(waiting) > 0 {
				go begin(waiting[0])
				waiting = waiting[1:]
				next.Reset(stagger)
			}
		case a := <-ended:
			if a.err == nil {
				return a.conn, nil
			}
			if first == nil {
				first = a.err
			}
			if failed++; failed == len(addrs) {
				return nil, first
			}
			next.Reset(0)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// interleave orders addrs so that the two families take turns, beginning with
// the first one's (RFC 8305 §4). Eight dead IPv6 addresses then delay IPv4 by
// one stagger. Within a family the resolver's order (RFC 6724) stays.
func interleave(addrs []netip.Addr) []netip.Addr {
	var one, other []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			one = append(one, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(one), len(other)) {
		if i < len(one) {
			out = append(out, one[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}
