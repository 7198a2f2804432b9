//go:build !linux && !windows

package peer

import "net/netip"

func owner(netip.AddrPort, netip.AddrPort) User { return Unknown }
